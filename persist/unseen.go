package persist

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// Shown returns the position up to which somebody may have been shown the log, by Show;
// going reports whether a peer's State is the one given.
func (r *Reader) Shown(state string) (upTo crdt.LSN, going bool, err error) {
	row, err := r.one(qShown, state)
	if err != nil {
		return 0, false, err
	}
	return crdt.LSN(row.int(0)), row.int(1) != 0, nil
}

// Show notes that somebody may have been shown all of the log as it is now.
func (tx *Tx) Show() error {
	_, err := tx.exec(qShow, int64(tx.head.LSN))
	return err
}

// Unseen reports whether Hide has hidden the record.
func (r *Reader) Unseen(rid int64) (bool, error) {
	row, err := r.one(qUnseen, rid)
	return row != nil, err
}

// UnseenKey is Unseen for a record by name.
func (r *Reader) UnseenKey(k crdt.Key) (bool, error) {
	row, err := r.one(qUnseenKey, k.Collection, k.ID)
	return row != nil, err
}

// AnyUnseen reports whether any record is hidden.
func (r *Reader) AnyUnseen() (bool, error) {
	n, err := r.count(qAnyUnseen)
	return n != 0, err
}

// Beside returns the RIDs of the records that share a change set with the record, itself
// perhaps among them. shown reports that a change of it came from a peer, or stands in the
// log up to the position: then rids are of no use. Changes that were withdrawn do not count.
func (r *Reader) Beside(rid int64, upTo crdt.LSN) (rids []int64, shown bool, err error) {
	last, err := r.lastChange(rid)
	if err != nil {
		return nil, true, err
	}
	for row, err := range r.rows(qBeside, int64(last), int64(upTo)) {
		if err != nil {
			return nil, true, err
		}
		switch beside := row.int(0); {
		case beside < 0:
			return nil, true, nil
		case beside > 0:
			rids = append(rids, beside)
		}
	}
	return rids, false, nil
}

// Hide marks a record that is deleted, and that nobody was shown: its rows of the log, and
// its item, say so.
func (tx *Tx) Hide(rid int64) error {
	if rid <= 0 {
		return tx.fail(fmt.Errorf("hide record: no record has RID %d", rid))
	}
	_, err := tx.exec(qHide, rid)
	return err
}

// Unhide takes back Hide.
func (tx *Tx) Unhide(rid int64) error {
	_, err := tx.exec(qUnhide, rid)
	return err
}
