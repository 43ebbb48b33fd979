package replica

import (
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// What was made and deleted here before anybody was shown it is hidden: see "What nobody
// was shown" in doc.go.

// shown reports whether a row of the log is for anybody: its change is in its record's
// history, and the record is not hidden.
func shown(row *persist.LogRow) bool { return !row.Withdrawn() && !row.Unseen }

// hidden reports whether a record is hidden.
func (b *batch) hidden(rid int64) (bool, error) {
	if b.w.unseen < 0 {
		some, err := b.tx.AnyUnseen()
		if err != nil {
			return false, err
		}
		if b.w.unseen = 0; some {
			b.w.unseen = 1
		}
	}
	if rid == 0 || b.w.unseen == 0 {
		return false, nil
	}
	return b.tx.Unseen(rid)
}

// hide hides those of the records, which were just deleted here, that nobody was shown.
func (b *batch) hide(gone []*entry) error {
	if len(gone) == 0 {
		return nil
	}
	upTo, going, err := b.tx.Shown(StateConnected)
	if going || err != nil {
		return err
	}
	looked := map[int64]bool{}
	for _, e := range gone {
		if looked[e.row.RID] {
			continue
		}
		rids, err := b.company(e.row.RID, upTo, looked)
		if err != nil {
			return err
		}
		for _, rid := range rids {
			if err := b.hideRecord(rid); err != nil {
				return err
			}
		}
	}
	return nil
}

// company returns the record and all that are bound to it by change sets, if all of them
// are deleted and no change of them was shown to anybody; else none.
func (b *batch) company(rid int64, shownTo crdt.LSN, looked map[int64]bool) ([]int64, error) {
	all, in := []int64{rid}, map[int64]bool{rid: true}
	for i := 0; i < len(all); i++ {
		if looked[all[i]] { // with others, and found wanting
			return nil, nil
		}
		looked[all[i]] = true
		beside, seen, err := b.tx.Beside(all[i], shownTo)
		if seen || err != nil {
			return nil, err
		}
		if deleted, err := b.deleted(all[i]); !deleted || err != nil {
			return nil, err
		}
		for _, other := range beside {
			if !in[other] {
				in[other] = true
				all = append(all, other)
			}
		}
	}
	return all, nil
}

func (b *batch) deleted(rid int64) (bool, error) {
	it, ok, err := b.tx.ItemAt(rid)
	if !ok || err != nil {
		return false, err
	}
	rec, err := b.tx.Record(it.Key)
	return rec != nil && rec.Deleted, err
}

func (b *batch) hideRecord(rid int64) error {
	it, _, err := b.tx.ItemAt(rid)
	if err != nil {
		return err
	}
	if err := b.tx.Hide(rid); err != nil {
		return err
	}
	b.w.unseen = 1
	if e := b.touched[it.Key]; e != nil {
		e.unseen = true
	} else if e := b.w.cache.byKey[it.Key]; e != nil {
		b.w.cache.remove(e)
	}
	b.tx.OnCommit(b.w.r.tail.forget) // it has rows that are not marked
	return nil
}

// show takes back hide, because the record is written again or others know of it. Its
// changes are put into the log anew, where no peer has read yet.
func (b *batch) show(e *entry) error {
	if !e.unseen {
		return nil
	}
	hashes := map[crdt.Hash]bool{}
	var changes []*crdt.Change
	for c, err := range b.tx.ParsedChanges(e.row.RID) {
		if err != nil {
			return fmt.Errorf("a stored change of %s is damaged, run doctor: %w", e.row.Key, err)
		}
		hashes[c.Hash()] = true
		changes = append(changes, c)
	}
	if err := b.tx.Withdraw(e.row.RID, hashes); err != nil {
		return err
	}
	if err := b.tx.Unhide(e.row.RID); err != nil {
		return err
	}
	e.unseen = false
	b.tx.OnCommit(b.w.r.tail.forget)
	for _, c := range changes {
		b.stage(row{entry: e, change: c, set: crdt.SetIDOf([]crdt.Member{{Key: e.row.Key, Change: c}})})
	}
	return nil
}

// doubt has the session compare if one of the rows was hidden while it went on. That does
// not happen, unless the end of another session with the peer, in another process, has
// covered up that this one goes on: then the peer may have been sent some of the record.
func (o *sender) doubt(rows []persist.LogRow) {
	hidden := func(row persist.LogRow) bool { return row.Unseen && row.LSN > o.head }
	if o.ranges() && slices.ContainsFunc(rows, hidden) {
		o.mu.Lock()
		o.compareSoon()
		o.mu.Unlock()
	}
}
