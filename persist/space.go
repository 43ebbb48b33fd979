package persist

import (
	"database/sql/driver"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// Space returns the name of the space that the file holds, "" if it is not
// known yet.
func (r *Reader) Space() (string, error) {
	row, err := r.one(qSpace)
	if err != nil || row == nil {
		return "", err
	}
	return row.text(0), nil
}

// SetSpace says which space the file holds.
func (tx *Tx) SetSpace(name string) error {
	_, err := tx.exec(qSetSpace, name)
	return err
}

// OutboxCleared returns the position up to which what is acknowledged is not to be listed.
func (r *Reader) OutboxCleared() (crdt.LSN, error) {
	n, err := r.count(qOutboxCleared)
	return crdt.LSN(n), err
}

// ClearOutbox sets what OutboxCleared returns.
func (tx *Tx) ClearOutbox(at crdt.LSN) error {
	_, err := tx.exec(qClearOutbox, int64(at))
	return err
}

// PeerByID returns the peer with the given ID.
func (r *Reader) PeerByID(id int64) (*Peer, error) {
	row, err := r.one(qPeerByID, id)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, r.fail(fmt.Errorf("no peer has ID %d: %w", id, ErrDamaged))
	}
	p, err := r.parsePeer(row)
	return &p, r.fail(err)
}

// Pending counts the changes behind a position that did not come from the peer.
func (r *Reader) Pending(peer int64, after crdt.LSN) (int64, error) {
	return r.count(qPending, int64(after), peer)
}

// ParkedCount counts the sets that are parked.
func (r *Reader) ParkedCount() (int, error) {
	n, err := r.count(qParkedCount)
	return int(n), err
}

// QuarantinedCount counts the refused changes that are kept.
func (r *Reader) QuarantinedCount() (int64, error) { return r.count(qQuarantinedCount) }

// count returns the one number of a query.
func (r *Reader) count(q query, args ...driver.Value) (int64, error) {
	row, err := r.one(q, args...)
	if err != nil || row == nil {
		return 0, err
	}
	return row.int(0), nil
}
