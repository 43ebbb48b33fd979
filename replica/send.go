package replica

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what is sent.
const (
	windowBytes  = 4 << 20   // sent and not acked
	frameBytes   = 256 << 10 // of changes in a frame; a larger set has a frame of its own
	partBytes    = 1 << 20   // of a set in one frame; a larger set spans several
	partMembers  = 4000
	maxRefusals  = 1000 // exceptions remembered
	maxFlight    = 256  // frames sent and not acked
	setsPerFrame = 2000
)

// sender is the only one that writes to the connection: acks first, then the log. It is
// a worker, and what it has to do without being poked a timer tells it.
type sender struct {
	*session
	sent   crdt.Cursor // what the peer was told, the Through of the last frame
	pos    crdt.Cursor // how far the log was read; what lies between was not for the peer
	told   bool        // that there is nothing more
	frames []*transport.Changes
	hidden map[crdt.Key]bool     // of the page read last, what is not for the peer though its name is
	packer *transport.Packer     // nil: the peer takes plain frames only
	unfit  []transport.Exception // of the page read last, what is damaged here
	ahead  ahead                 // what goes before its turn

	timer *time.Timer
	set   bool        // the timer is
	rang  atomic.Bool // the timer did
	quiet time.Time   // since when nobody has poked
}

// newSender returns the sender of a session after its handshake.
func newSender(s *session) *sender {
	o := &sender{session: s, sent: s.acked, pos: s.acked, packer: s.packer(), ahead: aheadOf(s), set: true}
	o.timer = time.AfterFunc(settleAfter, func() {
		o.rang.Store(true)
		s.sends.wake()
	})
	return o
}

// close releases what newSender took, once the worker has ended.
func (o *sender) close() {
	o.timer.Stop()
	if o.packer != nil {
		o.packer.Close()
	}
}

// send says all there is to say now.
func (o *sender) send(ctx context.Context) error {
	for {
		more, err := o.step(ctx)
		if err == nil && !more {
			more, err = o.rest(ctx)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || !more {
			return err
		}
	}
}

// rest is called with nothing to send. It settles when that has lasted for settleAfter,
// and looks for what was never acknowledged; then there may be more to send. The timer
// is not moved each time, but looks how late it is when it rings.
func (o *sender) rest(ctx context.Context) (more bool, err error) {
	if o.poked.Swap(false) {
		o.quiet = time.Now()
	}
	rang := o.rang.Swap(false)
	if o.set && !rang {
		return false, nil
	}
	wait := settleAfter - time.Since(o.quiet)
	if rang {
		more = o.overdue()
	}
	if rang && wait <= 0 {
		wait = settleAfter
		if err := o.settle(ctx); err != nil {
			return false, err
		}
		if o.set = o.awaits(); !o.set {
			return more, nil
		}
	}
	o.set = true
	o.timer.Reset(wait)
	return more, nil
}

// step sends one thing, if there is one to be sent now.
func (o *sender) step(ctx context.Context) (more bool, err error) {
	o.mu.Lock()
	ack, pong, rewind := o.dueAck(), o.pong, o.rewind
	o.pong, o.rewind, o.idle = nil, false, false
	if rewind && !bug(bugIgnoreResend) {
		o.sent, o.pos, o.flight, o.frames, o.told = o.acked, o.acked, nil, nil, false
		o.ahead.again()
		if o.packer != nil {
			o.packer.Again()
		}
		if bug(bugResendLate) {
			o.pos.LSN += 3
		}
	}
	// A set is acknowledged as a whole, so the window cannot stop within one.
	room := o.hasRoom() || len(o.frames) > 0 && o.frames[0].Part > 0
	var reply transport.Frame
	if ack == nil && pong == nil && (len(o.frames) == 0 || o.frames[0].Part == 0) {
		reply = o.reply()
	}
	o.mu.Unlock()
	if ack == nil && pong == nil && reply == nil {
		if notes := o.r.presence.next(o.session); notes != nil {
			return true, o.conn.Send(ctx, notes)
		}
	}
	switch {
	case ack != nil:
		return true, o.conn.Send(ctx, ack)
	case pong != nil:
		return true, o.conn.Send(ctx, pong)
	case reply != nil:
		if f, ok := reply.(*transport.Changes); ok {
			o.spend(measure(f))
			if o.packer != nil {
				reply = o.packer.Pack(f)
			}
		}
		return true, o.conn.Send(ctx, reply)
	case o.r.draining.Load() || o.leaving.Load():
		return o.drain(ctx)
	case o.compares() || !room:
		return false, nil
	case len(o.frames) == 0:
		if err := o.read(ctx); err != nil {
			return false, err
		}
	}
	if len(o.frames) == 0 {
		return o.caughtUp(ctx)
	}
	f := o.frames[0]
	o.frames = o.frames[1:]
	return true, o.ship(ctx, f)
}

// awaits reports whether an acknowledgement is to come.
func (s *session) awaits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.flight) > 0
}

