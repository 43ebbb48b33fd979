package replica

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what is remembered of rooms, of all of them together, and of what waits for
// one session or watcher. What goes beyond is dropped.
const (
	maxPresent      = 1 << 16  // members, those who left lately too
	maxPresentBytes = 16 << 20 // of their states
	maxWaiting      = 256      // messages
	maxWaitingBytes = 1 << 20  // of messages
)

// presenceTick is how often it is looked at what is over or has to be said again.
const presenceTick = DefaultPresence / 6

// presence is what a replica knows of rooms, and passes on. Every note goes to every
// session but the one it came from, once: each member numbers its notes, and only what is
// new goes on, so it reaches everyone in a mesh of any shape and then ends. A state holds
// for a time that grows shorter on its way and is said again by its member before it is
// over; so what nobody says again is forgotten everywhere, without a word.
//
// A replica whose last session with this one ended is taken for gone after a moment, and
// this is passed on as the leaving of its members. One that is there all the same, on
// another path, hears of it and contradicts with a higher number.
type presence struct {
	r *Replica

	mu       sync.Mutex // guards what follows
	known    map[who]*known
	bytes    int
	sessions map[*session]*post
	parted   map[crdt.ReplicaID]time.Time // whose sessions ended, and when
	watchers map[*watcher]struct{}
	timer    *time.Timer // set while anything is known
	closed   bool
}

// who is a member of a room.
type who struct {
	room    string
	replica crdt.ReplicaID
	member  uint64
}

// known is what was last heard of a member.
type known struct {
	seq     uint64 // of its last state or leaving
	state   []byte // nil: it is not there
	holds   time.Duration
	until   time.Time // when that is over; then it is kept for as long again, so that late notes are known to be old
	since   time.Time
	message uint64 // the highest number of a message
	seen    uint64 // which of the 64 numbers up to that were seen
	own     bool
}

// post is what waits to be sent in a session: the last state of each member, and messages.
type post struct {
	states   map[who]bool
	messages []transport.Note
	bytes    int
}

// watcher is one Watch of a room.
type watcher struct {
	room   *Room
	wake   chan struct{}  // one slot
	last   map[who]Member // as they were shown
	gone   map[who]bool   // whose time is over
	events []RoomEvent    // messages
}

func newPresence(r *Replica) *presence {
	return &presence{r: r, known: map[who]*known{}, sessions: map[*session]*post{}, parted: map[crdt.ReplicaID]time.Time{}, watchers: map[*watcher]struct{}{}}
}

func (p *presence) newMember() uint64 { return rand.Uint64() }

// say notes what a room of this replica says.
func (p *presence) say(m *Room, kind transport.NoteKind, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	w := who{m.name, p.r.id, m.self}
	n := transport.Note{Room: m.name, Replica: p.r.id, Member: m.self, Kind: kind, Data: data, Seq: 1}
	if k := p.known[w]; k != nil {
		n.Seq = k.seq + 1
		if kind == transport.NoteMessage {
			n.Seq = k.message + 1
		}
	}
	if kind != transport.NoteMessage {
		n.Holds = DefaultPresence
	}
	p.hear(&n, nil)
	if k := p.known[w]; k != nil {
		k.own = true
	}
	return nil
}

// receive takes notes from a session. A peer that may not relay speaks for itself only.
func (p *presence) receive(s *session, f *transport.Presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range f.Notes {
		n := &f.Notes[i]
		if !s.grant.Relay && n.Replica != s.them.Replica || len(n.Data) > 0 && !json.Valid(n.Data) {
			continue
		}
		w := who{n.Room, n.Replica, n.Member}
		if k := p.known[w]; k == nil || !k.own {
			p.hear(n, s)
		} else if n.Kind == transport.NoteLeave && n.Seq >= k.seq && n.Seq < transport.MaxNoteSeq && k.state != nil {
			p.again(w, k, n.Seq+1)
		}
	}
}

