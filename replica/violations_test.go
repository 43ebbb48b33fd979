package replica_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

func violations(t testing.TB, r *replica.Replica, collection string) (lines []string) {
	t.Helper()
	for v, err := range r.Violations(context.Background(), collection) {
		require.NoError(t, err)
		if v.Kind == replica.ViolationUnique {
			lines = append(lines, fmt.Sprintf("%s.%s = %s: %v", v.Collection, v.Field, v.Value, v.IDs))
		} else {
			lines = append(lines, fmt.Sprintf("%s/%s.%s = %s: not in %s", v.Collection, v.ID, v.Field, v.Value, v.Target))
		}
	}
	return lines
}

// hand is a clock that the test moves, while sessions look at it.
type hand struct{ ms atomic.Int64 }

func newHand() *hand {
	h := &hand{}
	h.ms.Store(1.7e12)
	return h
}

func (h *hand) move(d time.Duration) { h.ms.Add(d.Milliseconds()) }

func (h *hand) options() *replica.Options {
	return &replica.Options{Now: func() time.Time { return time.UnixMilli(h.ms.Load()) }}
}

func TestViolations(t *testing.T) {
	ctx := context.Background()
	now := newHand()
	r := open(t, now.options())
	for _, rec := range [][2]string{
		{"c", `{"email":"x@y","n":1,"address":{"full name":"A"},"friend":"a"}`},
		{"a", `{"email":"x@y","n":1.0,"address":{"full name":"A"},"friend":"gone"}`},
		{"b", `{"email":"z@y","n":"1","address":{},"friend":["a","gone","c",7,null,{"x":1},"gone"]}`},
		{"d", `{"email":null,"tags":[1,2],"friend":null}`},
		{"e", `{"email":null,"tags":[1,2],"friend":true}`},
		{"f", `{"tags":[2,1],"friend":["d"]}`},
	} {
		now.move(time.Second)
		put(t, r, rec[0], rec[1])
	}
	require.Empty(t, violations(t, r, "notes"), "nothing is declared")
	require.NoError(t, r.SetConstraints(ctx, "notes", replica.Constraints{
		Unique:     []string{"email", "n", `address["full name"]`, "tags", "nothing"},
		References: []replica.Reference{{Field: "friend", Collection: "notes"}},
	}))
	want := []string{
		`notes.address["full name"] = "A": [c a]`,
		`notes.email = "x@y": [c a]`,
		`notes.tags = [1,2]: [d e]`,
		`notes/a.friend = "gone": not in notes`,
		`notes/b.friend = "gone": not in notes`,
		`notes/b.friend = 7: not in notes`,
		`notes/b.friend = {"x":1}: not in notes`,
		`notes/b.friend = "gone": not in notes`,
		`notes/e.friend = true: not in notes`,
	}
	require.Equal(t, want, violations(t, r, "notes"))
	require.Equal(t, want, violations(t, r, ""))
	require.Empty(t, violations(t, r, "others"))

	// Set anew, the value is younger; a deleted record neither has a value nor is
	// there to be referred to.
	now.move(time.Second)
	put(t, r, "c", `{"email":"w@y"}`)
	put(t, r, "c", `{"email":"x@y"}`)
	require.Contains(t, violations(t, r, ""), `notes.email = "x@y": [a c]`)
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(key("a")) }))
	require.Equal(t, []string{
		`notes.tags = [1,2]: [d e]`,
		`notes/b.friend = "a": not in notes`,
		`notes/b.friend = "gone": not in notes`,
		`notes/b.friend = 7: not in notes`,
		`notes/b.friend = {"x":1}: not in notes`,
		`notes/b.friend = "gone": not in notes`,
		`notes/c.friend = "a": not in notes`,
		`notes/e.friend = true: not in notes`,
	}, violations(t, r, ""))
	require.NoError(t, r.SetConstraints(ctx, "notes", replica.Constraints{}))
	require.Empty(t, violations(t, r, ""))
	requireClean(t, r)
}

func TestConstraints(t *testing.T) {
	ctx := context.Background()
	r := open(t, nil)
	for want, c := range map[string]replica.Constraints{
		"an index names no field": {Unique: []string{"a[0]"}},
		"the field is empty":      {Unique: []string{""}},
		"parse path":              {Unique: []string{"a..b"}},
		"quotes":                  {Unique: []string{`["a\"b"]`}},
		"backslashes":             {Unique: []string{`["a\\b"]`}},
		"two collections":         {References: []replica.Reference{{Field: "a", Collection: "x"}, {Field: `["a"]`, Collection: "y"}}},
		"slash":                   {References: []replica.Reference{{Field: "a", Collection: "x/y"}}},
		"at most 64":              {Unique: make([]string, 65)},
	} {
		require.ErrorContains(t, r.SetConstraints(ctx, "notes", c), want)
	}
	require.Error(t, r.SetConstraints(ctx, "", replica.Constraints{}))
	require.ErrorIs(t, r.SetConstraints(ctx, "_godwit", replica.Constraints{}), replica.ErrReserved)
	c, err := r.Constraints(ctx, "notes")
	require.NoError(t, err)
	require.Zero(t, c)
	want := replica.Constraints{
		Unique: []string{"a", "b.c"}, References: []replica.Reference{{Field: "d", Collection: "x"}, {Field: "e", Collection: "y"}},
	}
	require.NoError(t, r.SetConstraints(ctx, "notes", replica.Constraints{
		Unique: []string{"b.c", "a", `["a"]`}, References: []replica.Reference{want.References[1], want.References[0]},
	}))
	c, err = r.Constraints(ctx, "notes")
	require.NoError(t, err)
	require.Equal(t, want, c)
}

