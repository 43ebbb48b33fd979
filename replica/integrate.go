package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Codes of refusals, beside those of crdt.InvalidError.
const (
	codeKey    = "key"    // not a valid record key
	codeForged = "forged" // claims this replica's own, current actor
	codeForked = "forked" // another change has this actor and sequence number
	codeParked = "parked" // waits for a dependency
	codeFull   = "full"   // too much waits already

	codeDamaged   = "damaged"   // what the file stores of it is not the change: it was not sent
	codeForgotten = "forgotten" // the record was forgotten: not kept, and no offence
	codePurged    = "purged"    // the record was purged: not kept, and there for all that counts
)

// integrate commits what a peer sent: the sets that fit, a note of those that
// do not, and how far its log was read, all in one transaction.
func (r *Replica) integrate(ctx context.Context, s *session, all []*delivery, through crdt.Cursor) ([]transport.Exception, error) {
	var exceptions []transport.Exception
	if len(all) == 1 && len(all[0].sets) == 0 && through == s.row().Read {
		return nil, nil
	}
	err := r.commit(ctx, s.peerID, func(b *batch) error {
		exceptions = nil
		for _, d := range all {
			before := len(exceptions)
			for i := range d.sets {
				if bug(bugCursorAlone) && through.LSN%16 == 0 {
					continue
				}
				ref, err := s.forbidden(b, &d.sets[i])
				switch {
				case err != nil:
					return err
				case ref != nil:
					exceptions = append(exceptions, s.deny(&d.sets[i], ref))
				default:
					if err := b.take(&d.sets[i], &exceptions); err != nil {
						return err
					}
				}
			}
			if d.loose != 0 && d.ahead == 0 {
				exceptions = s.looseExceptions(exceptions, before)
			}
		}
		s.own(b)
		return b.advance(s, through, beside(all))
	})
	return exceptions, err
}

// own remembers which rows of the log come from this session, so that they are
// not sent back. It does so before they are committed: afterwards the sender could
// be faster. Until then nobody sees these positions.
func (s *session) own(b *batch) {
	if len(b.rows) == 0 {
		return
	}
	from := b.tx.Head().LSN + 1
	to := from + crdt.LSN(len(b.rows)) - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	before, gained := slices.Clone(s.mine), s.gained
	b.tx.OnRollback(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mine, s.gained = before, gained
	})
	s.gained = to
	if n := len(s.mine); n > 0 && s.mine[n-1].to+1 == from {
		s.mine[n-1].to = to
		return
	}
	s.mine = append(s.mine, span{from, to})
}

// advance writes down how far the peer's log was read. What came from the peer
// and is not covered by that cursor is in doubt from then on: the rest of a
// partial delivery's frame is not here yet; and another session may have read on
// from a cursor that this one overwrites. What came ahead is in doubt until the cursor
// has got that far.
func (b *batch) advance(s *session, through crdt.Cursor, beside bool) error {
	stored, err := b.tx.PeerByID(s.peerID)
	if err != nil {
		return err
	}
	p := s.row()
	p.Read, p.ReadFilter = through, s.readFilter()
	if s.strange {
		p.Read, p.ReadFilter = stored.Read, stored.ReadFilter
	}
	doubt := stored.Doubt && !s.came.doubt || beside || stored.Read != s.stored
	early := p.Read.LSN < s.came.reach || s.strange && s.came.reach > 0
	p.Doubt = doubt || early
	before, was := s.stored, s.came.doubt
	s.stored, s.came.doubt = p.Read, early && !doubt
	b.tx.OnRollback(func() { s.stored, s.came.doubt = before, was })
	return b.tx.PutPeer(&p)
}

// beside reports whether the last of the deliveries, or a loose one, holds sets that
// the cursor does not count, and will not when it gets as far as those that came ahead.
func beside(all []*delivery) bool {
	return all[len(all)-1].applied != nil || slices.ContainsFunc(all, func(d *delivery) bool { return d.loose != 0 && d.reach == 0 })
}

