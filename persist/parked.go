package persist

import (
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Bounds of what one peer can have parked.
const (
	MaxParkedSets  = 4096
	MaxParkedBytes = 64 << 20 // of Data
)

// AllPeers asks Parked and Quarantined for those of every peer.
const AllPeers int64 = -1

// ParkedSet is a change set that waits for changes not held yet.
type ParkedSet struct {
	ID     int64
	Peer   int64 // whose it is; 0: this replica
	Set    crdt.SetID
	Waits  []crdt.Key // records whose next change may release it; at least one
	Data   []byte     // as the caller encoded it
	Reason string
	Time   int64 // ms since 1970
}

// Parked yields the parked sets of a peer, oldest first.
func (r *Reader) Parked(peer int64) iter.Seq2[*ParkedSet, error] {
	if peer == AllPeers {
		return scan(r, r.parseParked, qParked)
	}
	return scan(r, r.parseParked, qParkedOf, peer)
}

// HasParked reports whether anything of the peer's is parked.
func (r *Reader) HasParked(peer int64) (bool, error) {
	row, err := r.one(qParkedUse, peer)
	return err == nil && row.int(0) > 0, err
}

// ParkedOn yields the sets that wait for a change of the record, oldest first.
// They may be unparked within the loop.
func (r *Reader) ParkedOn(key crdt.Key) iter.Seq2[*ParkedSet, error] {
	return func(yield func(*ParkedSet, error) bool) {
		ids, err := collect(scan(r, func(row row) (int64, error) { return row.int(0), nil },
			qParkedOn, key.Collection, key.ID))
		if err != nil {
			yield(nil, err)
			return
		}
		for _, id := range ids {
			for p, err := range scan(r, r.parseParked, qParkedByID, id) {
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

// parseParked reads the columns of parkedColumns, and the waits.
func (r *Reader) parseParked(row row) (*ParkedSet, error) {
	p := &ParkedSet{ID: row.int(0), Peer: row.int(1), Time: row.int(4)}
	err := row.fill(p.Set[:], 2)
	if err == nil {
		p.Reason, err = r.unsealText(row.int(6), columnParkedReason, p.rowID(), row.text(3))
	}
	if err == nil {
		p.Data, err = r.unseal(row.int(6), columnParked, p.rowID(), row.blob(5))
	}
	if err != nil {
		return nil, stored("parked set", p.ID, err)
	}
	for wait, err := range r.rows(qWaits, p.ID) {
		if err != nil {
			return nil, err
		}
		p.Waits = append(p.Waits, crdt.Key{Collection: wait.text(0), ID: wait.text(1)})
	}
	return p, nil
}

// rowID names the set's row.
func (p *ParkedSet) rowID() []byte { return appendName(appendID(nil, p.Peer), string(p.Set[:])) }

// Park keeps a set until it is unparked, and sets its ID. A set that its peer
// has parked already is replaced. ErrCapped, which by itself does not fail the
// closure, says that the peer would exceed MaxParkedSets or MaxParkedBytes;
// then nothing was changed.
func (tx *Tx) Park(p *ParkedSet) error {
	if len(p.Waits) == 0 {
		return tx.fail(fmt.Errorf("park set %s: it waits for nothing", p.Set))
	}
	// What the same set takes already does not count, and makes room.
	var had, size int64
	row, err := tx.one(qParkedBySet, p.Peer, p.Set[:])
	if err != nil {
		return err
	}
	if row != nil {
		had, size = row.int(0), row.int(1)
	}
	if row, err = tx.one(qParkedUse, p.Peer); err != nil {
		return err
	}
	if had == 0 && row.int(0) >= MaxParkedSets || row.int(1)-size+int64(len(p.Data)) > MaxParkedBytes {
		return fmt.Errorf("park set %s: %w", p.Set, ErrCapped)
	}
	if had != 0 {
		if err := tx.Unpark(had); err != nil {
			return err
		}
	}
	reason := tx.sealText(columnParkedReason, p.rowID(), p.Reason)
	row, err = tx.one(qInsertParked, p.Peer, p.Set[:], reason, p.Time, nonNil(tx.seal(columnParked, p.rowID(), p.Data)),
		tx.sealing.number(), int64(len(p.Data)))
	if err != nil {
		return err
	}
	p.ID = row.int(0)
	for _, key := range p.Waits {
		if _, err := tx.exec(qInsertWait, key.Collection, key.ID, p.ID); err != nil {
			return err
		}
	}
	return nil
}

// nonNil keeps the driver from storing an absent slice as NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Unpark forgets a parked set; none is no error.
func (tx *Tx) Unpark(id int64) error {
	if _, err := tx.exec(qDeleteWaits, id); err != nil {
		return err
	}
	_, err := tx.exec(qDeleteParked, id)
	return err
}
