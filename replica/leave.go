package replica

import (
	"errors"
	"sync/atomic"

	"github.com/godwitdb/godwit/transport"
)

// errLeft ends a session that this side leaves in good order.
var errLeft = errors.New("left")

// leaves is how a session is ended by this side in good order while there is more to
// exchange: what is under way is applied and acknowledged, as Drain does it, nothing
// more is sent, and what comes later is turned away, not acknowledged, and comes again
// in the next session.
type leaves struct {
	leaving atomic.Bool
	spent   atomic.Bool // since the limit is reached
	used    limit       // guarded by the session's mu
	left    bool        // it ended so; once it is over
}

// leave ends the session in good order.
func (s *session) leave() {
	s.leaving.Store(true)
	s.poke()
}

// turnsAway reports whether a frame comes too late.
func (s *session) turnsAway(f transport.Frame) bool {
	if !s.leaving.Load() {
		return false
	}
	switch f.(type) {
	case *transport.Changes, *transport.Digest, *transport.Need:
		return true
	}
	return false
}

// spend counts what was moved against the limit.
func (s *session) spend(changes, bytes int) {
	if s.plan.limit == (limit{}) {
		return
	}
	s.mu.Lock()
	s.used.changes += changes
	s.used.bytes += int64(bytes)
	over := s.plan.limit.reached(s.used)
	s.mu.Unlock()
	if over && !s.spent.Swap(true) {
		s.leave()
	}
}

// measure returns what a frame carries.
func measure(f *transport.Changes) (changes, bytes int) {
	for _, set := range f.Sets {
		changes += len(set.Members)
		bytes += set.Size()
	}
	return changes, bytes
}

// level tells the session's connection when both sides have everything, and how far the
// peer has read. The caller holds mu.
func (s *session) level() {
	if s.of == nil || !s.ended || !s.peerDone || len(s.flight) > 0 || s.due {
		return
	}
	s.of.level(s.acked.LSN, s.out.none, s.counts)
}
