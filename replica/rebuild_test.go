package replica_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// torn returns a replica of n records that two replicas wrote at the same time, so
// that first-write-wins shows "a" and last-write-wins "b".
func torn(t testing.TB, n int) *replica.Replica {
	t.Helper()
	clock := func(ms int64) func() time.Time { return func() time.Time { return time.UnixMilli(ms) } }
	a := open(t, &replica.Options{Now: clock(1_700_000_000_000)})
	b := open(t, &replica.Options{Now: clock(1_700_000_100_000), MaxClockAhead: time.Hour})
	for _, side := range []struct {
		r    *replica.Replica
		text string
	}{{a, "a"}, {b, "b"}} {
		require.NoError(t, side.r.Update(context.Background(), func(tx *replica.Tx) error {
			for i := range n {
				if err := tx.Put(key(fmt.Sprintf("%04d", i)), map[string]any{"by": side.text, "also": side.text}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	net := network(t)
	serve(t, net, "a", a)
	syncWith(t, b, net.Link("b", "a"))
	return a
}

const (
	showsA = `{"also":"a","by":"a"}`
	showsB = `{"also":"b","by":"b"}`
)

func stale(t testing.TB, r *replica.Replica) int64 {
	t.Helper()
	st, err := r.Status(context.Background())
	require.NoError(t, err)
	return st.Stale
}

// TestViewEvents has watchers of two openings of one file told of what a policy
// shows otherwise, and of nothing else.
func TestViewEvents(t *testing.T) {
	r := torn(t, 300)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverFWW}, nil))
	put(t, r, "same", `{"by":"a"}`)
	other := openAt(t, r.Path(), nil)
	var wg sync.WaitGroup
	for _, w := range []*replica.Replica{r, other} {
		events := w.Watch(ctx, "notes")
		wg.Go(func() {
			seen := map[string]bool{}
			for ev, err := range events {
				if err != nil || ev.Kind != replica.EventView || string(ev.Value) != showsB || seen[ev.Key.ID] {
					t.Errorf("event %+v of %s, error %v", ev, ev.Value, err)
				}
				if seen[ev.Key.ID] = true; len(seen) == 300 {
					return
				}
			}
		})
	}
	require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLWW}, nil))
	wg.Wait()
	requireClean(t, r)
}

// TestRebuildGoesOn interrupts a rebuild: readers see the new policy all the time,
// and the next opening completes it in the background.
func TestRebuildGoesOn(t *testing.T) {
	r := torn(t, 900)
	require.NoError(t, r.SetPolicy(context.Background(), "notes", crdt.Policy{Default: crdt.ResolverFWW}, nil))
	before := contents(t, r)

	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stopped")
	err := r.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLWW}, func(int) { cancel(stop) })
	require.ErrorIs(t, err, context.Canceled)
	for it, err := range r.List(context.Background(), "notes", 0) {
		require.NoError(t, err)
		require.Equal(t, showsB, string(it.Value))
	}
	require.NoError(t, r.Close())

	r = openAt(t, r.Path(), nil)
	require.Eventually(t, func() bool { return stale(t, r) == 0 }, 20*time.Second, time.Millisecond)
	requireClean(t, r)
	require.NoError(t, r.SetPolicy(context.Background(), "notes", crdt.Policy{Default: crdt.ResolverFWW}, nil))
	require.Equal(t, before, contents(t, r))
}

// TestRebuildAndReaders reads all the time while policies change: each value is
// whole, what one policy or the other shows.
func TestRebuildAndReaders(t *testing.T) {
	r := torn(t, 500)
	ctx := context.Background()
	require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverFWW}, nil))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			v, err := r.Get(ctx, key(fmt.Sprintf("%04d", n%500)))
			if err != nil || string(v) != showsA && string(v) != showsB {
				t.Errorf("read %s, error %v", v, err)
				return
			}
		}
	})
	for i := range 6 {
		p := []string{crdt.ResolverLWW, crdt.ResolverFWW}[i%2]
		require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: p}, nil))
		require.Zero(t, stale(t, r))
	}
	close(done)
	wg.Wait()
}
