package replica

import (
	"context"
	"fmt"

	"github.com/godwitdb/godwit/persist"
)

// Salvaged says what Salvage found.
type Salvaged = persist.Salvaged

// Salvage makes a new file of all that can be read in a damaged one, which Open or Repair
// fails with ErrDamaged on, or of which Repaired.Broken says so. The damaged file is kept
// beside it, as Salvaged.Copy says. The new one takes its place; it is the same replica with
// another log. Nothing else may have the file open. RepairFrom then brings what is missing
// from a peer.
func Salvage(ctx context.Context, path string, o *Options) (Salvaged, error) {
	opts := o.withDefaults()
	done, err := persist.Salvage(ctx, path, &persist.Options{Synchronous: opts.Synchronous, Key: opts.Key})
	if err != nil {
		return done, err
	}
	r, err := Open(ctx, path, o)
	if err != nil {
		return done, err
	}
	_, err = r.Repair(ctx)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		err = fmt.Errorf("repair what was salvaged: %w", err)
	}
	return done, err
}
