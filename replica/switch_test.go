package replica_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/memlink"
)

// fillers is how many records without conflicts come before those of quarrel, so
// that one transaction of a rebuild does not reach these.
const fillers = 200

// quarrel is three replicas that edited the same records apart, and met in
// different orders: they hold the same changes, integrated in another order each.
type quarrel struct {
	net    *memlink.Network
	all    []*replica.Replica
	clocks [3]atomic.Int64 // of the replicas, in seconds
	keys   []crdt.Key      // of the records with conflicts
}

// kinds are what three replicas write to one field at the same time, in every
// combination of two with a third, and thrice the same. # is the replica's number.
var kinds = []string{`#`, `"word #"`, `{"k":#,"of #":{"x":[#]}}`, `[1,{"y":#}]`, `{"$text":"line #"}`, `{"$counter":5#}`, deletion}

const deletion = "-"

func startQuarrel(t *testing.T) *quarrel {
	t.Helper()
	q := &quarrel{net: network(t)}
	count := map[string]crdt.Resolver{"count": func(c []crdt.Candidate) (any, error) { return len(c), nil }}
	for i := range q.clocks {
		q.clocks[i].Store(1_700_000_000)
		now := func() time.Time { return time.Unix(q.clocks[i].Load(), 0) }
		r := open(t, &replica.Options{Now: now, MaxClockAhead: 24 * time.Hour, Resolvers: count})
		serve(t, q.net, fmt.Sprint(i), r)
		q.all = append(q.all, r)
	}
	q.begin(t)
	q.meet(t)
	q.argue(t, 0)
	q.meet(t)
	for i, r := range q.all { // conflicts in what conflicts, and on top of what a view has shown
		for _, p := range []string{crdt.ResolverMerge, crdt.ResolverLWW, crdt.ResolverMin}[i : i+1] {
			require.NoError(t, r.SetPolicy(context.Background(), "notes", crdt.Policy{Default: p}, nil))
		}
	}
	q.argue(t, 1)
	q.meet(t)
	return q
}

// begin writes the records as all replicas know them.
func (q *quarrel) begin(t *testing.T) {
	require.NoError(t, q.all[0].Update(context.Background(), func(tx *replica.Tx) error {
		for i := range fillers {
			if err := tx.Put(key(fmt.Sprintf("filler %03d", i)), map[string]any{"n": i}); err != nil {
				return err
			}
		}
		return nil
	}))
	for i := range kinds {
		q.keys = append(q.keys, key(fmt.Sprint("kind ", i)))
		fields := `"start":0`
		for j := range kinds {
			fields += fmt.Sprintf(`,"f%d":"start"`, j)
		}
		put(t, q.all[0], q.keys[i].ID, fmt.Sprintf(`{%s,"m":{"deep":{%s}},"l":[0,{%s}]}`, fields, fields, fields))
	}
	for id, value := range map[string]string{
		"counter": `{"c":{"$counter":1}}`, "list": `{"l":[1,2,3,[4,5]]}`, "text": `{"t":{"$text":"start"}}`,
		"gone 0": `{"a":1,"b":{"x":1}}`, "gone 1": `{"a":1,"b":{"x":1}}`, "gone thrice": `{"a":1,"b":{"x":1}}`,
	} {
		q.keys = append(q.keys, key(id))
		put(t, q.all[0], id, value)
	}
}

// argue has each replica edit every record once, in one change.
func (q *quarrel) argue(t *testing.T, round int) {
	for i, r := range q.all {
		edits := 0
		edit := func(id string, fn func(*crdt.Edit) error) {
			edits++ // who is first and who is last differs from record to record
			q.clocks[i].Store(1_700_000_000 + int64(round)*10_000 + int64(edits)*100 + int64((i+edits)%3))
			require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error { return tx.Edit(key(id), fn) }), "%s", id)
		}
		for n := range kinds {
			edit(fmt.Sprint("kind ", n), func(e *crdt.Edit) error {
				for j := range kinds {
					third := n + j
					if n == j {
						third = n
					}
					kind := kinds[([]int{n, j, third}[i]+round)%len(kinds)]
					for _, place := range []string{"f%d", "m.deep.f%d", "l[1].f%d"} {
						if err := writeKind(t, e, fmt.Sprintf(place, j), strings.ReplaceAll(kind, "#", fmt.Sprint(i))); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}
		mine := fmt.Sprint(round, i)
		edit("counter", func(e *crdt.Edit) error {
			if i == 2 {
				return e.Put(field("c"), "overwritten "+mine, crdt.Merge)
			}
			return e.Put(field("c"), crdt.Counter(7), crdt.Replace)
		})
		edit("list", func(e *crdt.Edit) error {
			at := crdt.Path{{Key: "l"}, {InList: true}}
			if i == 0 && round == 0 {
				return firstError(e.Delete(at), e.Insert(field("l"), 0, mine))
			}
			return firstError(e.Put(at, mine, crdt.Merge), e.Insert(field("l"), 1, []any{mine}))
		})
		edit("text", func(e *crdt.Edit) error { return e.Put(field("t"), crdt.Text("start "+mine), crdt.Replace) })
		require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
			var err error
			if round == 0 {
				err = tx.Delete(key("gone thrice"))
			} else {
				err = tx.Put(key("gone 0"), map[string]any{"again": mine})
			}
			gone := key(fmt.Sprint("gone ", round))
			if i == 0 {
				return firstError(err, tx.Delete(gone))
			}
			return firstError(err, tx.Put(gone, map[string]any{"a": mine}))
		}))
	}
}