// take integrates a set, parks it, or puts it into quarantine.
func (b *batch) take(in *inbound, exceptions *[]transport.Exception) error {
	in, err := b.unpurged(in, exceptions)
	if in == nil || err != nil {
		return err
	}
	if in, err = b.kept(in, exceptions); in == nil || err != nil {
		return err
	}
	ref, waits, added, err := b.try(in)
	if err != nil {
		return err
	}
	switch {
	case ref == nil:
		if !added {
			return nil
		}
		if err := b.unpark(in.members, exceptions); err != nil {
			return err
		}
		return b.settleAll(in.members, exceptions)
	case ref.code == codeForked:
		if kept, err := b.fork(in, ref, exceptions); kept || err != nil {
			return err
		}
	case waits && bug(bugForgetParked):
		*exceptions = append(*exceptions, in.exception(ref, transport.Parked))
		return nil
	case waits:
		err := b.park(in, ref)
		if !errors.Is(err, persist.ErrCapped) {
			*exceptions = append(*exceptions, in.exception(ref, transport.Parked))
			if err == nil {
				err = b.settleAll(in.members, exceptions)
			}
			return err
		}
		ref.code, ref.detail = codeFull, "too many changes of this peer wait for dependencies: "+ref.detail
	}
	*exceptions = append(*exceptions, in.exception(ref, transport.Refused))
	return b.quarantine(in, ref)
}

// try adds the set's changes to their histories, all or none. waits says that a
// refused set may fit later.
func (b *batch) try(in *inbound) (ref *refusal, waits, added bool, err error) {
	if in.refusal != nil {
		return in.refusal, false, false, nil
	}
	var fresh []crdt.Member
	for i, m := range in.members {
		if bug(bugHalfSet) && i > 1 && i == len(in.members)-1 {
			break
		}
		e, err := b.entry(m.Key)
		if err == nil {
			err = b.show(e) // somebody else knows of it, so it is not true that nobody was shown it
		}
		if err != nil {
			return nil, false, false, err
		}
		isNew, err := b.add(e, m.Change)
		if err != nil {
			var park *crdt.ParkError
			if err := b.undo(fresh); err != nil {
				return nil, false, false, err
			}
			ref := refusalOf(i, err)
			ref.wait = waitOf(m, err)
			return ref, errors.As(err, &park), false, nil
		}
		if isNew {
			fresh = append(fresh, m)
		}
	}
	if len(fresh) == 0 {
		return nil, false, false, nil
	}
	if err := b.log(crdt.SetIDOf(in.members), fresh); err != nil {
		return nil, false, false, err
	}
	for _, m := range fresh {
		b.w.r.hlc.Observe(m.Change.Time())
	}
	return nil, false, true, nil
}

// add checks what only a replica knows, then lets the history check the rest.
func (b *batch) add(e *entry, c *crdt.Change) (bool, error) {
	if a := b.w.r.actor.Load(); a != nil && c.Actor() == *a && !e.hist.Has(c.Hash()) && !bug(bugForgedActor) {
		if wrote, err := b.wrote(e, c.Hash()); err != nil || !wrote {
			return false, errors.Join(err, errForged)
		}
	}
	return e.hist.Add(c)
}

var errForged = errors.New("the change claims to be written by this replica, which did not write it")

