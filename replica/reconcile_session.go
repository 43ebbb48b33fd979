package replica

import (
	"maps"

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
		s.due = s.strange || s.peer.Doubt || s.parkedBefore || s.wanting || len(s.refused) > 0 && !s.inn.none
	}
	if s.aside {
		s.strange, s.due = true, s.ranges()
	}
	if s.hides && s.claimed.LSN != s.peer.Acked.LSN { // it has met a copy of this file, which may have shown it all
		s.due = s.ranges()
	}
	// What it lost it has to get again: by reconciliation if that goes both ways, else by
	// the stream.
	both := s.out.within(s.inn) && (s.filter == crdt.Hash{} || s.filter == s.out.hash())
	s.lost = elsewhere || s.peer.Doubt
	s.unsure = s.lost && !both
	if elsewhere || s.claimed.LSN < s.peer.Acked.LSN { // the second is not written down at once
		s.forgive()
	}
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
		if d.loose != 0 && d.last && d.ahead == 0 {
			if len(s.arrived) >= maxArrived {
				clear(s.arrived)
			}
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

// allArrived reports whether the frames of change sets that went before the Need are
// here. Those that are not are lost, or cannot be unpacked because others are: from now
// on the peer is to pack what depends on none of them.
func (s *session) allArrived(f *transport.Need) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.arrived[f.ID] >= f.Loose
	maps.DeleteFunc(s.arrived, func(id, _ uint64) bool { return f.ID-id < runRequests })
	if !all {
		s.queueAck(&transport.Ack{Through: s.at, Resend: true})
		s.poke()
	}
	return all
}

// runRequests is more than a run makes: their IDs are consecutive.
const runRequests = 1 << 32

// maxArrived bounds the requests whose frames are counted. One that is forgotten is made
// again.
const maxArrived = 1024

// heardOut reports whether the peer's log has come as far as it went at the handshake, if
// it is only in doubt: before that a comparison would ask for what is on its way. The
// caller holds mu.
func (s *session) heardOut() bool {
	return !s.peer.Doubt || s.inn.none || s.filter == nothing || s.at.LSN >= s.them.Log.LSN
}

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
