package replica_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// branch is what a copied actor does to the document, on top of base: it adds to the
// counter. The hash satisfies fits.
func branch(t *testing.T, actor crdt.ActorID, base []byte, by int64, fits func(crdt.Hash) bool) *crdt.Change {
	t.Helper()
	for i := 0; ; i++ {
		h, err := crdt.Load(base)
		require.NoError(t, err)
		e := h.Begin(actor, 1_700_000_000_000, nil)
		require.NoError(t, firstError(e.Increment(field("n"), by), e.Put(field(fmt.Sprint("by", by)), by, crdt.Merge)))
		c, err := e.Commit(fmt.Sprint("try ", i))
		require.NoError(t, err)
		if fits(c.Hash()) {
			return c
		}
	}
}

// ranked is a branch for each place of order; the lowest number there has the least
// hash. The first adds by to the counter, each further one ten times as much.
func ranked(t *testing.T, actor crdt.ActorID, base []byte, by int64, order []int) (all []*crdt.Change) {
	for i := range order {
		all = append(all, branch(t, actor, base, by, func(h crdt.Hash) bool {
			for j, c := range all {
				if (h.Compare(c.Hash()) > 0) != (order[i] > order[j]) {
					return false
				}
			}
			return true
		}))
		by *= 10
	}
	return all
}

// TestSeveralForks has a record that is forked three times over: one actor has three
// branches, a replica each, another one has two. Whoever's branches give way, all of
// them are repaired, and every increment counts once.
func TestSeveralForks(t *testing.T) {
	t.Parallel()
	for i, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			ctx := context.Background()
			net := network(t)
			all := map[string]*replica.Replica{}
			for _, name := range []string{"a", "b", "c"} {
				all[name] = open(t, nil)
				serve(t, net, name, all[name])
			}
			one, two := cloned, crdt.ActorID("another cloned one")
			h := crdt.NewHistory()
			var base []byte
			for _, actor := range []crdt.ActorID{one, two} {
				e := h.Begin(actor, 1_600_000_000_000, nil)
				require.NoError(t, e.Put(field(map[crdt.ActorID]string{one: "n", two: "of two"}[actor]), crdt.Counter(0), crdt.Merge))
				first, err := e.Commit("")
				require.NoError(t, err)
				base = append(base, first.Raw()...)
			}
			first := ranked(t, one, base, 1, order)
			second := ranked(t, two, base, 1_000, [][]int{{0, 1}, {1, 0}}[i%2])
			for name, branches := range map[string][]*crdt.Change{"a": {first[0], second[0]}, "b": {first[1], second[1]}, "c": {first[2]}} {
				for _, chunks := range [][]byte{base, branches[0].Raw(), branches[len(branches)-1].Raw()} {
					_, err := all[name].Import(ctx, key("doc"), chunks)
					require.NoError(t, err)
				}
				require.NoError(t, all[name].Update(ctx, func(tx *replica.Tx) error {
					return tx.Edit(key("doc"), func(e *crdt.Edit) error {
						return firstError(e.Increment(field("n"), 100_000), e.Put(field(name), true, crdt.Merge))
					})
				}))
			}
			meet(net, all)
			forks := 0
			for _, r := range all {
				forks += len(openForks(t, r))
				requireClean(t, r)
			}
			require.GreaterOrEqual(t, forks, 5, "three of one and two of two")

			require.Eventually(t, func() bool {
				forked := false
				for _, r := range all {
					_, err := r.RepairFork(ctx, key("doc"))
					if err != nil && !errors.Is(err, replica.ErrNotForked) && !errors.Is(err, replica.ErrForkedElsewhere) {
						t.Errorf("repair: %v", err)
						return true
					}
				}
				meet(net, all)
				for _, r := range all {
					st, err := r.Status(ctx)
					forked = forked || err != nil || st.Forked > 0
				}
				return !forked
			}, 20*time.Second, time.Millisecond)
			meet(net, all)
			requireEqual(t, all["a"], all["b"], all["c"])
			want := `{"a":true,"b":true,"by1":1,"by10":10,"by100":100,"by1000":1000,"by10000":10000,"c":true,"n":311111,"of two":0}`
			require.Equal(t, want, get(t, all["a"], "doc"))
			for name, r := range all {
				held, err := r.Held(ctx)
				require.NoError(t, err)
				require.Empty(t, held, name)
			}
			cold := open(t, nil)
			syncWith(t, cold, net.Link("cold", "b"))
			require.Empty(t, openForks(t, cold))
			requireEqual(t, all["b"], cold)
		})
	}
}
