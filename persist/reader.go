package persist

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Reader reads one state of the store. It is not safe for concurrent use and
// is valid within the closure it was handed to. What it returns is the
// caller's.
type Reader struct {
	c     *conn // nil when the closure is over
	head  crdt.Cursor
	epoch uint64
	err   error // the first failure, which is the closure's too

	// The last log rows of records that a Tx has touched: while it works on one,
	// the record's row need not say yet, or say already.
	last map[int64]crdt.LSN

	expanded *expanded // shared with all readers of the store
	vault    *vault    // likewise
	sealing  *sealing  // what vault knows, or what this state of the file says

	id, aad []byte // space for encoding
}

// readWith runs fn on a snapshot of the connection.
func (s *Store) readWith(c *conn, fn func(*Reader) error) (err error) {
	if _, err := c.exec(qBegin); err != nil {
		return err
	}
	defer func() { // also when fn panics
		if _, e := c.exec(qRollback); e != nil {
			err = errors.Join(err, e)
		}
	}()
	// A transaction sees the state of its first read: this one.
	head, err := readHead(c, s.epoch)
	if err != nil {
		return err
	}
	r := &Reader{c: c, head: head, epoch: s.epoch, expanded: s.expanded, vault: s.vault, sealing: s.vault.now.Load()}
	defer func() { r.c = nil }()
	if err := fn(r); err != nil {
		return err
	}
	return r.err
}

func readHead(c *conn, epoch uint64) (crdt.Cursor, error) {
	head := crdt.Cursor{Epoch: epoch}
	row, err := c.one(qHead)
	if err != nil || row == nil {
		return head, err
	}
	head.LSN = crdt.LSN(row.int(0))
	return head, row.fill(head.Chain[:], 1)
}

// one returns the first row of a query, nil if there is none.
func (r *Reader) one(q query, args ...driver.Value) (row, error) {
	if r.c == nil {
		return nil, errOver
	}
	row, err := r.c.one(q, args...)
	return row, r.fail(err)
}

// rows yields the rows of a query.
func (r *Reader) rows(q query, args ...driver.Value) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		if r.c == nil {
			yield(nil, errOver)
			return
		}
		for row, err := range r.c.rows(q, args...) {
			if !yield(row, r.fail(err)) || err != nil {
				return
			}
		}
	}
}

// fail remembers the first failure: a closure cannot overlook it.
func (r *Reader) fail(err error) error {
	if err != nil && r.err == nil {
		r.err = err
	}
	return err
}

// scan yields what parse makes of each row.
func scan[T any](r *Reader, parse func(row) (T, error), q query, args ...driver.Value) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range r.rows(q, args...) {
			var v T
			if err == nil {
				v, err = parse(row)
				r.fail(err)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// collect gathers what scan yields.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// IsActor reports whether the actor is an incarnation that this file gave out.
func (r *Reader) IsActor(actor crdt.ActorID) (bool, error) {
	row, err := r.one(qActor, []byte(actor))
	return row != nil, err
}

// Retired reports whether the actor is an incarnation that writes no more.
func (r *Reader) Retired(actor crdt.ActorID) (bool, error) {
	row, err := r.one(qRetired, []byte(actor))
	return row != nil, err
}

// AnyRetired reports whether changes of any incarnation were withdrawn.
func (r *Reader) AnyRetired() (bool, error) {
	row, err := r.one(qAnyRetired)
	return row != nil, err
}

// Retire has an incarnation of this file write no more; an actor that is none stays what
// it is.
func (tx *Tx) Retire(actor crdt.ActorID) error {
	_, err := tx.exec(qRetire, []byte(actor))
	return err
}

// RetireOthers is Retire for all incarnations of this file but one.
func (tx *Tx) RetireOthers(actor crdt.ActorID) error {
	_, err := tx.exec(qRetireOthers, []byte(actor))
	return err
}

// Stats are counts of what a store holds.
type Stats struct {
	Records     int64 // deleted ones too
	Deleted     int64
	Conflicted  int64
	Changes     int64 // rows of the log
	Parked      int64 // sets
	Quarantined int64 // changes
	Dropped     int64 // refused changes that made room for later ones
	Peers       int64
	Bytes       int64 // of the database, without its WAL
}

// Stats counts what the store holds. It takes time in proportion to that.
func (r *Reader) Stats() (Stats, error) {
	row, err := r.one(qStats)
	if err != nil {
		return Stats{}, err
	}
	return Stats{
		Records: row.int(0), Deleted: row.int(1), Conflicted: row.int(2), Changes: row.int(3),
		Parked: row.int(4), Quarantined: row.int(5), Dropped: row.int(6), Peers: row.int(7), Bytes: row.int(8),
	}, nil
}

// stored wraps an error of reading a stored value.
func stored(what string, id any, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read %s %v: %w", what, id, err)
}
