package persist

import (
	"errors"
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// MaxForks bounds the forks that are kept, of all records.
const MaxForks = 4096

// Fork says that two changes of a record have one actor and sequence number.
type Fork struct {
	Key       crdt.Key
	Actor     crdt.ActorID
	Seq       uint64
	Have, Got crdt.Hash // the one in the log when the other came
	Peer      int64     // who sent that
	Time      int64     // ms since 1970, when it came
	Settled   bool      // one of them was withdrawn wherever it was known to be
}

// Forks yields all forks, by record.
func (r *Reader) Forks() iter.Seq2[*Fork, error] { return scan(r, parseFork, qForks) }

// ForksOf yields the forks of a record.
func (r *Reader) ForksOf(key crdt.Key) iter.Seq2[*Fork, error] {
	return scan(r, parseFork, qForksOf, key.Collection, key.ID)
}

// CountForks counts all forks.
func (r *Reader) CountForks() (int64, error) {
	row, err := r.one(qCountForks)
	if err != nil {
		return 0, err
	}
	return row.int(0), nil
}

// OpenForks counts the forks that are not settled.
func (r *Reader) OpenForks() (int64, error) {
	row, err := r.one(qOpenForks)
	if err != nil {
		return 0, err
	}
	return row.int(0), nil
}

func parseFork(row row) (*Fork, error) {
	f := &Fork{
		Key: crdt.Key{Collection: row.text(0), ID: row.text(1)}, Actor: crdt.ActorID(row.blob(2)), Seq: uint64(row.int(3)),
		Peer: row.int(6), Time: row.int(7), Settled: row.int(8) != 0,
	}
	return f, stored("fork of", f.Key, errors.Join(row.fill(f.Have[:], 4), row.fill(f.Got[:], 5)))
}

// PutFork keeps a fork; Settled is all that changes of one that is known. ErrCapped,
// which by itself does not fail the closure, says that there are MaxForks others.
func (tx *Tx) PutFork(f *Fork) error {
	n, err := tx.CountForks()
	if err != nil {
		return err
	}
	if n >= MaxForks && !f.Settled {
		return fmt.Errorf("note a fork of %s: %w", f.Key, ErrCapped)
	}
	_, err = tx.exec(qPutFork, f.Key.Collection, f.Key.ID, []byte(f.Actor), int64(f.Seq), f.Have[:], f.Got[:], f.Peer, f.Time, f.Settled)
	return err
}

// Withdraw takes the changes out of the record's history: their rows stay in the
// log, and are neither yielded by Changes nor to be sent. The record's row is the
// caller's to put. What a snapshot holds goes back to the log first.
func (tx *Tx) Withdraw(rid int64, hashes map[crdt.Hash]bool) error {
	if err := tx.DropSnapshot(rid); err != nil {
		return err
	}
	last, err := tx.lastChange(rid)
	if err != nil {
		return err
	}
	rows, err := collect(scan(&tx.Reader, func(row row) (int64, error) {
		var h crdt.Hash
		if err := row.fill(h[:], 2); err != nil || !hashes[h] {
			return 0, err
		}
		return row.int(0), nil
	}, qCheckChanges, int64(last), int64(0)))
	if err != nil {
		return err
	}
	n := 0
	for _, lsn := range rows {
		if lsn == 0 {
			continue
		}
		if _, err := tx.exec(qWithdraw, lsn); err != nil {
			return err
		}
		n++
	}
	if n != len(hashes) {
		return tx.fail(fmt.Errorf("withdraw %d changes of record %d: %d are in the log: %w", len(hashes), rid, n, ErrDamaged))
	}
	return nil
}

// WithdrawnOf yields the changes that were withdrawn from the record's history and have
// not come back.
func (r *Reader) WithdrawnOf(rid int64) iter.Seq2[crdt.Hash, error] {
	return func(yield func(crdt.Hash, error) bool) {
		last, err := r.lastChange(rid)
		if err != nil {
			yield(crdt.Hash{}, err)
			return
		}
		scan(r, func(row row) (h crdt.Hash, err error) { return h, row.fill(h[:], 0) }, qWithdrawn, int64(last), int64(0))(yield)
	}
}

// Withdrawn reports whether the change was taken out of its record's history, in
// the repair of a fork, or since the record was forgotten.
func (l *LogRow) Withdrawn() bool { return l.Source < 0 }
