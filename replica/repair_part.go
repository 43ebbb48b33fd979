package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// part computes a record's row from the changes that can be read. The others are taken
// out of its history, and what builds on them is parked; it reports whether there are any.
func (b *batch) part(k crdt.Key) (apart bool, err error) {
	p, err := b.survey(k)
	if err != nil {
		return false, err
	}
	if len(p.Gone)+len(p.Lost) == 0 {
		if short, err := b.short(p); !short || err != nil {
			return false, errors.Join(err, b.rewrite(k))
		}
	}
	if err := b.tx.Part(&p.Parting); err != nil {
		return false, err
	}
	if err := b.parkAll(k, p); err != nil {
		return false, err
	}
	if err := b.tx.PutMark(&persist.Forgotten{RID: p.RID, Clock: p.clock, Wanted: true, Damaged: true, Time: b.w.r.opts.Now().UnixMilli()}); err != nil {
		return false, err
	}
	if err := b.dropDamaged(k); err != nil {
		return false, err
	}
	return true, b.rewrite(k)
}

// parting is what is to become of a record's changes.
type parting struct {
	persist.Parting
	hist    *crdt.History
	clock   crdt.Clock // of all that is known to have been there
	waiting map[string]*waiting
	order   []string // of waiting
}

// waiting is changes that can be read and wait for the same others, in the order of the
// log.
type waiting struct {
	source  int64
	changes []*crdt.Change
}

// survey reads the record's changes in the order of the log, and sorts them.
func (b *batch) survey(k crdt.Key) (*parting, error) {
	rid, err := b.tx.RIDOf(k)
	if err != nil {
		return nil, err
	}
	if rid == 0 {
		return nil, ErrNotFound
	}
	p := &parting{Parting: persist.Parting{RID: rid}, hist: crdt.NewHistory(), clock: crdt.Clock{}, waiting: map[string]*waiting{}}
	if p.clock, err = b.clockOf(rid); err != nil {
		return nil, err
	}
	if _, err := b.tx.FindLast(rid); err != nil {
		return nil, err
	}
	if err := b.tx.MendHashes(k, rid); err != nil {
		return nil, err
	}
	var rows []persist.LogRow
	for row, err := range b.tx.ChangesBack(rid) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	lacks := map[crdt.Hash]map[crdt.Hash]bool{} // of those that wait: what they lack in the end
	for _, row := range slices.Backward(rows) {
		p.sort(row, lacks)
	}
	return p, nil
}

// short reports whether the record's row tells of changes that nothing is left of: a head
// that is not there, and sequence numbers, both.
func (b *batch) short(p *parting) (bool, error) {
	if p.hist.Clock().Covers(p.clock) {
		return false, nil
	}
	heads, err := b.tx.HeadsOf(p.RID)
	return slices.ContainsFunc(heads, func(h crdt.Hash) bool { return !p.hist.Has(h) }), err
}

// sort puts one change where it belongs.
func (p *parting) sort(row persist.LogRow, lacks map[crdt.Hash]map[crdt.Hash]bool) {
	c, err := crdt.ParseChange(row.Data)
	if err != nil || c.Hash() != row.Hash {
		p.Lost = append(p.Lost, row.LSN)
		return
	}
	p.Kept = append(p.Kept, row)
	_, err = p.hist.Add(c)
	if err == nil {
		return
	}
	p.Gone = append(p.Gone, row.LSN)
	if !errors.As(err, new(*crdt.ParkError)) {
		return // it belongs to no history that this one can become; its row keeps the bytes
	}
	p.clock[c.Actor()] = max(p.clock[c.Actor()], c.Seq())
	missing := map[crdt.Hash]bool{}
	for _, d := range c.Deps() {
		if of := lacks[d]; of != nil {
			maps.Copy(missing, of)
		} else if !p.hist.Has(d) {
			missing[d] = true
		}
	}
	lacks[c.Hash()] = missing
	names := []string{fmt.Sprint(row.Source)}
	for h := range missing {
		names = append(names, h.String())
	}
	slices.Sort(names[1:])
	name := strings.Join(names, " ")
	if p.waiting[name] == nil {
		p.waiting[name] = &waiting{source: row.Source}
		p.order = append(p.order, name)
	}
	p.waiting[name].changes = append(p.waiting[name].changes, c)
}

