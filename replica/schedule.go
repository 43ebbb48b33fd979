package replica

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// plan says when a Connection holds sessions, and how much one of them may move.
type plan struct {
	every    time.Duration // a session each time this has passed
	onDemand bool          // or when asked for only; neither: all the time
	metered  bool          // also while SetMetered says so
	retry    *transport.Backoff
	probe    time.Duration
	limit    limit
}

// live reports whether the link is kept up.
func (p *plan) live() bool { return p.every == 0 && !p.onDemand }

// defaultProbe is how often a peer that could not be reached is probed.
const defaultProbe = 5 * time.Second

// Live has a Connection keep the link up: changes go out as they are committed. It is
// the default.
func Live() LinkOption {
	return func(t *terms) { t.plan.every, t.plan.onDemand = 0, false }
}

// Every has a Connection exchange what there is each time d has passed, by the wall
// clock, and hang up in between. A run that was missed, since there was no path or the
// machine slept, is made up for once, as soon as that is over. A run that failed is
// tried again with the backoff.
func Every(d time.Duration) LinkOption {
	return func(t *terms) {
		t.plan.every, t.plan.onDemand = d, false
		if d <= 0 {
			t.plan.every = -1
		}
	}
}

// OnDemand has a Connection exchange changes when SyncNow or SyncOnce asks for it, and
// at no other time.
func OnDemand() LinkOption {
	return func(t *terms) { t.plan.every, t.plan.onDemand = 0, true }
}

// EvenMetered has the link keep to its schedule also while SetMetered(true) holds.
func EvenMetered() LinkOption { return func(t *terms) { t.plan.metered = true } }

// Retry has a Connection wait so between attempts that failed, instead of as the link
// says: exponentially, or linearly with Backoff.Step.
func Retry(b transport.Backoff) LinkOption { return func(t *terms) { t.plan.retry = &b } }

// ProbeEvery says how often a peer that could not be reached is probed while the next
// attempt is not due, if the link is a transport.Prober: when it answers, that attempt
// is made at once. The default is 5 s; negative is never.
func ProbeEvery(d time.Duration) LinkOption { return func(t *terms) { t.plan.probe = d } }

// MaxPerRun bounds what one session moves, both ways together: changes, and their bytes
// before compression; 0 is no bound. When either is reached the session ends in good
// order, with ErrLimit, and the next one goes on from there. What is sent keeps to the
// bound, the last set apart, which stays whole; what comes is counted by the peer's
// frames, of 256 KiB or one set. Not for a link that is Live.
func MaxPerRun(changes int, bytes int64) LinkOption {
	return func(t *terms) { t.plan.limit = limit{changes, bytes} }
}

// check reports a plan that makes no sense.
func (p *plan) check() error {
	switch {
	case p.every < 0:
		return errors.New("Every: the time between two runs has to be positive")
	case p.limit.changes < 0 || p.limit.bytes < 0:
		return fmt.Errorf("MaxPerRun(%d, %d): no bound is negative", p.limit.changes, p.limit.bytes)
	}
	return nil
}

// limit bounds what a session moves; 0 is no bound.
type limit struct {
	changes int
	bytes   int64
}

// frameSets bounds the sets of a frame, so that one alone does not pass the limit.
func (l limit) frameSets() int { return min(cmp.Or(l.changes, setsPerFrame), setsPerFrame) }

// frameBytes bounds the bytes of a frame.
func (l limit) frameBytes() int { return int(min(cmp.Or(l.bytes, frameBytes), frameBytes)) }

// reached reports whether so much is enough.
func (l limit) reached(used limit) bool {
	return l.changes > 0 && used.changes >= l.changes || l.bytes > 0 && used.bytes >= l.bytes
}