// undo takes changes out of memory again that were added and not logged.
func (b *batch) undo(fresh []crdt.Member) error {
	for _, m := range fresh {
		e := b.touched[m.Key]
		if err := b.load(e); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	return nil
}

// park keeps a set until what it waits for is here.
func (b *batch) park(in *inbound, ref *refusal) error {
	data, err := b.w.codec().Encode(&transport.Changes{Sets: []transport.Set{in.wire}})
	if err != nil {
		return fmt.Errorf("encode a set to be parked: %w", err)
	}
	keys := map[crdt.Key]bool{}
	p := &persist.ParkedSet{Peer: b.source, Set: crdt.SetIDOf(in.members), Data: append(ref.wait.append(nil), data...), Reason: ref.detail, Time: b.w.r.opts.Now().UnixMilli()}
	for _, m := range in.members {
		if !keys[m.Key] {
			keys[m.Key] = true
			p.Waits = append(p.Waits, m.Key)
		}
	}
	b.w.parked = -1
	return b.tx.Park(p)
}

// unpark tries again what waits for one of the records just changed.
func (b *batch) unpark(changed []crdt.Member, exceptions *[]transport.Exception) error {
	if b.w.parked < 0 {
		n, err := b.tx.ParkedCount()
		if err != nil {
			return err
		}
		b.w.parked = n
	}
	for i := 0; i < len(changed) && b.w.parked != 0; i++ {
		for p, err := range b.tx.ParkedOn(changed[i].Key) {
			if err != nil {
				return err
			}
			members, err := b.retry(p, exceptions)
			if err != nil {
				return err
			}
			changed = append(changed, members...)
		}
	}
	return nil
}

// retry integrates a parked set if it fits now, and returns its members then.
func (b *batch) retry(p *persist.ParkedSet, exceptions *[]transport.Exception) ([]crdt.Member, error) {
	if still, err := b.stillWaits(p); err != nil || still {
		return nil, err
	}
	in, err := b.unpack(p)
	if err != nil {
		return nil, err
	}
	source := b.source
	b.source = p.Peer
	ref, waits, added, err := b.try(&in)
	if err == nil && ref != nil && ref.code == codeForked {
		waits, err = b.noteFork(&in, ref)
	} else if err == nil && waits { // for something else now
		if err = b.park(&in, ref); errors.Is(err, persist.ErrCapped) {
			err = nil // it stays as it is
		}
	}
	b.source = source
	if err != nil || waits {
		return nil, err
	}
	b.w.parked = -1
	if err := b.tx.Unpark(p.ID); err != nil {
		return nil, err
	}
	if ref != nil {
		if p.Peer == b.source { // it is nobody else's business
			*exceptions = append(*exceptions, in.exception(ref, transport.Refused))
		}
		return nil, b.quarantine(&in, ref)
	}
	if !added {
		return nil, nil
	}
	return in.members, nil
}

// stillWaits reports whether what the set waits for is known to be missing yet.
func (b *batch) stillWaits(p *persist.ParkedSet) (bool, error) {
	w, _, ok := cutWait(p.Data)
	if !ok {
		return false, damaged(p, nil)
	}
	if w == (wait{}) {
		return false, nil
	}
	e, err := b.entry(w.key)
	return err == nil && !w.over(e.hist), err
}

// unpack returns the set that was parked.
func (b *batch) unpack(p *persist.ParkedSet) (in inbound, err error) {
	_, frame, ok := cutWait(p.Data)
	if !ok {
		return in, damaged(p, nil)
	}
	f, err := b.w.codec().Decode(frame)
	changes, ok := f.(*transport.Changes)
	if err != nil || !ok || len(changes.Sets) != 1 {
		return in, damaged(p, err)
	}
	return parseSet(changes.Sets[0]), nil
}

func damaged(p *persist.ParkedSet, err error) error {
	return fmt.Errorf("parked set %d is damaged, run doctor: %v", p.ID, err)
}

// quarantine keeps the change at fault, with the reason.
func (b *batch) quarantine(in *inbound, ref *refusal) error {
	m := in.wire.Members[ref.member]
	q := &persist.Quarantined{
		Peer: b.source, Key: crdt.Key{Collection: m.Collection, ID: m.ID}, Hash: in.hash(ref.member),
		Code: ref.code, Detail: ref.detail, Data: m.Data, Time: b.w.r.opts.Now().UnixMilli(),
	}
	b.w.r.opts.Logger.Warn("refuse a change", logRecord, q.Key.String(), logError, ref.code+": "+ref.detail)
	return b.tx.Quarantine(q)
}

func (in *inbound) exception(ref *refusal, state transport.State) transport.Exception {
	m := in.wire.Members[ref.member]
	return transport.Exception{
		Collection: m.Collection, ID: m.ID, Hash: in.hash(ref.member),
		State: state, Code: ref.code, Detail: ref.detail,
	}
}

// hash returns the hash of a member, zero if it could not be parsed.
func (in *inbound) hash(member int) (h crdt.Hash) {
	if c := in.members[member].Change; c != nil {
		h = c.Hash()
	}
	return h
}

// refusalOf turns an error of crdt into a refusal.
func refusalOf(member int, err error) *refusal {
	var invalid *crdt.InvalidError
	var fork *crdt.ForkError
	var park *crdt.ParkError
	code := "invalid"
	switch {
	case errors.As(err, &invalid):
		code = invalid.Code
	case errors.As(err, &fork):
		code = codeForked
	case errors.As(err, &park):
		code = codeParked
	case errors.Is(err, errForged):
		code = codeForged
	}
	return &refusal{member: member, code: code, detail: err.Error()}
}
