package persist

import (
	"errors"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// MaxRefusals bounds the refusals that are kept of one peer.
const MaxRefusals = 4096

// Refusal says that a peer did not take a change of this log.
type Refusal struct {
	ID     int64
	Peer   int64
	Key    crdt.Key
	Hash   crdt.Hash
	Rights crdt.Hash // what the peer let us write then
	LSN    crdt.LSN  // the record's last row of the log then
	Code   string
	Detail string
	Time   int64 // ms since 1970
}

// Refusals yields what a peer refused, oldest first.
func (r *Reader) Refusals(peer int64) iter.Seq2[*Refusal, error] {
	if peer == AllPeers {
		return scan(r, parseRefusal, qRefusals)
	}
	return scan(r, parseRefusal, qRefusalsOf, peer)
}

// Refusal returns the peer's refusal of a change, nil if there is none.
func (r *Reader) Refusal(peer int64, key crdt.Key, hash crdt.Hash) (*Refusal, error) {
	row, err := r.one(qRefusal, peer, hash[:], key.Collection, key.ID)
	if err != nil || row == nil {
		return nil, err
	}
	f, err := parseRefusal(row)
	return f, r.fail(err)
}

// CountRefusals counts what a peer refused.
func (r *Reader) CountRefusals(peer int64) (int64, error) {
	row, err := r.one(qCountRefusals, peer)
	if err != nil {
		return 0, err
	}
	return row.int(0), nil
}

// parseRefusal reads the columns of refusalColumns.
func parseRefusal(row row) (*Refusal, error) {
	f := &Refusal{
		ID:     row.int(0),
		Peer:   row.int(1),
		Key:    crdt.Key{Collection: row.text(2), ID: row.text(3)},
		LSN:    crdt.LSN(row.int(6)),
		Code:   row.text(7),
		Detail: row.text(8),
		Time:   row.int(9),
	}
	return f, stored("refusal", f.ID, errors.Join(row.fill(f.Hash[:], 4), row.fill(f.Rights[:], 5)))
}

// PutRefusal keeps a refusal, in the place of an earlier one of the same change,
// and sets its ID. Beyond MaxRefusals of its peer the oldest ones go.
func (tx *Tx) PutRefusal(f *Refusal) error {
	row, err := tx.one(qPutRefusal, f.Peer, f.Key.Collection, f.Key.ID, f.Hash[:], f.Rights[:], int64(f.LSN),
		f.Code, f.Detail, f.Time)
	if err != nil {
		return err
	}
	f.ID = row.int(0)
	for n, err := tx.CountRefusals(f.Peer); n > MaxRefusals || err != nil; n-- {
		if err != nil {
			return err
		}
		oldest, err := tx.one(qOldestRefusal, f.Peer)
		if err != nil {
			return err
		}
		if err := tx.DropRefusal(oldest.int(0)); err != nil {
			return err
		}
	}
	return nil
}

// DropRefusal forgets a refusal; none is no error.
func (tx *Tx) DropRefusal(id int64) error {
	_, err := tx.exec(qDeleteRefusal, id)
	return err
}
