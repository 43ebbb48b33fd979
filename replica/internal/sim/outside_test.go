package sim_test

import (
	"context"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// outside does what cannot be done in a bubble: the compactor waits for finalizers,
// which belong to none. To the files it is another process.
type outside struct{ jobs, done chan func() }

func newOutside() *outside {
	o := &outside{make(chan func()), make(chan func())}
	go func() {
		for f := range o.jobs {
			f()
			o.done <- nil
		}
	}()
	return o
}

func (o *outside) close() { close(o.jobs) }

func (o *outside) run(f func()) {
	o.jobs <- f
	<-o.done
}

func (o *outside) compact(path string) (done replica.Compaction, err error) {
	o.run(func() {
		ctx := persist.WithHooks(context.Background(), &persist.Hooks{Alone: true})
		var r *replica.Replica
		if r, err = replica.Open(ctx, path, nil); err != nil {
			return
		}
		defer r.Close()
		done, err = r.Compact(ctx, &replica.CompactOptions{MinBytes: 1}, nil)
	})
	return done, err
}