// TestViolationsConverge has three replicas declare constraints and write what
// violates them while they are apart. They merge in different orders, and list the
// same.
func TestViolationsConverge(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 8))
			ctx := context.Background()
			now := newHand()
			net := network(t)
			var all []*replica.Replica
			for i := range 3 {
				all = append(all, open(t, now.options()))
				serve(t, net, fmt.Sprint(i), all[i])
			}
			require.NoError(t, all[0].SetConstraints(ctx, "notes", replica.Constraints{Unique: []string{"name"}}))
			require.NoError(t, all[1].SetConstraints(ctx, "notes", replica.Constraints{
				Unique: []string{"name"}, References: []replica.Reference{{Field: "next", Collection: "notes"}}}))
			for range 60 {
				r := all[rng.IntN(3)]
				now.move(time.Duration(rng.IntN(2)) * time.Second)
				id := fmt.Sprint(rng.IntN(12))
				switch rng.IntN(5) {
				case 0:
					err := r.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(key(id)) })
					if err != nil {
						require.ErrorIs(t, err, replica.ErrNotFound)
					}
				case 1:
					_, err := r.Sync(ctx, net.Link("x", fmt.Sprint(rng.IntN(3))))
					_ = err // with itself, for one
				default:
					v := map[string]any{"name": fmt.Sprint("n", rng.IntN(4)), "next": fmt.Sprint(rng.IntN(12))}
					if rng.IntN(2) == 0 {
						v["name"] = crdt.Text(v["name"].(string))
					}
					require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key(id), v) }))
				}
			}
			for range 2 {
				for i := range all {
					order := rng.Perm(3)
					for _, k := range order {
						if k != i {
							syncWith(t, all[i], net.Link(fmt.Sprint(i), fmt.Sprint(k)))
						}
					}
				}
			}
			want := violations(t, all[0], "")
			require.NotEmpty(t, want)
			for _, r := range all[1:] {
				require.Equal(t, want, violations(t, r, ""))
			}
			requireWinners(t, all[0])
		})
	}
}

// requireWinners holds the lists against the records, one by one.
func requireWinners(t testing.TB, r *replica.Replica) {
	byName := map[string]int{}
	ids := map[string]bool{}
	dangling, n := 0, 0
	next := []string{}
	for it, err := range r.List(context.Background(), "notes", 0) {
		require.NoError(t, err)
		var v struct{ Name, Next string }
		require.NoError(t, json.Unmarshal(it.Value, &v))
		byName[v.Name]++
		ids[it.Key.ID] = true
		next = append(next, v.Next)
	}
	for _, id := range next {
		if id != "" && !ids[id] {
			dangling++
		}
	}
	for v, err := range r.Violations(context.Background(), "notes") {
		require.NoError(t, err)
		if v.Kind == replica.ViolationReference {
			n++
			continue
		}
		var name string
		require.NoError(t, json.Unmarshal(v.Value, &name))
		require.Len(t, v.IDs, byName[name])
	}
	require.Equal(t, dangling, n)
}

// BenchmarkViolations lists what is wrong with 20,000 records: 20 pairs of equal
// names and 20 dangling references.
func BenchmarkViolations(b *testing.B) {
	ctx := context.Background()
	r := open(b, nil)
	const n = 20_000
	for from := 0; from < n; from += 1000 {
		require.NoError(b, r.Update(ctx, func(tx *replica.Tx) error {
			for i := from; i < from+1000; i++ {
				v := map[string]any{"name": fmt.Sprint("n", i), "next": fmt.Sprint((i + 1) % n), "text": "some more that nobody looks at"}
				if i%1000 == 0 {
					v["name"], v["next"] = fmt.Sprint("n", i+1), "nowhere"
				}
				if err := tx.Put(key(fmt.Sprint(i)), v); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(b, r.SetConstraints(ctx, "notes", replica.Constraints{
		Unique: []string{"name"}, References: []replica.Reference{{Field: "next", Collection: "notes"}}}))
	for b.Loop() {
		if got := len(violations(b, r, "notes")); got != 40 {
			b.Fatal(got)
		}
	}
}
