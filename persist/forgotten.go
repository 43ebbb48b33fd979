package persist

import (
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Forgotten says that a record's changes were dropped here, or lost by damage. Its row
// stays, with heads and clock, until the changes are wanted back, as those are that were
// lost; then the row says what has come of them.
type Forgotten struct {
	RID     int64
	Clock   crdt.Clock // of the record when it was forgotten, as far as that is known
	Wanted  bool       // the changes are to come back
	Damaged bool       // some of them were damaged; the others are here. It is wanted
	Time    int64      // ms since 1970, when it was forgotten
}

// How the file says what is wanted.
const (
	notWanted     = 0
	wantedBack    = 1
	wantedDamaged = 2
)

// Forgotten returns the mark of a record, nil if it has none.
func (r *Reader) Forgotten(rid int64) (*Forgotten, error) {
	row, err := r.one(qForgotten, rid)
	if err != nil || row == nil {
		return nil, err
	}
	f := &Forgotten{RID: rid, Wanted: row.int(1) != notWanted, Damaged: row.int(1) == wantedDamaged, Time: row.int(2)}
	f.Clock, err = parseClock(row.blob(0))
	return f, r.fail(stored("mark of record", rid, err))
}

// ForgottenKey is Forgotten for a record by name.
func (r *Reader) ForgottenKey(k crdt.Key) (*Forgotten, error) {
	row, err := r.one(qRIDOf, k.Collection, k.ID)
	if err != nil || row == nil {
		return nil, err
	}
	return r.Forgotten(row.int(0))
}

// CountForgotten counts the marks, those of records that are wanted back too.
func (r *Reader) CountForgotten() (int64, error) { return r.count(qCountForgotten) }

// Wanted yields the RIDs of the records that are wanted back.
func (r *Reader) Wanted() iter.Seq2[int64, error] {
	return scan(r, func(row row) (int64, error) { return row.int(0), nil }, qWanted)
}

// Forget drops the record's changes: its rows of the log keep their place, hash and
// chain, and are withdrawn; a snapshot is removed. The record's row is the caller's to
// put.
func (tx *Tx) Forget(f *Forgotten) error {
	last, err := tx.lastChange(f.RID)
	if err != nil {
		return err
	}
	if _, err := tx.exec(qForgetRows, int64(last), int64(0)); err != nil {
		return err
	}
	if _, err := tx.exec(qDropSnapshot, f.RID); err != nil {
		return err
	}
	return tx.PutMark(f)
}

// PutMark writes the mark of a record in place of the one it has.
func (tx *Tx) PutMark(f *Forgotten) error {
	wanted := notWanted
	switch {
	case f.Damaged:
		wanted = wantedDamaged
	case f.Wanted:
		wanted = wantedBack
	}
	_, err := tx.exec(qPutForgotten, f.RID, nonNil(appendClock(nil, f.Clock)), int64(wanted), f.Time)
	return err
}

// Want has a forgotten record's changes come back. The record's row is the caller's
// to put.
func (tx *Tx) Want(rid int64) error {
	n, err := tx.exec(qWant, rid)
	if err == nil && n == 0 {
		err = tx.fail(fmt.Errorf("want record %d back: it was not forgotten", rid))
	}
	return err
}

// Remember removes a record's mark: all that was dropped is back.
func (tx *Tx) Remember(rid int64) error {
	_, err := tx.exec(qRemember, rid)
	return err
}
