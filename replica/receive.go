package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// delivery is a changes frame, parsed: what apply commits at once.
type delivery struct {
	from, through crdt.Cursor
	end           bool
	unequal       bool // with end: see transport.Changes
	prompt        bool // the peer wants to hear at once
	sets          []inbound
	changes       int
	bytes         int
	ahead         uint64          // what went ahead, see transport.Changes
	reach         crdt.LSN        // of what goes ahead
	loose         uint64          // not 0: no stretch of the peer's log, and which Need it answers
	last          bool            // of its frame
	ask           transport.Frame // instead of all that: for the reconciler, once what came before is applied
	applied       chan struct{}   // unless nil, closed when it is: for one that takes much memory
}

// inbound is a change set from outside. It is refused as a whole if any member
// is not a valid change of a valid record.
type inbound struct {
	wire    transport.Set
	members []crdt.Member
	ops     int
	refusal *refusal
}

// refusal says why a set was not taken.
type refusal struct {
	member int // which of the set is at fault
	code   string
	detail string
	wait   wait // what it lacks, when it may fit later
}

// receive reads frames until the connection ends, and parses what they carry.
func (s *session) receive(ctx context.Context) error {
	var parts, looseParts assembly
	for {
		f, err := s.conn.Recv(ctx)
		if err != nil {
			return err
		}
		if s.turnsAway(f) {
			continue
		}
		switch f := f.(type) {
		case *transport.Changes:
			if f, err = s.unpack(ctx, f); err != nil {
				return err
			}
			if f == nil {
				continue
			}
			to := &parts
			if f.Loose != 0 {
				to = &looseParts
			}
			whole, err := to.add(f)
			if err != nil {
				return err
			}
			if whole == nil {
				continue
			}
			if err := s.parse(ctx, whole); err != nil {
				return err
			}
		case *transport.Digest, *transport.Need:
			if err := s.deliver(ctx, &delivery{ask: f}); err != nil {
				return err
			}
		case *transport.Ack:
			if err := s.onAck(ctx, f); err != nil {
				return err
			}
		case *transport.Presence:
			s.r.presence.receive(s, f)
		case *transport.Ping:
			s.mu.Lock()
			s.pong = &transport.Pong{Nonce: f.Nonce}
			s.mu.Unlock()
			s.poke()
		case *transport.Error:
			return f
		}
	}
}

// assembly puts the parts of a large set together. A part out of order drops
// what there is; the gap is then found by position and sent again.
type assembly struct {
	whole *transport.Changes
	next  uint64
	size  int
}

func (a *assembly) add(f *transport.Changes) (*transport.Changes, error) {
	if f.Part == 0 && !f.More {
		a.whole = nil
		return f, nil
	}
	if len(f.Sets) != 1 {
		return nil, protocolErrorf(transport.CodeProtocol, "a part of a set holds %d sets", len(f.Sets))
	}
	if f.Part == 0 {
		a.whole, a.next, a.size = &transport.Changes{From: f.From, Loose: f.Loose, Ahead: f.Ahead, Reach: f.Reach, Sets: []transport.Set{{}}}, 0, 0
	}
	if a.whole == nil || f.Part != a.next || f.From != a.whole.From || f.Loose != a.whole.Loose || f.Loose != 0 && f.Ahead != a.whole.Ahead {
		a.whole = nil
		return nil, nil
	}
	set := &a.whole.Sets[0]
	set.Members = append(set.Members, f.Sets[0].Members...)
	a.whole.Prompt = a.whole.Prompt || f.Prompt
	a.size += f.Sets[0].Size()
	if a.size > MaxSetBytes || len(set.Members) > MaxSetChanges {
		return nil, protocolErrorf(transport.CodeTooLarge, "a change set exceeds %d bytes or %d changes", MaxSetBytes, MaxSetChanges)
	}
	a.next++
	if f.More {
		return nil, nil
	}
	whole := a.whole
	whole.Through, whole.End, whole.Ahead, a.whole = f.Through, f.End, f.Ahead, nil
	return whole, nil
}

// deliveryOps bounds the operations of a delivery, a single set's apart: a few
// bytes of a frame can stand for very many.
const deliveryOps = 1 << 16

// parse hands the frame to apply, in several deliveries if it holds many
// operations. All but the last leave the position where it is; to apply a set
// again after a crash in between is a no-op. A set beyond deliveryOps is waited
// for, so that a session holds one of them, not all that fit into its queue.
func (s *session) parse(ctx context.Context, f *transport.Changes) error {
	begin := delivery{from: f.From, through: f.From, loose: f.Loose, ahead: f.Ahead, reach: f.Reach}
	next := func() *delivery { d := begin; return &d }
	d, ops := next(), 0
	for _, set := range f.Sets {
		in := parseSet(set)
		d.sets = append(d.sets, in)
		d.changes += len(set.Members)
		d.bytes += set.Size()
		if in.ops > deliveryOps {
			d.applied = make(chan struct{})
		}
		if ops += in.ops; ops > deliveryOps {
			if err := s.deliver(ctx, d); err != nil {
				return err
			}
			d, ops = next(), 0
		}
	}
	d.through, d.end, d.unequal, d.prompt, d.last = f.Through, f.End, f.Unequal, f.Prompt, true
	s.spend(measure(f))
	return s.deliver(ctx, d)
}

