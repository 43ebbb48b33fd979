package transport

import (
	"fmt"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// KnowsPresence is the capability of a Hello whose sender takes Presence frames.
const KnowsPresence = "presence"

// Bounds of Presence frames.
const (
	MaxRoom     = 128             // bytes of a room's name
	MaxNote     = 16 << 10        // bytes of a note's data
	MaxNotes    = 32              // notes of a frame, and together at most MaxSmallFrame bytes
	MaxPresence = 5 * time.Minute // how long a state may hold
	MaxNoteSeq  = 1 << 62
)

// Presence carries notes about who is in which room. They are never stored; one may
// be lost, and repeated or late ones are known by their numbers.
type Presence struct{ Notes []Note }

// Note is a state of a member, its leaving, or a message of it.
type Note struct {
	Room    string
	Replica crdt.ReplicaID // where the member is
	Member  uint64         // which one of that replica's, at random
	Seq     uint64         // of the member in the room, from 1; states and messages count on their own
	Kind    NoteKind
	Holds   time.Duration // whole milliseconds: how long a state holds from now on unless it is said again
	Data    []byte        // JSON; none when leaving
}

// NoteKind tells notes apart.
type NoteKind uint8

// Kinds of notes.
const (
	NoteState   NoteKind = 1
	NoteLeave   NoteKind = 2 // counts with the states
	NoteMessage NoteKind = 3
)

type wirePresence struct {
	Notes []wireNote `cbor:"1,keyasint"`
}

type wireNote struct {
	_       struct{} `cbor:",toarray"`
	Room    string
	Replica []byte
	Member  uint64
	Seq     uint64
	Kind    NoteKind
	Holds   uint64
	Data    []byte
}

// Kind returns KindPresence.
func (*Presence) Kind() Kind { return KindPresence }

// Size returns the most bytes that n takes in a frame.
func (n *Note) Size() int { return 64 + len(n.Room) + len(n.Data) }

func (f *Presence) wire() any {
	w := &wirePresence{}
	for i := range f.Notes {
		n := &f.Notes[i]
		w.Notes = append(w.Notes, wireNote{
			Room: n.Room, Replica: n.Replica[:], Member: n.Member, Seq: n.Seq, Kind: n.Kind,
			Holds: uint64(max(0, n.Holds.Milliseconds())), Data: n.Data,
		})
	}
	return w
}

func (f *Presence) check() error {
	if err := checkCount("notes", len(f.Notes), MaxNotes); err != nil {
		return err
	}
	for i := range f.Notes {
		n := &f.Notes[i]
		if err := firstError(checkText("room", n.Room, MaxRoom), checkText("note", string(n.Data), MaxNote)); err != nil {
			return err
		}
		switch {
		case n.Kind < NoteState || n.Kind > NoteMessage:
			return fmt.Errorf("%w: note of kind %d", ErrMalformed, n.Kind)
		case n.Seq == 0 || n.Seq > MaxNoteSeq || n.Room == "":
			return fmt.Errorf("%w: note without a number or a room", ErrMalformed)
		case n.Holds < 0 || n.Holds > MaxPresence:
			return fmt.Errorf("%w: a state is to hold %v, at most %v", ErrTooLarge, n.Holds, MaxPresence)
		}
	}
	return nil
}

func (c *Codec) parsePresence(body []byte) (Frame, error) {
	var w wirePresence
	if err := c.unmarshal(body, &w); err != nil {
		return nil, err
	}
	if err := checkCount("notes", len(w.Notes), MaxNotes); err != nil {
		return nil, err
	}
	f := &Presence{}
	for i := range w.Notes {
		n := &w.Notes[i]
		note := Note{Room: n.Room, Member: n.Member, Seq: n.Seq, Kind: n.Kind, Data: n.Data,
			Holds: time.Duration(min(n.Holds, uint64(2*MaxPresence.Milliseconds()))) * time.Millisecond}
		if err := fixed("replica", note.Replica[:], n.Replica); err != nil {
			return nil, err
		}
		f.Notes = append(f.Notes, note)
	}
	return f, nil
}
