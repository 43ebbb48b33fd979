package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// DefaultPresence is how long the state of a member holds that nobody hears of any
// more.
const DefaultPresence = 30 * time.Second

// ErrPresence says that a state or a message cannot be sent: it is no JSON or beyond
// transport.MaxNote, or the room's name is empty or beyond transport.MaxRoom.
var ErrPresence = errors.New("not for presence")

// Room is one member of a room: people or programs that see each other's state and send
// each other messages, none of which is stored, across all links. Several may be open
// under one name, each a member of its own. It is safe for concurrent use.
type Room struct {
	hub  *presence
	name string
	self uint64
}

// Member is somebody in a room.
type Member struct {
	Replica crdt.ReplicaID // where it is
	ID      uint64         // which one there
	Self    bool           // it is the Room that was asked
	State   json.RawMessage
	Since   time.Time // when this replica first heard of it
}

// RoomEvent is something that happened in a room.
type RoomEvent struct {
	Kind    RoomEventKind
	Member  Member          // as it is now, or was last
	Message json.RawMessage // of a RoomMessage
}

// RoomEventKind tells events of a room apart.
type RoomEventKind string

// Kinds of events of a room.
const (
	RoomJoin    RoomEventKind = "join"
	RoomUpdate  RoomEventKind = "update"
	RoomLeave   RoomEventKind = "leave"
	RoomTimeout RoomEventKind = "timeout" // nothing was heard of the member for too long
	RoomMessage RoomEventKind = "message"
)

// Room opens a room. Who only listens is no member: that begins with Set.
func (r *Replica) Room(name string) (*Room, error) {
	if name == "" || len(name) > transport.MaxRoom {
		return nil, fmt.Errorf("%w: a room's name has 1 to %d bytes", ErrPresence, transport.MaxRoom)
	}
	return &Room{hub: r.presence, name: name, self: r.presence.newMember()}, nil
}

// Set makes v, as JSON, the state that others see, until Leave, the end of the replica or
// another Set.
func (m *Room) Set(v any) error {
	data, err := noteData(v)
	if err == nil {
		err = m.hub.say(m, transport.NoteState, data)
	}
	return err
}

// Leave takes the member out of the room. Set brings it back.
func (m *Room) Leave() error { return m.hub.say(m, transport.NoteLeave, nil) }

// Send sends v, as JSON, to everyone who watches the room now, this replica's watchers
// among them. A message may be lost; none arrives twice.
func (m *Room) Send(v any) error {
	data, err := noteData(v)
	if err == nil {
		err = m.hub.say(m, transport.NoteMessage, data)
	}
	return err
}

func noteData(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPresence, err)
	case len(data) > transport.MaxNote:
		return nil, fmt.Errorf("%w: %d bytes of JSON, at most %d", ErrPresence, len(data), transport.MaxNote)
	}
	return data, nil
}

// Members returns who is in the room, by replica and ID.
func (m *Room) Members() []Member {
	all := m.hub.members(m)
	slices.SortFunc(all, func(a, b Member) int {
		if c := slices.Compare(a.Replica[:], b.Replica[:]); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

// Watch yields what happens in the room from now on, until ctx ends or the replica is
// closed; those who are there first come as joining. A watcher that is slow sees the last
// state of each member only, and loses messages beyond the last 256.
func (m *Room) Watch(ctx context.Context) iter.Seq[RoomEvent] {
	return func(yield func(RoomEvent) bool) {
		w := m.hub.watch(m)
		defer m.hub.unwatch(w)
		for {
			for _, ev := range m.hub.take(w) {
				if !yield(ev) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-m.hub.r.ctx.Done():
				return
			case <-w.wake:
			}
		}
	}
}
