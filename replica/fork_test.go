package replica_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/memlink"
)

// cloned is a program's document that was copied with its actor: both copies went
// on, with the same sequence numbers.
const cloned = crdt.ActorID("a cloned actor")

func field(name string) crdt.Path { return crdt.Path{{Key: name}} }

// continueClone takes a branch of the cloned document into the replica.
func continueClone(t testing.TB, r *replica.Replica, base []byte, message string, edit func(*crdt.Edit) error) crdt.Hash {
	t.Helper()
	h, err := crdt.Load(base)
	require.NoError(t, err)
	e := h.Begin(cloned, 1_700_000_000_000, nil)
	require.NoError(t, edit(e))
	c, err := e.Commit(message)
	require.NoError(t, err)
	_, err = r.Import(context.Background(), key("doc"), c.Raw())
	require.NoError(t, err)
	return c.Hash()
}

// forked makes two replicas, and a third that follows the first, whose record is
// forked, with more edits on both sides. The first one's branch gives way if loses.
func forked(t testing.TB, loses bool) (net *memlink.Network, a, b, c *replica.Replica) {
	t.Helper()
	net = network(t)
	a, b, c = open(t, nil), open(t, nil), open(t, nil)
	for name, r := range map[string]*replica.Replica{"a": a, "b": b, "c": c} {
		serve(t, net, name, r)
	}
	h := crdt.NewHistory()
	e := h.Begin(cloned, 1_600_000_000_000, nil)
	require.NoError(t, e.Put(nil, map[string]any{"n": crdt.Counter(10), "t": crdt.Text("base"), "l": []any{"x"}}, crdt.Merge))
	first, err := e.Commit("")
	require.NoError(t, err)
	for _, r := range []*replica.Replica{a, b, c} {
		_, err := r.Import(context.Background(), key("doc"), first.Raw())
		require.NoError(t, err)
	}
	y := continueClone(t, b, first.Raw(), "theirs", func(e *crdt.Edit) error {
		return firstError(e.Increment(field("n"), 4), e.Splice(field("t"), 4, 0, " theirs"), e.Put(field("k"), "theirs", crdt.Merge), e.Insert(field("l"), 1, "theirs"))
	})
	edit := func(e *crdt.Edit) error {
		return firstError(e.Increment(field("n"), 3), e.Splice(field("t"), 0, 0, "ours "), e.Put(field("k"), "ours", crdt.Merge), e.Insert(field("l"), 0, map[string]any{"ours": true}))
	}
	for i := 0; ; i++ { // until the hash is on the right side
		try, err := crdt.Load(first.Raw())
		require.NoError(t, err)
		e := try.Begin(cloned, 1_700_000_000_000, nil)
		require.NoError(t, edit(e))
		x, err := e.Commit(fmt.Sprint("ours", i))
		require.NoError(t, err)
		if hash := x.Hash(); (hash.Compare(y) > 0) == loses {
			require.Equal(t, hash, continueClone(t, a, first.Raw(), fmt.Sprint("ours", i), edit))
			break
		}
	}
	syncWith(t, c, net.Link("c", "a"))
	for name, r := range map[string]*replica.Replica{"a": a, "b": b, "c": c} {
		require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
			if err := tx.Put(key("beside-"+name), map[string]any{"of": name}); err != nil {
				return err
			}
			return tx.Edit(key("doc"), func(e *crdt.Edit) error {
				return firstError(e.Increment(field("n"), 100), e.Put(field(name), map[string]any{"by": name}, crdt.Merge), e.Splice(field("t"), 0, 0, name+": "))
			})
		}))
	}
	return net, a, b, c
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func openForks(t testing.TB, r *replica.Replica) []replica.Fork {
	t.Helper()
	all, err := r.Forks(context.Background())
	require.NoError(t, err)
	st, err := r.Status(context.Background())
	require.NoError(t, err)
	require.Len(t, all, int(st.Forked))
	return all
}

// meet exchanges between all, as far as forks allow.
func meet(net *memlink.Network, all map[string]*replica.Replica) {
	for range 3 {
		for from, r := range all {
			for to := range all {
				if from != to {
					_, _ = r.Sync(context.Background(), net.Link(from, to))
				}
			}
		}
	}
}

