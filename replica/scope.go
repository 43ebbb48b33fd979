package replica

import (
	"crypto/sha256"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// carry is what a session carries in one direction: the records that each of its
// scopes covers. It is not changed once made.
type carry struct {
	scopes []transport.Scope // without those of everything; nil: everything
	none   bool              // nothing at all
}

func carryOf(scopes ...transport.Scope) *carry {
	c := &carry{}
	for _, s := range scopes {
		c.none = c.none || s.None()
		if !s.All {
			c.scopes = append(c.scopes, s)
		}
	}
	return c
}

// covers reports whether the record may be carried; conditions on fields are not
// looked at. What godwit itself keeps in a space goes wherever anything goes.
func (c *carry) covers(k crdt.Key) bool {
	if c.none {
		return false
	}
	if k.Collection == reserved {
		return true
	}
	for _, s := range c.scopes {
		if !s.Covers(k) {
			return false
		}
	}
	return true
}

// hash names it by its content; that of everything is zero.
func (c *carry) hash() crdt.Hash {
	switch {
	case c.none:
		return transport.Scope{}.Hash()
	case len(c.scopes) == 0:
		return crdt.Hash{}
	case len(c.scopes) == 1:
		return c.scopes[0].Hash()
	}
	var b []byte
	for _, s := range c.scopes {
		h := s.Hash()
		b = append(b, h[:]...)
	}
	return sha256.Sum256(b)
}

// sendScope is what this side sends: what the peer wants and may read, and what is
// to be pushed.
func (s *session) sendScope() *carry { return s.out }

// recvScope is what this side takes: what it wants, and the peer may write.
func (s *session) recvScope() *carry { return s.inn }

// agree settles what is carried, when both hellos are known.
func (s *session) agree() {
	s.out = carryOf(s.them.Want, s.grant.Read, s.push)
	s.inn = carryOf(s.want, s.grant.Write)
}
