package sim_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// tally counts what happened to nodes.
type tally struct {
	mu sync.Mutex // guards what follows, of the sum of several worlds

	crashes   int // of them
	within    int // a call of the store
	copies    int // restored and cloned nodes
	jumps     int // of clocks
	forgotten int // records
	abandoned int // changes
	purged    int // records
	updates   int // acknowledged
	failed    bool
}

// firstFailure reports whether it is the first.
func (t *tally) firstFailure() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.failed
	t.failed = true
	return !before
}

// add adds what happened in a world.
func (t *tally) add(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.crashes += w.tally.crashes
	t.within += w.tally.within
	t.copies += w.tally.copies
	t.jumps += w.tally.jumps
	t.forgotten += w.tally.forgotten
	t.abandoned += w.tally.abandoned
	t.purged += w.tally.purged
	t.updates += len(w.model.acks)
}

// check makes sure that the schedules had what they are for.
func (t *tally) check(tb testing.TB, seeds int) {
	tb.Logf("%d schedules: %d crashes, %d of them within a call of the store; %d restored or cloned replicas; %d jumps of clocks; "+
		"%d records forgotten, %d purged; %d changes abandoned; %d acknowledged sets", seeds, t.crashes, t.within, t.copies, t.jumps, t.forgotten, t.purged, t.abandoned, t.updates)
	if seeds < 50 {
		return
	}
	require.GreaterOrEqual(tb, t.crashes, seeds, "each schedule has a crash")
	require.Greater(tb, t.within, seeds/4)
	require.GreaterOrEqual(tb, t.copies, seeds/3, "100 in the usual run")
	require.GreaterOrEqual(tb, t.jumps, seeds*25/16, "500 in the usual run")
	require.Positive(tb, t.forgotten)
	require.Positive(tb, t.abandoned)
	require.Positive(tb, t.purged)
}
