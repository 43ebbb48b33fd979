package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

var (
	// ErrNotForked: the record has no fork that is known here.
	ErrNotForked = errors.New("the record is not forked")
	// ErrForkedElsewhere: the branch that gives way is not the one held here.
	ErrForkedElsewhere = errors.New("the other side's branch gives way: repair the fork there, this replica follows")
)

// Fork says that two changes of a record have one actor and sequence number.
type Fork struct {
	Key       crdt.Key
	Actor     crdt.ActorID
	Seq       uint64
	Have, Got crdt.Hash      // what was held when the other came
	Peer      crdt.ReplicaID // who sent that
	Since     time.Time
	Here      bool // RepairFork repairs it; else it is to be repaired at a replica that holds Got
}

// Forks lists the forks that are not repaired yet, by record.
func (r *Replica) Forks(ctx context.Context) (all []Fork, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		for f, err := range rd.Forks() {
			if err != nil {
				return err
			}
			if f.Settled {
				continue
			}
			p, err := rd.PeerByID(f.Peer)
			if err != nil {
				return err
			}
			open := Fork{Key: f.Key, Actor: f.Actor, Seq: f.Seq, Have: f.Have, Got: f.Got, Since: time.UnixMilli(f.Time), Here: lesser(f) == f.Got}
			if p != nil {
				open.Peer = p.Replica
			}
			all = append(all, open)
		}
		return nil
	})
	return all, translate(err)
}

// lesser returns the change of a fork that stays, and greater the one that gives
// way.
func lesser(f *persist.Fork) crdt.Hash {
	if f.Have.Compare(f.Got) < 0 {
		return f.Have
	}
	return f.Got
}

func greater(f *persist.Fork) crdt.Hash {
	if lesser(f) == f.Have {
		return f.Got
	}
	return f.Have
}

// RepairFork ends the forks of a record where the branch held here gives way: its
// changes are withdrawn, written anew under other actors, and what the peers sent
// of the other branch comes in. It returns how many changes were written anew.
// ErrNotForked, and ErrForkedElsewhere if there is nothing to be done here.
func (r *Replica) RepairFork(ctx context.Context, k crdt.Key) (rewritten int, err error) {
	err = r.commit(ctx, 0, func(b *batch) (err error) {
		rewritten, err = b.repair(k)
		return err
	})
	if err != nil {
		return 0, recordError("repair", k, err)
	}
	return rewritten, nil
}

func (b *batch) repair(k crdt.Key) (rewritten int, err error) {
	e, err := b.entry(k)
	if err != nil {
		return 0, err
	}
	roots, err := b.branch(k, e)
	if err != nil {
		return 0, err
	}
	gone := map[crdt.Hash]bool{}
	var branch []*crdt.Change
	for c := range e.hist.Changes() {
		if roots[c.Hash()] || buildsOn(c, gone) {
			gone[c.Hash()] = true
			branch = append(branch, c)
		}
	}
	anew, err := crdt.Transplant(branch)
	if err != nil {
		return 0, err
	}
	if err := b.withdraw(e, gone); err != nil {
		return 0, err
	}
	if err := b.plant(e, anew); err != nil {
		return 0, err
	}
	var exceptions []transport.Exception
	if err := b.unpark([]crdt.Member{{Key: k}}, &exceptions); err != nil {
		return 0, err
	}
	return len(anew), b.settle(k, &exceptions) // of the forks that unpark met, too
}

// branch returns the changes that give way and are held here.
func (b *batch) branch(k crdt.Key, e *entry) (map[crdt.Hash]bool, error) {
	roots, open := map[crdt.Hash]bool{}, false
	for f, err := range b.tx.ForksOf(k) {
		if err != nil {
			return nil, err
		}
		open = open || !f.Settled
		if lost := greater(f); e.hist.Has(lost) {
			roots[lost] = true
		}
	}
	switch {
	case len(roots) > 0:
		return roots, nil
	case open:
		return nil, ErrForkedElsewhere
	}
	return nil, ErrNotForked
}

func buildsOn(c *crdt.Change, on map[crdt.Hash]bool) bool {
	for _, d := range c.Deps() {
		if on[d] {
			return true
		}
	}
	return false
}

