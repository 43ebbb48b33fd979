package crdt

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hash names a change within a record: SHA-256 over the chunk's type, length
// and data (Automerge binary format, "chunk container").
type Hash [32]byte

// String returns 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Compare orders hashes bytewise.
func (h Hash) Compare(o Hash) int { return bytes.Compare(h[:], o[:]) }

// ParseHash reads the 64 hex digits that String wrote.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if err := parseHex(h[:], s); err != nil {
		return Hash{}, fmt.Errorf("parse hash %q: %w", s, err)
	}
	return h, nil
}

// ReplicaID names a replica: 8 random bytes, chosen when its file is created.
type ReplicaID [8]byte

// String returns 16 lower-case hex digits.
func (r ReplicaID) String() string { return hex.EncodeToString(r[:]) }

// ParseReplicaID reads the 16 hex digits that String wrote.
func ParseReplicaID(s string) (ReplicaID, error) {
	var r ReplicaID
	if err := parseHex(r[:], s); err != nil {
		return ReplicaID{}, fmt.Errorf("parse replica id %q: %w", s, err)
	}
	return r, nil
}

// Actor returns the actor of this replica in the given incarnation.
func (r ReplicaID) Actor(incarnation [8]byte) ActorID {
	return ActorID(string(r[:]) + string(incarnation[:]))
}

// MaxActorLen bounds an actor ID, in bytes.
const MaxActorLen = 128

// ActorID names one author of changes: raw bytes, ordered bytewise, at most
// MaxActorLen of them. Ours are 16 bytes, replica ID and incarnation; foreign
// ones (JavaScript's) may have any length.
type ActorID string

// String returns the actor in lower-case hex, as every Automerge prints it.
func (a ActorID) String() string { return hex.EncodeToString([]byte(a)) }

// Replica returns the first eight bytes as a replica ID. It says nothing of
// whether such a replica exists: any 16-byte actor has it. ok is false for
// actors of another length, which are never ours.
func (a ActorID) Replica() (id ReplicaID, ok bool) {
	if len(a) != 16 {
		return ReplicaID{}, false
	}
	copy(id[:], a)
	return id, true
}

// Key names a record.
type Key struct {
	Collection string
	ID         string
}

// String returns "collection/id".
func (k Key) String() string { return k.Collection + "/" + k.ID }

// Bounds of a key, in bytes.
const (
	MaxCollectionLen = 128
	MaxIDLen         = 512
)

// Valid returns nil, or what is wrong with the key: both parts are valid UTF-8,
// not empty, within their bounds, and free of slashes and control characters.
func (k Key) Valid() error {
	if err := validName(k.Collection, MaxCollectionLen); err != nil {
		return fmt.Errorf("collection %q: %w", clip(k.Collection), err)
	}
	if err := validName(k.ID, MaxIDLen); err != nil {
		return fmt.Errorf("id %q of collection %q: %w", clip(k.ID), k.Collection, err)
	}
	return nil
}

func validName(s string, limit int) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > limit:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), limit)
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return errors.New("has a slash or a control character")
	}
	return nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// Compare orders keys by collection, then id.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.Collection, o.Collection), strings.Compare(k.ID, o.ID))
}

// OpID names an operation: its counter and its author. The greater one wins,
// by counter and then by actor bytes.
type OpID struct {
	Counter uint64
	Actor   ActorID
}

// String returns "counter@actor".
func (o OpID) String() string { return fmt.Sprintf("%d@%s", o.Counter, o.Actor) }

// Compare orders operation IDs by counter, then actor bytes.
func (o OpID) Compare(p OpID) int {
	return cmp.Or(cmp.Compare(o.Counter, p.Counter), strings.Compare(string(o.Actor), string(p.Actor)))
}

// Clock of a record: the highest sequence number held of each actor. It says
// exactly which changes are held, since an actor's sequence has no gaps.
type Clock map[ActorID]uint64

// Covers reports whether every change that o counts is counted by c too.
func (c Clock) Covers(o Clock) bool {
	for a, s := range o {
		if c[a] < s {
			return false
		}
	}
	return true
}

// Heads are the hashes of the changes of a record that no other change depends
// on, in ascending order. Equal heads mean equal records.
type Heads []Hash

// Equal reports whether both are the same set.
func (h Heads) Equal(o Heads) bool { return slices.Equal(h, o) }

func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("want %d hex digits, got %d characters", 2*len(dst), len(s))
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}
