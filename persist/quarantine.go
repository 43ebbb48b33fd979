package persist

import (
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Bounds of what is kept of one peer's refused changes.
const (
	MaxQuarantined      = 1024
	MaxQuarantinedBytes = 32 << 20 // of Data
)

// Quarantined is a change that was refused.
type Quarantined struct {
	ID     int64
	Peer   int64 // who sent it; 0: this replica
	Key    crdt.Key
	Hash   crdt.Hash
	Code   string
	Detail string
	Data   []byte
	Time   int64 // ms since 1970
}

// Quarantined yields the refused changes of a peer, oldest first.
func (r *Reader) Quarantined(peer int64) iter.Seq2[*Quarantined, error] {
	if peer == AllPeers {
		return scan(r, r.parseQuarantined, qQuarantined)
	}
	return scan(r, r.parseQuarantined, qQuarantinedOf, peer)
}

// parseQuarantined reads the columns of quarantineColumns.
func (r *Reader) parseQuarantined(row row) (*Quarantined, error) {
	q := &Quarantined{
		ID:   row.int(0),
		Peer: row.int(1),
		Key:  crdt.Key{Collection: row.text(2), ID: row.text(3)},
		Code: row.text(5),
		Time: row.int(7),
	}
	err := row.fill(q.Hash[:], 4)
	if err == nil {
		q.Detail, err = r.unsealText(row.int(9), columnQuarantineDetail, q.rowID(), row.text(6))
	}
	if err == nil {
		q.Data, err = r.unseal(row.int(9), columnQuarantined, q.rowID(), row.blob(8))
	}
	return q, stored("quarantined change", q.ID, err)
}

// rowID names the change's row.
func (q *Quarantined) rowID() []byte { return refusedID(q.Peer, q.Hash, q.Key) }

// refusedID names what is there once for a peer, a change and a record.
func refusedID(peer int64, h crdt.Hash, k crdt.Key) []byte {
	return appendName(appendName(appendName(appendID(nil, peer), string(h[:])), k.Collection), k.ID)
}

// Quarantine keeps a refused change, and sets its ID. One that is there already
// is replaced. Beyond MaxQuarantined or MaxQuarantinedBytes of its peer the
// oldest ones go; Stats counts them.
func (tx *Tx) Quarantine(q *Quarantined) error {
	detail := tx.sealText(columnQuarantineDetail, q.rowID(), q.Detail)
	row, err := tx.one(qReplaceQuarantined, q.Peer, q.Key.Collection, q.Key.ID, q.Hash[:], q.Code, detail, q.Time,
		nonNil(tx.seal(columnQuarantined, q.rowID(), q.Data)), tx.sealing.number(), int64(len(q.Data)))
	if err != nil {
		return err
	}
	q.ID = row.int(0)
	return tx.trimQuarantine(q.Peer)
}

func (tx *Tx) trimQuarantine(peer int64) error {
	use, err := tx.one(qQuarantineUse, peer)
	if err != nil {
		return err
	}
	count, bytes, dropped := use.int(0), use.int(1), int64(0)
	for count > MaxQuarantined || bytes > MaxQuarantinedBytes {
		oldest, err := tx.one(qQuarantineOldest, peer)
		if err != nil {
			return err
		}
		count, bytes, dropped = count-1, bytes-oldest.int(1), dropped+1
		if err := tx.Unquarantine(oldest.int(0)); err != nil {
			return err
		}
	}
	if dropped == 0 {
		return nil
	}
	_, err = tx.exec(qCountDropped, peer, dropped)
	return err
}

// Unquarantine forgets a refused change; none is no error.
func (tx *Tx) Unquarantine(id int64) error {
	_, err := tx.exec(qDeleteQuarantined, id)
	return err
}