func (s *session) deliver(ctx context.Context, d *delivery) error {
	s.underWay.Add(1)
	select {
	case s.in <- d:
		s.applies.wake()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if d.applied == nil {
		return nil
	}
	select {
	case <-d.applied:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func parseSet(wire transport.Set) inbound {
	in := inbound{wire: wire, members: make([]crdt.Member, len(wire.Members))}
	if size := wire.Size(); len(in.members) > MaxSetChanges || size > MaxSetBytes {
		return in.tooLarge("%d changes of %d bytes", len(in.members), size)
	}
	for i, m := range wire.Members {
		key := crdt.Key{Collection: m.Collection, ID: m.ID}
		if err := key.Valid(); err != nil {
			in.refusal = &refusal{member: i, code: codeKey, detail: err.Error()}
			return in
		}
		c, err := crdt.ParseChange(m.Data)
		if err != nil {
			in.refusal = refusalOf(i, err)
			return in
		}
		in.members[i] = crdt.Member{Key: key, Change: c}
		if in.ops += len(c.Ops()); in.ops > MaxSetOps {
			return in.tooLarge("more than %d operations", MaxSetOps)
		}
	}
	return in
}

func (in inbound) tooLarge(format string, args ...any) inbound {
	clear(in.members) // what was parsed need not be kept
	in.refusal = &refusal{code: transport.CodeTooLarge, detail: "the set has " + fmt.Sprintf(format, args...)}
	return in
}

// apply commits what receive parsed, and acknowledges it.
func (s *session) apply(ctx context.Context) error {
	for {
		var batch []*delivery
		for more := true; more; {
			select {
			case d := <-s.in:
				batch = append(batch, d)
			default:
				more = false
			}
		}
		if len(batch) == 0 {
			return nil
		}
		if err := s.applyAll(ctx, batch); err != nil {
			return err
		}
	}
}

func (s *session) applyAll(ctx context.Context, all []*delivery) error {
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	resend, end, unequal := false, false, false
	var fit []*delivery
	for _, d := range all {
		switch {
		case d.ask != nil || s.compares():
		case d.loose != 0:
			fit = append(fit, d)
			if d.ahead != 0 && d.last {
				s.came.note(d.ahead)
			}
			s.came.reach = max(s.came.reach, d.reach)
		case d.from == at && d.through.Epoch == at.Epoch && d.through.LSN >= at.LSN && (d.through == at || s.came.all(d.ahead)):
			fit = append(fit, d)
			at = d.through
			if d.end {
				end, unequal = true, d.unequal
			}
		case d.through.LSN > at.LSN || d.through.Epoch != at.Epoch:
			resend = true // a frame before this one was lost, or one that went ahead of it
		}
	}
	var exceptions []transport.Exception
	if len(fit) > 0 {
		var err error
		if exceptions, err = s.r.integrate(ctx, s, fit, at); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if !s.compares() && positioned(all) || len(exceptions) > 0 {
		s.ackFor(all, &transport.Ack{Through: at, Resend: resend, Exceptions: exceptions}, end)
	}
	s.at = at
	if end {
		s.peerDone, s.unequal = true, unequal
		if !unequal && s.ranges() {
			s.vouched()
		}
	}
	for _, d := range fit {
		s.counts.ChangesReceived += d.changes
		s.r.counters.changesReceived.Add(int64(d.changes))
	}
	s.r.counters.refuse(exceptions)
	s.counts.Quarantined += len(exceptions) - s.lack(exceptions) - countGone(exceptions)
	s.level()
	held := s.holds()
	s.mu.Unlock()
	if s.underWay.Add(-int64(len(all))); !held {
		s.poke()
	}
	for _, d := range all {
		if d.applied != nil {
			close(d.applied)
		}
	}
	s.pass(all)
	return nil
}

// onAck notes how far the peer has read this log.
func (s *session) onAck(ctx context.Context, ack *transport.Ack) error {
	if err := s.note(ctx, ack.Exceptions); err != nil {
		return err
	}
	s.r.counters.decline(ack.Exceptions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Refused += len(ack.Exceptions) - s.owe(ack.Exceptions) - countGone(ack.Exceptions)
	for i := range ack.Exceptions {
		if x := &ack.Exceptions[i]; x.Code != codeForked && !gone(x) { // this side has to find the fork too
			s.turn(x, "the peer")
		}
	}
	s.refusals = append(s.refusals, ack.Exceptions...)
	if n := len(s.refusals); n > maxRefusals {
		s.refusals = s.refusals[n-maxRefusals:]
	}
	s.rewind = s.rewind || ack.Resend
	if ack.Resend && ack.Through.LSN == 0 {
		s.acked = crdt.Cursor{Epoch: s.r.epoch} // under another filter than before
	}
	if s.heard = time.Now(); !s.idle || s.rewind || len(ack.Exceptions) > 0 {
		s.poke()
	}
	through := ack.Through
	if ack.Bare {
		var err error
		if through, err = s.named(ctx, through.LSN); err != nil {
			return err
		}
	}
	defer s.r.stir()
	if err := s.land(ctx, through); err != nil {
		return err
	}
	s.landed(through.LSN)
	s.level()
	return nil
}

// land takes what was acknowledged out of the flight. The caller holds mu.
func (s *session) land(ctx context.Context, through crdt.Cursor) error {
	for i := len(s.flight) - 1; i >= 0; i-- {
		if s.flight[i].through == through {
			s.acked, s.flight = through, slices.Clone(s.flight[i+1:])
			return nil
		}
	}
	if through.LSN <= s.acked.LSN || through == s.claimed { // an old ack that comes late, or again
		return nil
	}
	// Sent before a rewind: it is good if it is a cursor of this log.
	at, err := s.begin(ctx, through)
	if err != nil {
		return err
	}
	if at != through {
		return protocolErrorf(transport.CodeProtocol, "acknowledges %v, which is not in this log", through)
	}
	s.acked = through
	return nil
}
