package replica

import "github.com/godwitdb/godwit/transport"

// A change can come without those that it builds on: the filter of the link did not let
// them pass then, or the peer refused them. Whoever parks such a set, and whoever sent
// it, has a run of reconciliation made, which brings what is missing.

// lack has a run made for the sets that were parked here, and returns how many. The
// caller holds mu.
func (s *session) lack(all []transport.Exception) int {
	n := s.waiting(all)
	s.lacking += n
	if n > 0 {
		s.compareSoon()
	}
	return n
}

// owe does the same for those that the peer has parked. The caller holds mu.
func (s *session) owe(all []transport.Exception) int {
	n := s.waiting(all)
	s.owing += n
	if n > 0 && !s.inn.none {
		s.compareSoon()
	}
	return n
}

// waiting counts what was parked for want of another change, if the peer reconciles.
func (s *session) waiting(all []transport.Exception) (n int) {
	if !s.ranges() || s.compares() {
		return 0
	}
	for i := range all {
		if all[i].State == transport.Parked && all[i].Code == codeParked {
			n++
		}
	}
	return n
}

// compareSoon has a run made, at once or after the one that goes on. The caller holds
// mu.
func (s *session) compareSoon() {
	if s.begun {
		s.more = true
		return
	}
	s.due, s.begun = true, true
	s.soon()
}

// compared takes down what a run has shown. The caller holds mu.
func (s *session) compared(equal bool) {
	switch {
	case s.more:
		s.more = false
		s.compareSoon()
	case equal:
		s.lacking, s.owing = 0, 0
	}
}
