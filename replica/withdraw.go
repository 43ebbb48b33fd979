package replica

import (
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// withdrawal is what is taken out of records' histories together: whole change sets, and
// all that builds on them.
type withdrawal struct {
	b       *batch
	records map[crdt.Key]*shortened
	order   []crdt.Key // of records
	sets    [][]persist.LogRow
	changes int
}

// shortened is a record that loses changes.
type shortened struct {
	e    *entry
	at   map[crdt.Hash]crdt.LSN
	gone map[crdt.Hash]bool
	from map[crdt.ActorID]uint64 // the lowest sequence numbers of what is gone
}

func newWithdrawal(b *batch) *withdrawal {
	return &withdrawal{b: b, records: map[crdt.Key]*shortened{}}
}

// record returns what is known of a record.
func (w *withdrawal) record(k crdt.Key) (*shortened, error) {
	if rec := w.records[k]; rec != nil {
		return rec, nil
	}
	e, err := w.b.entry(k)
	if err == nil && e.mark != nil {
		err = ErrForgotten // not all of it has come back
	}
	if err != nil {
		return nil, err
	}
	rec := &shortened{e: e, at: map[crdt.Hash]crdt.LSN{}, gone: map[crdt.Hash]bool{}, from: map[crdt.ActorID]uint64{}}
	for row, err := range w.b.tx.ChangesBack(e.row.RID) {
		if err != nil {
			return nil, err
		}
		rec.at[row.Hash] = row.LSN
	}
	w.records[k], w.order = rec, append(w.order, k)
	return rec, nil
}

// has reports whether the change goes.
func (w *withdrawal) has(k crdt.Key, h crdt.Hash) bool {
	rec := w.records[k]
	return rec != nil && rec.gone[h]
}

// wrote reports whether something of it is the actor's.
func (w *withdrawal) wrote(a crdt.ActorID) bool {
	return slices.ContainsFunc(w.order, func(k crdt.Key) bool { return w.records[k].from[a] > 0 })
}

// add adds the set that a change of the record came with.
func (w *withdrawal) add(rec *shortened, h crdt.Hash) error {
	if rec.gone[h] {
		return nil
	}
	rows, err := w.b.tx.SetAt(rec.at[h])
	if err != nil {
		return err
	}
	w.sets = append(w.sets, rows)
	for i := range rows {
		if rows[i].Withdrawn() {
			continue
		}
		rec, err := w.record(rows[i].Key)
		if err != nil {
			return err
		}
		rec.gone[rows[i].Hash] = true
		w.changes++
	}
	return nil
}

// spread adds what builds on what goes, until nothing is left that does.
func (w *withdrawal) spread() error {
	for before := -1; before != w.changes; {
		before = w.changes
		for i := 0; i < len(w.order); i++ {
			rec := w.records[w.order[i]]
			for c := range rec.e.hist.Changes() {
				if !rec.loses(c) {
					continue
				}
				if err := w.add(rec, c.Hash()); err != nil {
					return err
				}
				if from := rec.from[c.Actor()]; from == 0 || c.Seq() < from {
					rec.from[c.Actor()] = c.Seq()
				}
			}
		}
	}
	return nil
}

// loses reports whether a change goes: it is known to, or builds on what does, be it as
// the next one of its actor.
func (rec *shortened) loses(c *crdt.Change) bool {
	from := rec.from[c.Actor()]
	return rec.gone[c.Hash()] || from > 0 && c.Seq() > from || buildsOn(c, rec.gone)
}

// lifts reports whether a marker goes, and with it a purge.
func (w *withdrawal) lifts() bool {
	return slices.ContainsFunc(w.order, func(k crdt.Key) bool {
		_, ok := markedBy(k)
		return ok && len(w.records[k].gone) > 0
	})
}

// withdraw does it. The actors of what goes write no more: their sequence numbers would
// be given out again.
func (w *withdrawal) withdraw() error {
	b := w.b
	for _, k := range w.order {
		rec := w.records[k]
		if len(rec.gone) == 0 {
			continue
		}
		for a := range rec.from {
			if err := b.tx.Retire(a); err != nil {
				return err
			}
		}
		if err := b.withdraw(rec.e, rec.gone); err != nil {
			return err
		}
		if err := b.lift(&rec.e.row); err != nil {
			return err
		}
	}
	for f, err := range b.tx.Refusals(persist.AllPeers) {
		if err == nil && w.has(f.Key, f.Hash) {
			err = b.tx.DropRefusal(f.ID)
		}
		if err != nil {
			return err
		}
	}
	b.tx.OnCommit(func() { b.w.r.unrefuse(w) })
	return b.tx.TrimViews()
}

// withdraw takes changes out of a record's history, and puts its row without them.
func (b *batch) withdraw(e *entry, gone map[crdt.Hash]bool) error {
	b.tx.OnCommit(b.w.r.tail.forget)
	if err := b.tx.Withdraw(e.row.RID, gone); err != nil {
		return err
	}
	if err := b.load(e); err != nil {
		return err
	}
	if err := b.putShown(e); err != nil {
		return err
	}
	return b.tx.AddView(e.row.RID)
}

// checkActor retires this opening's actor if another process has.
func (r *Replica) checkActor(tx *persist.Tx) error {
	a := r.actor.Load()
	if a == nil {
		return nil
	}
	gone, err := tx.Retired(*a)
	if gone {
		r.retire(*a)
	}
	return err
}

// retire has what is written from now on begin a new incarnation, if the actor is this
// opening's.
func (r *Replica) retire(a crdt.ActorID) {
	if now := r.actor.Load(); now != nil && *now == a {
		r.actor.CompareAndSwap(now, nil)
	}
}
