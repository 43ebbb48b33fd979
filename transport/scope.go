package transport

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// Selector names records: those of a collection whose id begins with Prefix and
// whose stored view has each of the Where fields equal to its value.
type Selector struct {
	Collection string  // "" for every collection
	Prefix     string  // of ids; "" for every id
	ID         string  // exactly this one; "" for every id
	Where      []Equal // all of them hold; only whoever sends evaluates them, on its own view
}

// Equal is a condition on a field of a record's view.
type Equal struct {
	Field string // a path as crdt.ParsePath reads it
	Value string // its value as JSON
}

// Scope is a set of records: all, or those that at least one selector names. The
// zero Scope holds none.
type Scope struct {
	All  bool
	Only []Selector // ignored with All
}

// Everything returns the scope of all records.
func Everything() Scope { return Scope{All: true} }

// None reports whether no record is in the scope, whatever its fields are.
func (s Scope) None() bool { return !s.All && len(s.Only) == 0 }

// Covers reports whether the record may be in the scope: Where is not looked at.
func (s Scope) Covers(k crdt.Key) bool {
	if s.All {
		return true
	}
	for i := range s.Only {
		if s.Only[i].Covers(k) {
			return true
		}
	}
	return false
}

// Covers reports whether the selector names the record, Where not looked at.
func (s *Selector) Covers(k crdt.Key) bool {
	return (s.Collection == "" || s.Collection == k.Collection) && (s.ID == "" || s.ID == k.ID) && strings.HasPrefix(k.ID, s.Prefix)
}

// And returns the records that are in both scopes.
func (s Scope) And(t Scope) Scope {
	switch {
	case s.All:
		return t
	case t.All:
		return s
	}
	var both Scope
	for i := range s.Only {
		for j := range t.Only {
			if sel, ok := s.Only[i].and(&t.Only[j]); ok {
				both.Only = append(both.Only, sel)
			}
		}
	}
	return both
}

func (s *Selector) and(t *Selector) (both Selector, ok bool) {
	both = *s
	if both.Collection == "" {
		both.Collection = t.Collection
	}
	if both.ID == "" {
		both.ID = t.ID
	}
	if strings.HasPrefix(t.Prefix, s.Prefix) {
		both.Prefix = t.Prefix
	}
	both.Where = append(append([]Equal(nil), s.Where...), t.Where...)
	return both, (t.Collection == "" || both.Collection == t.Collection) && strings.HasPrefix(both.Prefix, t.Prefix) &&
		(t.ID == "" || both.ID == t.ID) && (both.ID == "" || strings.HasPrefix(both.ID, both.Prefix))
}

// Hash names the scope by its content: the first 32 bytes of SHA-256 over its
// selectors. That of everything is zero.
func (s Scope) Hash() crdt.Hash {
	if s.All {
		return crdt.Hash{}
	}
	b := []byte("scope")
	add := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for i := range s.Only {
		add(s.Only[i].Collection)
		add(s.Only[i].Prefix)
		add(s.Only[i].ID)
		b = binary.AppendUvarint(b, uint64(len(s.Only[i].Where)))
		for _, w := range s.Only[i].Where {
			add(w.Field)
			add(w.Value)
		}
	}
	return sha256.Sum256(b)
}

// Grant says what a peer may do in a space. The zero Grant allows nothing; the
// side that dials grants everything to the peer it chose.
type Grant struct {
	Subject string    // who it is, for logs and limits
	Read    Scope     // what is sent to it
	Write   Scope     // what is taken from it
	Relay   bool      // it may bring changes that other replicas authored
	Admin   bool      // it may write the reserved collection _godwit
	Expires time.Time // when it ends; zero: never
}

// Rights names what the grant lets a peer write, by its content; zero for
// everything. A peer that is told another one than before has something to try again.
func (g Grant) Rights() crdt.Hash {
	if g.Write.All && g.Relay && g.Admin {
		return crdt.Hash{}
	}
	b := []byte("rights")
	for _, may := range []bool{g.Write.All, g.Relay, g.Admin} {
		if may {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	h := g.Write.Hash()
	return sha256.Sum256(append(b, h[:]...))
}

// FullGrant returns the grant of everything.
func FullGrant() Grant {
	return Grant{Read: Everything(), Write: Everything(), Relay: true, Admin: true}
}