// hasRoom reports whether the window allows another frame. The caller holds mu.
func (s *session) hasRoom() bool {
	n := 0
	for _, f := range s.flight {
		n += f.bytes
	}
	return n < windowBytes && len(s.flight) < maxFlight
}

// caughtUp is called with nothing left to read: it says so once, and ends a
// one-shot session when both sides have everything.
func (o *sender) caughtUp(ctx context.Context) (more bool, err error) {
	if !o.told {
		o.mu.Lock()
		wait, unequal := o.waits(len(o.flight) == 0 && o.heardOut()), o.unreconciled() != nil || o.refused.damaged()
		o.mu.Unlock()
		if wait {
			return false, nil
		}
		o.told = true
		return true, o.ship(ctx, &transport.Changes{From: o.sent, Through: o.pos, End: true, Unequal: unequal})
	}
	o.mu.Lock()
	if prompt := o.wanted > 0 && o.wanted <= o.pos.LSN && len(o.flight) > 0; prompt {
		o.mu.Unlock()
		return true, o.ship(ctx, &transport.Changes{From: o.sent, Through: o.pos})
	}
	defer o.mu.Unlock()
	o.level()
	if o.ends() && o.peerDone && len(o.flight) == 0 && o.ack == nil && !o.due {
		return false, errDone
	}
	o.idle = !o.ends()
	return false, nil
}

// ends reports whether the session ends when both sides have everything.
func (o *sender) ends() bool { return o.once || oneShot(o.conn) }

// overdue has all sent again for which no acknowledgement has come for long.
func (s *session) overdue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := len(s.flight) > 0 && time.Since(s.heard) >= resendAfter
	s.rewind = s.rewind || late
	return late
}

// ship sends a frame and notes it as in flight.
func (o *sender) ship(ctx context.Context, f *transport.Changes) error {
	changes, bytes := measure(f)
	o.spend(changes, bytes)
	o.mu.Lock()
	o.counts.ChangesSent += changes
	if f.Loose == 0 {
		o.fly(f, bytes)
	}
	o.mu.Unlock()
	o.r.stir()
	o.r.counters.changesSent.Add(int64(changes))
	if !f.More && f.Loose == 0 {
		o.sent = f.Through
	}
	if o.packer != nil {
		f = o.packer.Pack(f)
	}
	return o.conn.Send(ctx, f)
}

// fly notes a frame of the log that is to be acknowledged. The caller holds mu.
func (o *sender) fly(f *transport.Changes, bytes int) {
	o.ended = o.ended || f.End
	if len(o.flight) == 0 {
		o.heard = time.Now()
	}
	o.flight = append(o.flight, flight{through: f.Through, bytes: 64 + bytes})
	f.Prompt, f.Ahead = o.wanted > 0, o.ahead.name()
	if f.Through.LSN >= o.wanted {
		o.wanted = 0
	}
}

// settle tells the peer of a stretch of log that held nothing for it, or that large
// tables are dropped, and writes down how far it has read, all only when nothing else
// goes on.
func (o *sender) settle(ctx context.Context) error {
	if o.compares() {
		return nil
	}
	rested := o.packer != nil && o.packer.Rest()
	if (rested || o.pos != o.sent) && len(o.frames) == 0 {
		return o.ship(ctx, &transport.Changes{From: o.sent, Through: o.pos})
	}
	o.mu.Lock()
	changed := o.peer.Acked != o.acked || len(o.retried) > 0
	o.mu.Unlock()
	if !changed {
		return nil
	}
	return o.save(ctx, false)
}

