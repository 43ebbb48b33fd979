package replica

import (
	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// place decides where the peer's log is read from, and whether that leaves something
// out: its first frame says where it begins, and under which filter. Then the cursor
// in the file stays what it was until reconciliation has made up for it.
func (s *session) place(first *transport.Changes) {
	elsewhere := first.From != s.at
	refiltered := s.filter != nothing && s.at.LSN > 0 && s.readFilter() != s.peer.ReadFilter
	switch {
	case !s.ranges() && refiltered && !elsewhere:
		s.at = crdt.Cursor{Epoch: s.them.Epoch} // no frame fits there, and the peer is asked for a resend
		return
	case s.ranges():
		s.strange = elsewhere || refiltered
		s.due = s.strange || s.peer.Doubt || s.parkedBefore || len(s.refused) > 0 && !s.inn.none
	}
	if s.aside {
		s.strange, s.due = true, s.ranges()
	}
	// What it lost it has to get again: by reconciliation if that goes both ways, else by
	// the stream.
	both := s.out.within(s.inn) && (s.filter == crdt.Hash{} || s.filter == s.out.hash())
	s.lost = elsewhere || s.peer.Doubt
	s.unsure = s.lost && !both
	s.at = first.From
}

// compares reports whether this session only compares: nothing is streamed, and
// nothing of either side changes.
func (s *session) compares() bool { return s.verify != nil || s.them.Compare }

// positioned reports whether one of the deliveries is of the peer's log.
func positioned(all []*delivery) bool {
	for _, d := range all {
		if d.ask == nil && d.loose == 0 {
			return true
		}
	}
	return false
}

// pass tells the reconciler what was applied, and hands it what the peer asks or
// answers.
func (s *session) pass(all []*delivery) {
	s.mu.Lock()
	for _, d := range all {
		if d.loose != 0 && d.last && (s.arrived[d.loose] > 0 || len(s.arrived) < maxArrived) {
			s.arrived[d.loose]++
		}
	}
	s.mu.Unlock()
	for _, d := range all {
		if d.ask != nil {
			s.ask(d.ask)
		}
	}
}

// maxArrived bounds the requests whose answers are counted.
const maxArrived = 1024

// comparable begins a session that only compares.
func (s *session) comparable(hello *transport.Hello) error {
	if !s.ranges() {
		return protocolErrorf(transport.CodeProtocol, "cannot compare replicas by ranges: it has to be updated")
	}
	if s.verify != nil {
		s.due, s.begun = true, true
		s.soon()
	}
	return nil
}

// looseExceptions leaves out sets that were parked if reconciliation brings what they
// wait for. What was refused is remembered, to explain why a record stays different.
func (s *session) looseExceptions(all []transport.Exception, from int) []transport.Exception {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := all[:from]
	for i := range all[from:] {
		x := all[from+i]
		if x.State == transport.Parked && s.ranges() {
			continue
		}
		s.turn(&x, "this side")
		kept = append(kept, x)
	}
	return kept
}
