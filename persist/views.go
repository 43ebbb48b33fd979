package persist

import (
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// MaxViews bounds how many view changes are kept for those who watch.
const MaxViews = 100_000

// ViewChange says that a record shows something else, or has other heads, without a
// change that was added to its history: its stored value followed another policy before,
// or changes were withdrawn.
type ViewChange struct {
	Seq int64 // ascending
	Key crdt.Key
	LSN crdt.LSN // the end of the log then
}

// LastView returns the Seq of the newest view change, 0 if there was none.
func (r *Reader) LastView() (int64, error) {
	row, err := r.one(qLastView)
	if err != nil {
		return 0, err
	}
	return row.int(0), nil
}

// Views yields at most limit view changes behind one (0 means all). Only the last
// MaxViews are kept.
func (r *Reader) Views(after int64, limit int) iter.Seq2[ViewChange, error] {
	return scan(r, func(row row) (ViewChange, error) {
		return ViewChange{row.int(0), crdt.Key{Collection: row.text(1), ID: row.text(2)}, crdt.LSN(row.int(3))}, nil
	}, qViews, after, sqlLimit(limit))
}

// Viewed yields the RIDs of the records that the view changes behind one are of.
func (r *Reader) Viewed(after int64) iter.Seq2[int64, error] {
	return scan(r, func(row row) (int64, error) { return row.int(0), nil }, qViewed, after)
}

// AddView notes that the record shows something else now.
func (tx *Tx) AddView(rid int64) error {
	_, err := tx.exec(qAddView, rid, int64(tx.head.LSN))
	return err
}

// TrimViews forgets all view changes but the last MaxViews.
func (tx *Tx) TrimViews() error {
	last, err := tx.LastView()
	if err == nil && last > MaxViews {
		_, err = tx.exec(qTrimViews, last-MaxViews)
	}
	return err
}