// TestFork repairs a fork at one replica of the branch that gives way. All others
// follow, nothing of either branch is lost, and counters count each increment once.
func TestFork(t *testing.T) {
	for _, loses := range []bool{true, false} {
		t.Run(fmt.Sprint("ours gives way ", loses), func(t *testing.T) {
			net, a, b, c := forked(t, loses)
			all := map[string]*replica.Replica{"a": a, "b": b, "c": c}
			if loses { // a snapshot holds part of the branch
				for i := range 60 {
					put(t, a, "doc", fmt.Sprintf(`{"pad":%d}`, i))
				}
				require.Equal(t, 1, compact(t, a, &replica.CompactOptions{Key: key("doc")}).Compacted)
			}
			_, err := a.Sync(context.Background(), net.Link("a", "b"))
			require.ErrorContains(t, err, "forked")
			meet(net, all)
			require.Contains(t, get(t, a, "doc"), `ours base`, "it can be read and written all the time")
			for name, r := range all {
				forks := openForks(t, r)
				require.Len(t, forks, 1, name)
				require.Equal(t, (name != "b") == loses, forks[0].Here, name)
				require.Equal(t, uint64(2), forks[0].Seq)
				requireClean(t, r)
			}
			repairer := b
			if loses {
				repairer = a
			}
			for name, r := range all {
				if (name == "b") == loses {
					_, err := r.RepairFork(context.Background(), key("doc"))
					require.ErrorIs(t, err, replica.ErrForkedElsewhere, name)
				}
			}
			n, err := repairer.RepairFork(context.Background(), key("doc"))
			require.NoError(t, err)
			require.Greater(t, n, 1)
			require.Empty(t, openForks(t, repairer))
			_, err = repairer.RepairFork(context.Background(), key("doc"))
			require.ErrorIs(t, err, replica.ErrNotForked)

			require.Eventually(t, func() bool {
				meet(net, all)
				for _, r := range all {
					if len(openForks(t, r)) > 0 {
						return false
					}
				}
				return true
			}, 20*time.Second, time.Millisecond)
			meet(net, all)
			requireEqual(t, a, b, c)
			v := get(t, a, "doc")
			for _, want := range []string{`"n":317`, `ours `, `base theirs`, `"a":{"by":"a"}`, `"b":{"by":"b"}`, `"c":{"by":"c"}`, `{"ours":true}`, `"theirs"`} {
				require.Contains(t, v, want)
			}
			for name, r := range all {
				require.Equal(t, `{"of":"b"}`, get(t, r, "beside-b"), "what came in one set with the branch")
				held, err := r.Held(context.Background())
				require.NoError(t, err)
				require.Empty(t, held, name)
			}
			// A new replica finds nothing of all this.
			cold := open(t, nil)
			syncWith(t, cold, net.Link("cold", "a"))
			require.Empty(t, openForks(t, cold))
			requireEqual(t, a, cold)
			put(t, b, "doc", `{"after":true}`)
			meet(net, all)
			requireEqual(t, a, b, c)
		})
	}
}

// TestForkRepairedTwice repairs at two replicas of one branch at the same time:
// both write the same changes.
func TestForkRepairedTwice(t *testing.T) {
	net, a, b, c := forked(t, true)
	all := map[string]*replica.Replica{"a": a, "b": b, "c": c}
	meet(net, all)
	for _, r := range []*replica.Replica{a, c} {
		_, err := r.RepairFork(context.Background(), key("doc"))
		require.NoError(t, err)
	}
	meet(net, all)
	requireEqual(t, a, b, c)
	require.Contains(t, get(t, a, "doc"), `"n":317`)
}

// TestForkWatched has a watcher meet the repair.
func TestForkWatched(t *testing.T) {
	net, a, b, c := forked(t, true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	events := a.Watch(ctx, "notes")
	wg.Go(func() {
		for ev, err := range events {
			if err != nil {
				t.Errorf("watch: %v", err)
				return
			}
			if ev.Key.ID == "last" {
				return
			}
		}
	})
	all := map[string]*replica.Replica{"a": a, "b": b, "c": c}
	meet(net, all)
	put(t, a, "doc", `{"more":1}`)
	_, err := a.RepairFork(ctx, key("doc"))
	require.NoError(t, err)
	meet(net, all)
	put(t, a, "last", `{}`)
	put(t, a, "last", `{"x":1}`)
	wg.Wait()
}
