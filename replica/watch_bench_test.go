package replica_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// BenchmarkWatchers edits one record after the other, each of which concerns one of
// 1,000 watchers, and waits until that one was told; in turns with the same on a replica
// that has one watcher.
func BenchmarkWatchers(b *testing.B) {
	const n = 1000
	for kind, watch := range map[string]func(ctx context.Context, r *replica.Replica, k crdt.Key) iter.Seq2[replica.Event, error]{
		"record": func(ctx context.Context, r *replica.Replica, k crdt.Key) iter.Seq2[replica.Event, error] {
			return r.WatchRecord(ctx, k)
		},
		"collection": func(ctx context.Context, r *replica.Replica, k crdt.Key) iter.Seq2[replica.Event, error] {
			return r.Watch(ctx, k.Collection)
		},
	} {
		b.Run(kind, func(b *testing.B) {
			many, one := newWatched(b), newWatched(b)
			for i := range n {
				many.begin(watch, i)
			}
			one.begin(watch, 0)
			var edit, told [2][]time.Duration
			for i := 0; b.Loop(); i++ {
				for k, w := range []*watched{many, one} {
					e, d := w.edit(b, []int{i * 7 % n, 0}[k], i)
					edit[k], told[k] = append(edit[k], e), append(told[k], d)
				}
			}
			for k := range 2 {
				slices.Sort(edit[k])
				slices.Sort(told[k])
			}
			half := len(edit[0]) / 2
			b.ReportMetric(float64(edit[0][half])/float64(edit[1][half]), "edit-of-one's")
			b.ReportMetric(float64(told[0][half])/float64(told[1][half]), "told-of-one's")
			b.ReportMetric(float64(told[1][half].Microseconds()), "one-us")
		})
	}
}

// watched is a replica with watchers.
type watched struct {
	r    *replica.Replica
	ctx  context.Context
	told chan struct{}
	wg   sync.WaitGroup
}

func newWatched(b *testing.B) *watched {
	ctx, cancel := context.WithCancel(b.Context())
	w := &watched{r: open(b, nil), ctx: ctx, told: make(chan struct{}, 1)}
	b.Cleanup(func() { cancel(); w.wg.Wait() })
	return w
}

func watchedKey(i int) crdt.Key { return crdt.Key{Collection: fmt.Sprint("c", i), ID: "1"} }

func (w *watched) begin(watch func(context.Context, *replica.Replica, crdt.Key) iter.Seq2[replica.Event, error], i int) {
	seq := watch(w.ctx, w.r, watchedKey(i))
	w.wg.Go(func() {
		for range seq {
			w.told <- struct{}{}
		}
	})
}

// edit returns how long an edit took, and how long until its watcher was told.
func (w *watched) edit(b *testing.B, i, n int) (edit, told time.Duration) {
	start := time.Now()
	require.NoError(b, w.r.Update(w.ctx, func(tx *replica.Tx) error { return tx.Put(watchedKey(i), map[string]any{"n": n}) }))
	edit = time.Since(start)
	<-w.told
	return edit, time.Since(start)
}