// hear takes a note if it is new, and passes it on. The caller holds mu.
func (p *presence) hear(n *transport.Note, from *session) {
	w := who{n.Room, n.Replica, n.Member}
	k := p.known[w]
	if k == nil {
		if p.closed || len(p.known) >= maxPresent || p.bytes+len(n.Data) > maxPresentBytes {
			return
		}
		k = &known{}
	}
	now := p.r.opts.Now()
	if n.Kind == transport.NoteMessage {
		if !k.first(n.Seq) {
			return
		}
		k.until = later(k.until, now.Add(DefaultPresence))
	} else {
		leaves := n.Kind == transport.NoteLeave && n.Seq == k.seq && k.state != nil
		if n.Seq <= k.seq && !leaves {
			return
		}
		p.bytes += len(n.Data) - len(k.state)
		joined := k.state == nil
		k.seq, k.state, k.holds = n.Seq, n.Data, n.Holds
		if n.Kind == transport.NoteLeave {
			k.state, k.holds = nil, DefaultPresence
		} else if joined {
			k.since = now
		}
		k.until = now.Add(k.holds)
	}
	p.known[w] = k
	p.schedule()
	for s, post := range p.sessions {
		if s != from {
			post.add(w, n)
			s.poke()
		}
	}
	for watcher := range p.watchers {
		watcher.add(w, k, n)
	}
}

// first reports whether a message of that number is heard for the first time. Of those that
// are more than 64 behind it is not known any more.
func (k *known) first(seq uint64) bool {
	switch {
	case seq > k.message:
		k.seen = k.seen<<min(seq-k.message, 64) | 1
		k.message = seq
		return true
	case k.message-seq >= 64 || k.seen>>(k.message-seq)&1 != 0:
		return false
	}
	k.seen |= 1 << (k.message - seq)
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// schedule has tick called while anything is known. The caller holds mu.
func (p *presence) schedule() {
	if p.timer == nil && len(p.known) > 0 && !p.closed {
		p.timer = time.AfterFunc(presenceTick, p.tick)
	}
}

// tick says again what this replica's members said, and forgets what is over.
func (p *presence) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	now := p.r.opts.Now()
	for w, k := range p.known {
		switch left := k.until.Sub(now); {
		case k.own && k.state != nil:
			if left <= DefaultPresence/2 {
				p.again(w, k, k.seq+1)
			}
		case k.state != nil && p.isGone(w.replica, now):
			p.hear(&transport.Note{Room: w.room, Replica: w.replica, Member: w.member, Seq: k.seq, Kind: transport.NoteLeave}, nil)
		case left > 0:
		case k.state != nil:
			p.bytes -= len(k.state)
			k.state, k.until = nil, now.Add(k.holds)
			for watcher := range p.watchers {
				if watcher.room.name == w.room {
					watcher.gone[w] = true
					watcher.poke()
				}
			}
		case !k.own:
			delete(p.known, w)
		}
	}
	for id, at := range p.parted {
		if now.Sub(at) > DefaultPresence {
			delete(p.parted, id)
		}
	}
	p.schedule()
}

// again says a member's state once more. The caller holds mu.
func (p *presence) again(w who, k *known, seq uint64) {
	p.hear(&transport.Note{Room: w.room, Replica: w.replica, Member: w.member, Seq: seq, Kind: transport.NoteState,
		Holds: DefaultPresence, Data: k.state}, nil)
}

// isGone reports whether a replica had a session with this one and has none for a while. The
// caller holds mu.
func (p *presence) isGone(id crdt.ReplicaID, now time.Time) bool {
	at, parted := p.parted[id]
	return parted && now.Sub(at) >= presenceTick/2
}

// join has a session take part, and sends it what is known. Sessions that end by
// themselves do not, nor those in which the peer may read nothing.
func (p *presence) join(s *session) {
	if s.once || s.aside || s.compares() || s.grant.Read.None() || !slices.Contains(s.them.Knows, transport.KnowsPresence) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	post := &post{states: map[who]bool{}}
	for w, k := range p.known {
		if k.state != nil {
			post.states[w] = true
		}
	}
	p.sessions[s] = post
	delete(p.parted, s.them.Replica)
	s.poke()
}

func (p *presence) part(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions[s] == nil {
		return
	}
	delete(p.sessions, s)
	for other := range p.sessions {
		if other.them.Replica == s.them.Replica {
			return
		}
	}
	p.parted[s.them.Replica] = p.r.opts.Now()
}