// read takes the next page of the log and makes frames of what is for the peer.
func (o *sender) read(ctx context.Context) error {
	for len(o.frames) == 0 && !o.out.none {
		rows, err := o.r.tail.after(ctx, o.pos.LSN, o.told && !o.ends())
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := o.overtake(ctx, rows[len(rows)-1].LSN); err != nil {
			return err
		}
		if err := o.look(ctx, rows); err != nil {
			return err
		}
		o.pack(rows)
		if err := o.unsent(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unsent notes what was not sent since it is damaged, as if the peer had refused it: it
// does not have it, and is not to be offered it before it is repaired.
func (o *sender) unsent(ctx context.Context) error {
	all := o.unfit
	if o.unfit = nil; len(all) == 0 {
		return nil
	}
	o.mu.Lock()
	o.counts.Refused += len(all)
	o.refusals = append(o.refusals, all...)
	o.mu.Unlock()
	return o.note(ctx, all)
}

// pack makes frames of whole sets, passing over what the peer holds.
func (o *sender) pack(rows []persist.LogRow) {
	from := o.sent
	var f *transport.Changes // nil until there is a set for it
	size := 0
	emit := func() {
		if f != nil {
			f.Through, from = o.pos, o.pos
			o.frames = append(o.frames, split(f)...)
		}
		f, size = nil, 0
	}
	for len(rows) > 0 {
		n := setRows(rows)
		set, bytes := o.pick(rows[:n])
		if f != nil && (size+bytes > o.plan.limit.frameBytes() || len(f.Sets) >= o.plan.limit.frameSets()) {
			emit()
		}
		if len(set.Members) > 0 {
			if f == nil {
				f = &transport.Changes{From: from}
			}
			f.Sets = append(f.Sets, set)
			size += bytes
		}
		last := rows[n-1]
		o.pos = crdt.Cursor{Epoch: o.r.epoch, LSN: last.LSN, Chain: last.Chain}
		rows = rows[n:]
	}
	emit()
}

// pick returns the set of these rows, empty if it went ahead, or the peer holds it,
// refused it, or may not have it, or if a change of it is damaged here: what is left of
// a set is none.
func (o *sender) pick(rows []persist.LogRow) (set transport.Set, bytes int) {
	if o.ahead.went(rows[0].LSN) {
		return set, 0
	}
	if may, _ := o.offers(nil, rows, false); !may || o.held(&rows[0]) { // without a reader it cannot fail
		return set, 0
	}
	if x := damagedOf(rows, o.sends); x != nil {
		o.damaged(x)
		o.unfit = append(o.unfit, *x)
		return set, 0
	}
	set = setOf(rows, o.sends)
	if bug(bugDropChange) && rows[0].Hash[0] < 16 && len(set.Members) > 0 {
		set.Members = set.Members[1:]
	}
	return set, set.Size()
}

// setRows returns how many of the rows are of the first one's set.
func setRows(rows []persist.LogRow) int {
	n := 1
	for n < len(rows) && rows[n].Set == rows[0].Set {
		n++
	}
	return n
}

// setOf returns the set of those of the rows that are kept.
func setOf(rows []persist.LogRow, keep func(*persist.LogRow) bool) transport.Set {
	set := transport.Set{Members: make([]transport.Member, 0, len(rows))}
	for i := range rows {
		if keep(&rows[i]) {
			set.Members = append(set.Members, transport.Member{Collection: rows[i].Key.Collection, ID: rows[i].Key.ID, Data: rows[i].Data})
		}
	}
	return set
}

// damagedOf returns the first change of those of the rows that are kept that is damaged
// in this file, nil if none is.
func damagedOf(rows []persist.LogRow, keep func(*persist.LogRow) bool) *transport.Exception {
	for i := range rows {
		if l := &rows[i]; l.Damaged() && keep(l) {
			return &transport.Exception{Collection: l.Key.Collection, ID: l.Key.ID, Hash: l.Hash, State: transport.Refused, Code: codeDamaged,
				Detail: fmt.Sprintf("it is damaged in this file, at position %d of the log, and was not sent: run doctor --repair", l.LSN)}
		}
	}
	return nil
}

// damaged says why the record stays different.
func (s *session) damaged(x *transport.Exception) {
	k := crdt.Key{Collection: x.Collection, ID: x.ID}
	s.r.opts.Logger.Error("a change is not sent", logRecord, k.String(), logError, x.Detail)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.turned) < maxTurned {
		s.turned[k] = "a change of it is damaged here: run doctor --repair"
	}
}

// held reports whether the peer is known to hold the row's set: it came in this
// session, or in an earlier one: if it was lost since, reconciliation finds that.
func (o *sender) held(row *persist.LogRow) bool {
	if row.Source != o.peerID {
		return bug(bugHeldUnsent) && row.Source != 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if row.LSN <= o.head {
		return !o.unsure
	}
	for len(o.mine) > 0 && o.mine[0].to <= o.acked.LSN {
		o.mine = o.mine[1:]
	}
	for _, m := range o.mine {
		if m.from <= row.LSN && row.LSN <= m.to {
			return true
		}
	}
	return false
}

// split cuts a frame whose only set is too large for one into parts.
func split(f *transport.Changes) []*transport.Changes {
	if len(f.Sets) != 1 || len(f.Sets[0].Members) <= partMembers && f.Sets[0].Size() <= partBytes {
		return []*transport.Changes{f}
	}
	var parts []*transport.Changes
	members := f.Sets[0].Members
	for len(members) > 0 {
		n, bytes := 0, 0
		for n < len(members) && n < partMembers && (n == 0 || bytes+len(members[n].Data) <= partBytes) {
			bytes += len(members[n].Data)
			n++
		}
		parts = append(parts, &transport.Changes{
			From: f.From, Through: f.Through, Loose: f.Loose, Ahead: f.Ahead, Reach: f.Reach, Part: uint64(len(parts)), More: true,
			Sets: []transport.Set{{Members: members[:n]}},
		})
		members = members[n:]
	}
	parts[len(parts)-1].More = false
	return parts
}
