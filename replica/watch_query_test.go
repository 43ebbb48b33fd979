package replica_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

var open3 = replica.Query{Collection: "notes", Where: replica.And(replica.Where("open", replica.Eq, true), replica.Where("n", replica.Lt, 3))}

// live is what a loop over a query's events holds.
type live map[string]string

// take follows an event, which has to fit what the loop holds; slack is for
// a watch that goes on, whose loop may know already.
func (l live) take(t testing.TB, ev replica.Event, slack bool) {
	t.Helper()
	_, held := l[ev.Key.ID]
	switch ev.Query {
	case replica.QueryEnter:
		require.True(t, !held || slack, "%s entered twice", ev.Key)
	case replica.QueryUpdate:
		require.True(t, held, "%s was updated and is not in", ev.Key)
	case replica.QueryLeave:
		require.True(t, held || slack, "%s left and was not in", ev.Key)
		delete(l, ev.Key.ID)
		return
	default:
		t.Fatalf("event %+v", ev)
	}
	l[ev.Key.ID] = string(ev.Value)
}

func selected(t testing.TB, r *replica.Replica, q replica.Query) live {
	l := live{}
	for it, err := range r.Query(t.Context(), q) {
		require.NoError(t, err)
		l[it.Key.ID] = string(it.Value)
	}
	return l
}

// settle reads until the loop holds what the query selects.
func (l live) settle(t testing.TB, e *events, want live, slack bool) (last replica.Position) {
	t.Helper()
	for !maps.Equal(l, want) {
		ev := e.one()
		l.take(t, ev, slack)
		last = ev.Position
	}
	return last
}

// TestQueryWatch: whatever is edited, and however late the loop comes to it, what it
// makes of the events is what the query selects; also from any position, and with Latest.
func TestQueryWatch(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r, ctx := open(t, nil), watching(t)
	edit := func() {
		require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error {
			k := key(fmt.Sprint(rng.IntN(8)))
			if rng.IntN(5) == 0 {
				if err := tx.Delete(k); err == nil {
					return nil
				}
			}
			if err := tx.Put(crdt.Key{Collection: "other", ID: k.ID}, map[string]any{"open": true, "n": 0}); err != nil {
				return err
			}
			return tx.Put(k, map[string]any{"open": rng.IntN(3) > 0, "n": rng.IntN(5), "x": rng.IntN(1000)})
		}))
	}
	for range 20 {
		edit()
	}
	first, begin := live{}, replica.Position{}
	events := read(t, r.WatchQuery(ctx, open3, replica.Contents()))
	latest, newest := read(t, r.WatchQuery(ctx, open3, replica.Latest())), selected(t, r, open3)
	for ev := events.one(); ev.Kind != replica.EventReady; ev = events.one() {
		require.Equal(t, replica.EventContents, ev.Kind)
		first.take(t, ev, false)
		begin = ev.Position
	}
	require.Equal(t, selected(t, r, open3), first)
	begins := map[replica.Position]live{begin: maps.Clone(first)}
	for range 25 {
		for range rng.IntN(8) {
			edit()
		}
		want := selected(t, r, open3)
		if at := first.settle(t, events, want, false); at.Log.LSN > 0 {
			begins[at] = maps.Clone(first)
		}
		if rng.IntN(3) == 0 {
			newest.settle(t, latest, want, false)
		}
	}
	put(t, r, "end", `{"open":true,"n":0}`)
	want := selected(t, r, open3)
	first.settle(t, events, want, false)
	newest.settle(t, latest, want, false)
	for at, held := range begins {
		resumed := read(t, r.WatchQuery(ctx, open3, replica.From(at)))
		held.settle(t, resumed, want, true)
	}
}

// TestQueryWatchAndPolicies: records enter, are updated and leave by a change of the
// policy, also when the loop comes so late that the view changes are gone.
func TestQueryWatchAndPolicies(t *testing.T) {
	r, ctx := torn(t, 300), watching(t)
	policy := func(name string) {
		t.Helper()
		require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: name}, nil))
	}
	policy(crdt.ResolverFWW)
	put(t, r, "none", `{"by":"c"}`)
	a := replica.Query{Collection: "notes", Where: replica.Where("by", replica.Eq, "a")}
	both := replica.Query{Collection: "notes", Where: replica.Where("by", replica.In, []string{"a", "b"})}
	type loop struct {
		q replica.Query
		*events
		live
	}
	var loops []loop
	for _, q := range []replica.Query{a, both} {
		e := read(t, r.WatchQuery(ctx, q))
		put(t, r, "none", `{"by":"a"}`) // so that it has begun
		ev := e.one()
		require.Equal(t, replica.QueryEnter, ev.Query)
		l := selected(t, r, q)
		put(t, r, "none", `{"by":"c"}`)
		l.take(t, e.one(), false)
		loops = append(loops, loop{q, e, l})
	}
	loops[0].settle(t, loops[0].events, selected(t, r, a), false)
	for i, p := range []string{crdt.ResolverLWW, crdt.ResolverFWW, crdt.ResolverLWW} {
		policy(p)
		if i == 2 {
			setViews(t, r, "DELETE FROM views WHERE seq < (SELECT max(seq) FROM views) - 10; UPDATE views SET seq = seq + 200000")
			put(t, r, "none", `{"by":"d"}`)
		}
		for _, l := range loops {
			l.settle(t, l.events, selected(t, r, l.q), false)
		}
	}
	put(t, r, "more", `{"by":"a"}`)
	position := loops[1].settle(t, loops[1].events, selected(t, r, both), false)
	policy(crdt.ResolverFWW)
	held := maps.Clone(loops[1].live)
	held.settle(t, read(t, r.WatchQuery(ctx, both, replica.From(position))), selected(t, r, both), true)
}

func TestQueriesThatCannotBeWatched(t *testing.T) {
	r, ctx := open(t, nil), watching(t)
	var e *replica.QueryError
	for _, q := range []replica.Query{{Collection: "notes", Limit: 1}, {Collection: "notes", Offset: 1}, {Collection: "a/b"}, {Collection: "notes", Where: replica.Where("n", "~", 1)}} {
		_, err, ok := read(t, r.WatchQuery(ctx, q)).next()
		require.True(t, ok)
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, err, "watch ")
	}
	_, err, _ := read(t, r.WatchQuery(ctx, open3, replica.From(replica.Position{Log: crdt.Cursor{LSN: 9}}))).next()
	require.ErrorIs(t, err, replica.ErrPosition)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err, _ = read(t, r.WatchQuery(ctx, open3)).next()
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, r.Close())
	_, err, _ = read(t, r.WatchQuery(t.Context(), open3)).next()
	require.ErrorIs(t, err, replica.ErrClosed)
}