// add has a note wait for the session.
func (o *post) add(w who, n *transport.Note) {
	if n.Kind != transport.NoteMessage {
		o.states[w] = true
		return
	}
	o.messages = append(o.messages, *n)
	o.bytes += n.Size()
	for len(o.messages) > maxWaiting || o.bytes > maxWaitingBytes {
		o.bytes -= o.messages[0].Size()
		o.messages = o.messages[1:]
	}
}

// next returns a frame of what waits for the session, nil if nothing does.
func (p *presence) next(s *session) *transport.Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	post := p.sessions[s]
	if post == nil || len(post.states)+len(post.messages) == 0 {
		return nil
	}
	f, size, now := &transport.Presence{}, 0, p.r.opts.Now()
	fits := func(n *transport.Note) bool {
		size += n.Size()
		return len(f.Notes) < transport.MaxNotes && size < transport.MaxSmallFrame
	}
	for w := range post.states {
		k := p.known[w]
		if k == nil {
			delete(post.states, w)
			continue
		}
		n := transport.Note{Room: w.room, Replica: w.replica, Member: w.member, Seq: k.seq, Kind: transport.NoteState, Holds: min(transport.MaxPresence, k.until.Sub(now)), Data: k.state}
		if k.state == nil {
			n.Kind, n.Holds = transport.NoteLeave, 0
		}
		if n.Holds < 0 || k.seq == 0 {
			delete(post.states, w)
			continue
		}
		if !fits(&n) {
			return f
		}
		delete(post.states, w)
		f.Notes = append(f.Notes, n)
	}
	for len(post.messages) > 0 && fits(&post.messages[0]) {
		f.Notes = append(f.Notes, post.messages[0])
		post.bytes -= post.messages[0].Size()
		post.messages = post.messages[1:]
	}
	if len(f.Notes) == 0 {
		return nil
	}
	return f
}

// members returns who is in a room.
func (p *presence) members(m *Room) (all []Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, k := range p.known {
		if w.room == m.name && k.state != nil {
			all = append(all, k.as(w, m))
		}
	}
	return all
}

func (k *known) as(w who, m *Room) Member {
	return Member{Replica: w.replica, ID: w.member, Self: k.own && w.member == m.self, State: slices.Clone(k.state), Since: k.since}
}

func (p *presence) watch(m *Room) *watcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &watcher{room: m, wake: make(chan struct{}, 1), last: map[who]Member{}, gone: map[who]bool{}}
	p.watchers[w] = struct{}{}
	w.poke()
	return w
}

func (p *presence) unwatch(w *watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watchers, w)
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// add notes what the watcher has to be shown beside states, which take finds itself.
func (w *watcher) add(of who, k *known, n *transport.Note) {
	if of.room != w.room.name {
		return
	}
	if n.Kind == transport.NoteMessage {
		w.events = append(w.events, RoomEvent{Kind: RoomMessage, Member: k.as(of, w.room), Message: slices.Clone(n.Data)})
		w.events = w.events[max(0, len(w.events)-maxWaiting):]
	}
	w.poke()
}

// take returns what happened since the watcher was here last: who came, changed and went,
// then messages.
func (p *presence) take(w *watcher) (events []RoomEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, k := range p.known {
		if of.room != w.room.name {
			continue
		}
		_, before := w.last[of]
		switch {
		case k.state != nil && (!before || string(w.last[of].State) != string(k.state)):
			kind := RoomUpdate
			if !before {
				kind = RoomJoin
			}
			w.last[of] = k.as(of, w.room)
			events = append(events, RoomEvent{Kind: kind, Member: w.last[of]})
		case k.state == nil && before:
			kind := RoomLeave
			if w.gone[of] {
				kind = RoomTimeout
			}
			events = append(events, RoomEvent{Kind: kind, Member: w.last[of]})
			delete(w.last, of)
		}
	}
	clear(w.gone)
	slices.SortFunc(events, func(a, b RoomEvent) int { return a.Member.Since.Compare(b.Member.Since) })
	events = append(events, w.events...)
	w.events = nil
	return events
}

// close ends the timer.
func (p *presence) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
