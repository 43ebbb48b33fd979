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
		return scan(r, r.parseRefusal, qRefusals)
	}
	return scan(r, r.parseRefusal, qRefusalsOf, peer)
}

// CountRefusals counts what a peer refused, but for what it does not keep because it has
// forgotten the record, and what waits there.
func (r *Reader) CountRefusals(peer int64) (int64, error) {
	row, err := r.one(qCountRefusals, peer)
	if err != nil {
		return 0, err
	}
	return row.int(0), nil
}

// parseRefusal reads the columns of refusalColumns.
func (r *Reader) parseRefusal(row row) (*Refusal, error) {
	f := &Refusal{
		ID:   row.int(0),
		Peer: row.int(1),
		Key:  crdt.Key{Collection: row.text(2), ID: row.text(3)},
		LSN:  crdt.LSN(row.int(6)),
		Code: row.text(7),
		Time: row.int(9),
	}
	err := errors.Join(row.fill(f.Hash[:], 4), row.fill(f.Rights[:], 5))
	if err == nil {
		f.Detail, err = r.unsealText(row.int(10), columnRefusalDetail, refusedID(f.Peer, f.Hash, f.Key), row.text(8))
	}
	return f, stored("refusal", f.ID, err)
}

// PutRefusals keeps what a peer refused, in the place of earlier refusals of the
// same changes, and sets the IDs. Beyond MaxRefusals of the peer the oldest go.
func (tx *Tx) PutRefusals(peer int64, all []*Refusal) error {
	for _, f := range all {
		row, err := tx.one(qPutRefusal, peer, f.Key.Collection, f.Key.ID, f.Hash[:], f.Rights[:], int64(f.LSN),
			f.Code, tx.sealText(columnRefusalDetail, refusedID(peer, f.Hash, f.Key), f.Detail), f.Time, tx.sealing.number())
		if err != nil {
			return err
		}
		f.ID, f.Peer = row.int(0), peer
	}
	_, err := tx.exec(qTrimRefusals, peer, int64(MaxRefusals))
	return err
}

// DropRefusal forgets a refusal; none is no error.
func (tx *Tx) DropRefusal(id int64) error {
	_, err := tx.exec(qDeleteRefusal, id)
	return err
}
