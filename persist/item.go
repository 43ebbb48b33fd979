package persist

import (
	"encoding/json"
	"errors"
	"iter"
	"strings"

	"github.com/godwitdb/godwit/crdt"
)

// Item is a record's name and heads: what replicas compare.
type Item struct {
	RID    int64
	Key    crdt.Key
	Heads  []byte // as the file has them: ascending, 32 bytes each; valid until the next item
	Unseen bool   // Hide has hidden it
}

// Items yields the records of a collection whose id begins with prefix, or of all
// collections, in no order, when collection is "". Deleted ones are among them.
func (r *Reader) Items(collection, prefix string) iter.Seq2[Item, error] {
	if collection == "" {
		return scan(r, parseItem, qItems)
	}
	return func(yield func(Item, error) bool) {
		for it, err := range scan(r, parseItem, qItemsIn, collection, prefix) {
			if err == nil && !strings.HasPrefix(it.Key.ID, prefix) || !yield(it, err) {
				return
			}
		}
	}
}

// ItemAt returns the item of a record; ok is false if there is none.
func (r *Reader) ItemAt(rid int64) (it Item, ok bool, err error) {
	row, err := r.one(qItem, rid)
	if err != nil || row == nil {
		return it, false, err
	}
	it, err = parseItem(row)
	return it, true, err
}

func parseItem(row row) (Item, error) {
	return Item{RID: row.int(0), Key: crdt.Key{Collection: row.text(1), ID: row.text(2)}, Heads: row.blob(3), Unseen: row.int(4) != 0}, nil
}

// Touched yields the RIDs of the records whose changes stand in the log behind
// after, one as often as it has changes.
func (r *Reader) Touched(after crdt.LSN) iter.Seq2[int64, error] {
	return scan(r, func(row row) (int64, error) { return row.int(0), nil }, qTouched, int64(after))
}

// ChangesBack yields the log rows of a record from the last one back, but for
// those that were withdrawn. Data is as Log has it; Chain, Key and Unseen are not set.
func (r *Reader) ChangesBack(rid int64) iter.Seq2[LogRow, error] {
	return func(yield func(LogRow, error) bool) {
		at, err := r.lastChange(rid)
		for at > 0 && err == nil {
			var row row
			if row, err = r.one(qLogAt, int64(at)); err != nil || row == nil {
				break
			}
			l := LogRow{LSN: at, RID: rid, Source: row.int(3)}
			prev := crdt.LSN(row.int(0))
			if err = stored("log row", at, errors.Join(row.fill(l.Set[:], 1), row.fill(l.Hash[:], 2))); err != nil {
				break
			}
			if prev >= at {
				err = stored("log row", at, ErrDamaged)
				break
			}
			if l.Data, err = r.sentOf(int64(at), row.int(5), row.blob(4)); err != nil {
				break
			}
			if err = r.verify(&l); err != nil {
				break
			}
			at = prev
			if !l.Withdrawn() && !yield(l, nil) {
				return
			}
		}
		if err != nil {
			yield(LogRow{}, r.fail(err))
		}
	}
}

// RowsOf yields the positions behind after, up to until, of changes to records of these
// collections.
func (r *Reader) RowsOf(collections []string, after, until crdt.LSN) iter.Seq2[crdt.LSN, error] {
	list, err := json.Marshal(collections)
	if err != nil {
		return func(yield func(crdt.LSN, error) bool) { yield(0, r.fail(err)) }
	}
	return scan(r, func(row row) (crdt.LSN, error) { return crdt.LSN(row.int(0)), nil }, qRowsOf, int64(after), int64(until), string(list))
}

// RowBefore returns the position of the row before this one of the same record, 0 if
// there is none, and the source of this one, negative if it is not there itself.
func (r *Reader) RowBefore(lsn crdt.LSN) (before crdt.LSN, source int64, err error) {
	row, err := r.one(qRowBefore, int64(lsn))
	if err == nil && row != nil && crdt.LSN(row.int(0)) >= lsn {
		err = r.fail(stored("log row", lsn, ErrDamaged))
	}
	if err != nil || row == nil {
		return 0, -1, err
	}
	return crdt.LSN(row.int(0)), row.int(1), nil
}

// SetAt returns the rows of the change set that the log row at lsn belongs to; none
// if there is no such row.
func (r *Reader) SetAt(lsn crdt.LSN) ([]LogRow, error) {
	at, err := r.one(qLogAt, int64(lsn))
	if err != nil || at == nil {
		return nil, err
	}
	before, err := r.one(qBeforeSet, int64(lsn), at.blob(1))
	if err != nil {
		return nil, err
	}
	after := crdt.LSN(0)
	if before != nil {
		after = crdt.LSN(before.int(0))
	}
	return r.Log(after, 1, 1)
}

// LastRID returns the highest RID given out, which is about how many records there
// are.
func (r *Reader) LastRID() (int64, error) { return r.count(qMaxRID) }