// plant adds what was written anew, as far as others have not sent it already.
func (b *batch) plant(e *entry, anew []*crdt.Change) error {
	sets, err := splitSets(e.row.Key, anew)
	if err != nil {
		return err
	}
	for i := range sets {
		ref, _, _, err := b.try(&sets[i])
		if err == nil && ref != nil {
			err = fmt.Errorf("a change written anew, %s: %s", sets[i].hash(ref.member), ref.detail)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fork notes that a member of the set forks its record, and keeps the set. It
// reports false if there are too many of either, or the set forks itself.
func (b *batch) fork(in *inbound, ref *refusal, exceptions *[]transport.Exception) (kept bool, err error) {
	if kept, err = b.noteFork(in, ref); !kept || err != nil {
		return kept, err
	}
	if err := b.park(in, ref); err != nil {
		if errors.Is(err, persist.ErrCapped) {
			err = nil
		}
		return false, err
	}
	*exceptions = append(*exceptions, in.exception(ref, transport.Refused))
	key := in.members[ref.member].Key
	b.w.r.opts.Logger.Warn("a record is forked", logRecord, key.String(), logError, ref.detail)
	return true, b.settle(key, exceptions)
}

// noteFork writes down that a member of the set forks its record; false if there
// are too many forks, or none without the rest of the set.
func (b *batch) noteFork(in *inbound, ref *refusal) (noted bool, err error) {
	m := in.members[ref.member]
	e, err := b.entry(m.Key)
	if err != nil {
		return false, err
	}
	have, ok := rival(e.hist, m.Change)
	if !ok {
		return false, nil // it forks another change of its own set
	}
	b.w.forks = -1
	err = b.tx.PutFork(&persist.Fork{
		Key: m.Key, Actor: m.Change.Actor(), Seq: m.Change.Seq(), Have: have, Got: m.Change.Hash(),
		Peer: b.source, Time: b.w.r.opts.Now().UnixMilli(),
	})
	if errors.Is(err, persist.ErrCapped) {
		return false, nil
	}
	return err == nil, err
}

// rival returns the change of the history that has the actor and sequence number
// of another one.
func rival(h *crdt.History, c *crdt.Change) (hash crdt.Hash, ok bool) {
	if h.Seq(c.Actor()) < c.Seq() || h.Has(c.Hash()) {
		return hash, false
	}
	for held := range h.Changes() {
		if held.Seq() == c.Seq() && held.Actor() == c.Actor() {
			return held.Hash(), true
		}
	}
	return hash, false
}

// settleAll settles what it can of the records' forks, after something was added
// or parked.
func (b *batch) settleAll(members []crdt.Member, exceptions *[]transport.Exception) error {
	if b.w.forks < 0 {
		n, err := b.tx.CountForks()
		if err != nil {
			return err
		}
		b.w.forks = n
	}
	for i := 0; i < len(members) && b.w.forks != 0; i++ {
		if err := b.settle(members[i].Key, exceptions); err != nil {
			return err
		}
	}
	return nil
}

// settle looks for the forks of a record that somebody has repaired: what was
// written anew is here. A branch of ours that gives way is then withdrawn too, and
// what is parked of a peer's forgotten.
func (b *batch) settle(k crdt.Key, exceptions *[]transport.Exception) error {
	gone, err := b.withdrawn(k)
	if err != nil {
		return err
	}
	for f, err := range b.tx.ForksOf(k) {
		if err != nil {
			return err
		}
		e, err := b.entry(k)
		if err != nil {
			return err
		}
		lost := greater(f)
		if e.hist.Seq(crdt.TransplantActor(f.Actor, lost)) == 0 {
			continue
		}
		if e.hist.Has(lost) {
			b.tx.OnCommit(func() { b.w.r.repairSoon(k) })
			continue
		}
		gone[lost] = true
		if !f.Settled {
			f.Settled = true
			if err := b.tx.PutFork(f); err != nil {
				return err
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return b.prune(k, gone, exceptions)
}

// withdrawn returns what was withdrawn from the record. It may come back, from who has
// not followed yet.
func (b *batch) withdrawn(k crdt.Key) (gone map[crdt.Hash]bool, err error) {
	gone = map[crdt.Hash]bool{}
	for _, err := range b.tx.ForksOf(k) {
		if err != nil {
			return nil, err
		}
		rec, err := b.tx.Record(k)
		if err != nil || rec == nil {
			return gone, err
		}
		for h, err := range b.tx.WithdrawnOf(rec.RID) {
			if err != nil {
				return nil, err
			}
			gone[h] = true
		}
		return gone, nil
	}
	return gone, nil
}

// repairSoon repairs in the background.
func (r *Replica) repairSoon(k crdt.Key) {
	r.goRun(func() {
		_, err := r.RepairFork(r.ctx, k)
		if err != nil && r.ctx.Err() == nil && !errors.Is(err, ErrNotForked) {
			r.opts.Logger.Error("repair a fork", logRecord, k.String(), logError, err)
		}
	})
}

// prune takes the changes that are gone, and what builds on them, out of the sets
// that are parked on the record, and takes what is left of these.
func (b *batch) prune(k crdt.Key, gone map[crdt.Hash]bool, exceptions *[]transport.Exception) error {
	type parked struct {
		id, peer int64
		in       inbound
	}
	var all []parked
	for p, err := range b.tx.ParkedOn(k) {
		if err != nil {
			return err
		}
		in, err := b.unpack(p)
		if err != nil {
			return err
		}
		all = append(all, parked{p.ID, p.Peer, in})
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			for _, m := range p.in.members {
				if m.Key == k && m.Change != nil && !gone[m.Change.Hash()] && buildsOn(m.Change, gone) {
					gone[m.Change.Hash()], grown = true, true
				}
			}
		}
	}
	for _, p := range all {
		rest := transport.Set{}
		for i, m := range p.in.members {
			if m.Key != k || m.Change == nil || !gone[m.Change.Hash()] {
				rest.Members = append(rest.Members, p.in.wire.Members[i])
			}
		}
		if len(rest.Members) == len(p.in.members) {
			continue
		}
		b.w.parked = -1
		if err := b.tx.Unpark(p.id); err != nil {
			return err
		}
		if len(rest.Members) == 0 {
			continue
		}
		in, source := parseSet(rest), b.source
		b.source = p.peer
		told := exceptions
		if source != p.peer { // it is nobody else's business
			told = new([]transport.Exception)
		}
		err := b.take(&in, told)
		b.source = source
		if err != nil {
			return err
		}
	}
	return nil
}
