package replica

import (
	"errors"
	"time"

	"github.com/godwitdb/godwit/replica/internal/compactor"
)

// compactRegularly runs Compact each time Options.CompactEvery has passed, until the
// replica is closed.
func (r *Replica) compactRegularly() {
	tick := time.NewTicker(r.opts.CompactEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		done, err := r.Compact(r.ctx, nil, nil)
		switch {
		case r.ctx.Err() != nil:
			return
		case err != nil:
			r.opts.Logger.Error("compact", logError, err)
			if errors.Is(err, compactor.ErrNoCore) {
				return
			}
		case done.Compacted > 0:
			r.opts.Logger.Info("compacted", logCount, done.Compacted, logBytes, done.Bytes-done.Snapshots)
		}
	}
}