func writeKind(t *testing.T, e *crdt.Edit, path, kind string) error {
	p, err := crdt.ParsePath(path)
	require.NoError(t, err)
	if kind == deletion {
		if err := e.Delete(p); !errors.Is(err, crdt.ErrPlace) { // a view may show that it is gone already
			return err
		}
		return nil
	}
	v, err := crdt.ParseJSON([]byte(kind))
	require.NoError(t, err)
	return e.Put(p, v, crdt.Replace)
}

// meet exchanges everything. In each round the first replica gets the second's
// changes before the third's, the third gets the second's before the first's, and the
// second the first's before the third's.
func (q *quarrel) meet(t *testing.T) {
	for _, pair := range [][2]int{{1, 0}, {2, 1}, {0, 2}} {
		syncWith(t, q.all[pair[0]], q.net.Link(fmt.Sprint(pair[0]), fmt.Sprint(pair[1])))
	}
}

// heldAs is what must stay as it is, whatever the policy: heads and exported bytes.
func (q *quarrel) heldAs(t *testing.T, r *replica.Replica) map[string]string {
	got := map[string]string{}
	for _, k := range q.keys {
		heads, err := r.Heads(context.Background(), k)
		require.NoError(t, err)
		chunks, err := r.Export(context.Background(), k)
		require.NoError(t, err)
		got[k.ID] = fmt.Sprint(heads, chunks)
	}
	return got
}

// shown maps the records to what read gives of them.
func (q *quarrel) shown(t *testing.T, read func(crdt.Key) ([]byte, error)) map[string]string {
	got := map[string]string{}
	for _, k := range q.keys {
		v, err := read(k)
		if errors.Is(err, replica.ErrNotFound) {
			v, err = []byte("none"), nil
		}
		require.NoError(t, err)
		got[k.ID] = string(v)
	}
	return got
}

// switchTo sets the policy and returns what get shows then. Before, while most
// records are not rebuilt yet, and by View, which stores nothing, the same is shown.
func (q *quarrel) switchTo(t *testing.T, r *replica.Replica, p crdt.Policy) map[string]string {
	ctx := context.Background()
	get := func(k crdt.Key) ([]byte, error) { return r.Get(ctx, k) }
	var early map[string]string
	require.NoError(t, r.SetPolicy(ctx, "notes", p, func(int) {
		if early == nil {
			require.GreaterOrEqual(t, stale(t, r), int64(len(q.keys)))
			early = q.shown(t, get)
		}
	}))
	require.Zero(t, stale(t, r))
	got := q.shown(t, get)
	require.Equal(t, early, got, "%+v: computed on reading, then rebuilt", p)
	require.Equal(t, q.shown(t, func(k crdt.Key) ([]byte, error) { return r.View(ctx, k, p) }), got, "%+v", p)
	return got
}

// TestSwitchingViews takes a collection with conflicts of all kinds, at several
// depths, through every resolver and back: it changes what is shown and no byte of
// what is held; and replicas that merged in different orders show the same.
func TestSwitchingViews(t *testing.T) {
	q := startQuarrel(t)
	var held []map[string]string
	orders := map[string]bool{}
	for _, r := range q.all {
		held = append(held, q.heldAs(t, r))
		h, err := r.History(context.Background(), q.keys[0])
		require.NoError(t, err)
		order := ""
		for c := range h.Changes() {
			order += c.Hash().String() + " "
		}
		orders[order] = true
	}
	require.Len(t, orders, 3, "they merged in the same order")

	table := []string{"automerge", "lww", "fww", "local", "remote", "max", "min", "union", "concat", "merge", "sum",
		"whole-record-lww", "update-wins", "delete-wins"}
	require.ElementsMatch(t, table, crdt.Resolvers())
	table = append(table, "prefer:"+q.all[1].ID().String(), "prefer:"+q.all[2].ID().String()+",ff", "concat: / ", "go:count")
	policies := []crdt.Policy{{Default: "update-wins", Fields: []crdt.FieldPolicy{
		{Field: "*", Resolver: "merge"}, {Field: "m.deep", Resolver: "lww"}, {Field: "l[*].f3", Resolver: "union"}}}}
	for _, name := range table {
		policies = append(policies, crdt.Policy{Default: name})
	}
	first := map[string]map[string]string{} // what the first replica showed, by policy
	differ := map[string]string{}           // the first policy to show it so
	require.NotZero(t, len(policies)%5)
	for _, stride := range []int{1, 5} { // the second time, each comes after another policy
		for i := range policies {
			p := policies[i*stride%len(policies)]
			name := fmt.Sprintf("%+v", p)
			for n, r := range q.all {
				got := q.switchTo(t, r, p)
				require.Equal(t, held[n], q.heldAs(t, r), "replica %d, %s", n, name)
				switch {
				case first[name] == nil:
					first[name] = got
				case p.Default != crdt.ResolverLocal && p.Default != crdt.ResolverRemote:
					require.Equal(t, first[name], got, "replica %d, %s", n, name)
				case n == 0:
					require.Equal(t, first[name], got, "%s, again", name)
				}
			}
			if same := fmt.Sprint(first[name]); differ[same] == "" {
				differ[same] = name
			} else {
				require.Equal(t, name, differ[same], "two policies show the same, so nothing puts them to the test")
			}
		}
	}
	for _, r := range q.all {
		requireClean(t, r)
	}
}