// clockOf returns what the record's row says of its changes; nothing if that cannot be
// read.
func (b *batch) clockOf(rid int64) (crdt.Clock, error) {
	clock := crdt.Clock{}
	f, err := b.tx.Forgotten(rid)
	if err == nil && f != nil {
		clock = f.Clock
	}
	if err != nil {
		return nil, err
	}
	have, err := b.tx.ClockOf(rid)
	for a, seq := range have {
		clock[a] = max(clock[a], seq)
	}
	return clock, err
}

// parkAll parks what waits, each lot under whom its changes came from.
func (b *batch) parkAll(k crdt.Key, p *parting) error {
	source := b.source
	defer func() { b.source = source }()
	for _, name := range p.order {
		w := p.waiting[name]
		sets, err := splitSets(k, w.changes)
		if err != nil {
			return err
		}
		b.source = w.source
		for i := range sets {
			in := &sets[i]
			for _, m := range in.members {
				in.wire.Members = append(in.wire.Members, transport.Member{Collection: k.Collection, ID: k.ID, Data: m.Change.Raw()})
			}
			_, lack := p.hist.Add(in.members[0].Change)
			ref := refusalOf(0, lack)
			ref.wait, ref.detail = waitOf(in.members[0], lack), "what it builds on was damaged here: "+ref.detail
			if err := b.park(in, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropDamaged forgets what was noted of changes of the record that were not sent.
func (b *batch) dropDamaged(k crdt.Key) error {
	var ids []int64
	for f, err := range b.tx.Refusals(persist.AllPeers) {
		if err != nil {
			return err
		}
		if f.Key == k && f.Code == codeDamaged {
			ids = append(ids, f.ID)
		}
	}
	for _, id := range ids {
		if err := b.tx.DropRefusal(id); err != nil {
			return err
		}
	}
	return nil
}

// reincarnate has the next write begin a new incarnation: of the current one there may be
// changes among those that are missing, whose sequence numbers must not be given out
// again.
func (r *Replica) reincarnate() {
	r.actorMu.Lock()
	defer r.actorMu.Unlock()
	r.actor.Store(nil)
}

// Lost is a change that was damaged here and that nobody has brought back yet.
type Lost struct {
	Key  crdt.Key
	Hash crdt.Hash // zero if not even that is known
}

// Lost lists the changes that RepairFrom took out of their records and that have not come
// back, by record. They come with a session with any peer that has them.
func (r *Replica) Lost(ctx context.Context) (all []Lost, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		all = nil
		for rid, err := range rd.Wanted() {
			if err != nil {
				return err
			}
			f, err := rd.Forgotten(rid)
			if err != nil {
				return err
			}
			if f == nil || !f.Damaged {
				continue
			}
			some, err := lostOf(rd, rid)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Lost) int {
		if c := a.Key.Compare(b.Key); c != 0 {
			return c
		}
		return a.Hash.Compare(b.Hash)
	})
	return all, translate(err)
}

// lostOf returns what a record lacks: what was taken out of it, and what parked changes
// of it wait for.
func lostOf(rd *persist.Reader, rid int64) (all []Lost, err error) {
	it, ok, err := rd.ItemAt(rid)
	if err != nil || !ok {
		return nil, err
	}
	rec, err := rd.Record(it.Key)
	if err != nil {
		return nil, err
	}
	h, err := loadHistory(rd, rec)
	if err != nil {
		return nil, err
	}
	lost := map[crdt.Hash]bool{}
	for l, err := range rd.LostOf(rid) {
		if err != nil {
			return nil, err
		}
		lost[l.Hash] = true
	}
	for p, err := range rd.ParkedOn(rec.Key) {
		if err != nil {
			return nil, err
		}
		if w, _, ok := cutWait(p.Data); ok && w.dep != (crdt.Hash{}) && w.key == rec.Key {
			lost[w.dep] = true
		}
	}
	for hash := range lost {
		if !h.Has(hash) {
			all = append(all, Lost{rec.Key, hash})
		}
	}
	if len(all) == 0 {
		all = append(all, Lost{Key: rec.Key})
	}
	return all, nil
}
