package persist

import (
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// Peer is what is known of another replica, or of an earlier life of one.
type Peer struct {
	ID        int64 // 0: not stored yet
	Replica   crdt.ReplicaID
	Epoch     uint64
	Name      string      // for people
	Read      crdt.Cursor // how far this replica has read its log
	Acked     crdt.Cursor // how far it has read this log
	State     string
	LastError string
	Attempts  int
	Seen      int64 // ms since 1970
	Doubt     bool  // what came from it may be lost to it, or to a copy of it, though Read is in its log

	Carried    string    // what it is sent of this log, in words of the caller's; "": everything
	ReadFilter crdt.Hash // of the scope under which it sent what Read counts
	Subject    string    // who it was known as; "" if nobody asked
	Carrier    bool      // it is no replica: it hands on what it is sent, and Acked is what it was handed
}

// Peers returns all peers, by id.
func (r *Reader) Peers() ([]Peer, error) { return collect(scan(r, r.parsePeer, qPeers)) }

// PeersOf returns the lives of a replica, by id.
func (r *Reader) PeersOf(replica crdt.ReplicaID) ([]Peer, error) {
	return collect(scan(r, r.parsePeer, qPeersOf, replica[:]))
}

// Peer returns the peer, nil if there is none.
func (r *Reader) Peer(replica crdt.ReplicaID, epoch uint64) (*Peer, error) {
	row, err := r.one(qPeer, replica[:], int64(epoch))
	if err != nil || row == nil {
		return nil, err
	}
	p, err := r.parsePeer(row)
	return &p, r.fail(err)
}

// parsePeer reads the columns of peerColumns.
func (r *Reader) parsePeer(row row) (Peer, error) {
	p := Peer{
		ID:       row.int(0),
		Epoch:    uint64(row.int(2)),
		Name:     row.text(3),
		Read:     crdt.Cursor{Epoch: uint64(row.int(4)), LSN: crdt.LSN(row.int(5))},
		Acked:    crdt.Cursor{Epoch: uint64(row.int(7)), LSN: crdt.LSN(row.int(8))},
		State:    row.text(10),
		Attempts: int(row.int(12)),
		Seen:     row.int(13),
		Doubt:    row.int(14) != 0,
		Subject:  row.text(16),
		Carrier:  row.int(17) != 0,
	}
	err := errors.Join(row.fill(p.Replica[:], 1), row.fill(p.Read.Chain[:], 6), row.fill(p.Acked.Chain[:], 9),
		row.fill(p.ReadFilter[:], 15))
	if err == nil {
		p.LastError, err = r.unsealText(row.int(18), columnPeerError, p.rowID(), row.text(11))
	}
	if err == nil {
		p.Carried, err = r.unsealText(row.int(18), columnPeerCarried, p.rowID(), row.text(19))
	}
	return p, stored("peer", p.ID, err)
}

// rowID names the peer's row.
func (p *Peer) rowID() []byte { return appendID(appendName(nil, string(p.Replica[:])), int64(p.Epoch)) }

// PutPeer writes the peer. When its ID is 0 it is the one with its replica and
// epoch, inserted if there is none, and the ID is set.
func (tx *Tx) PutPeer(p *Peer) error {
	id := p.ID
	if id == 0 {
		known, err := tx.Peer(p.Replica, p.Epoch)
		if err != nil {
			return err
		}
		if known == nil {
			return tx.insertPeer(p)
		}
		id = known.ID
	}
	n, err := tx.exec(qUpdatePeer, p.Name,
		int64(p.Read.Epoch), int64(p.Read.LSN), p.Read.Chain[:],
		int64(p.Acked.Epoch), int64(p.Acked.LSN), p.Acked.Chain[:],
		p.State, tx.sealText(columnPeerError, p.rowID(), p.LastError), int64(p.Attempts), p.Seen, p.Doubt,
		p.ReadFilter[:], p.Subject, p.Carrier, tx.sealing.number(), tx.sealText(columnPeerCarried, p.rowID(), p.Carried), id)
	if err != nil {
		return err
	}
	if n == 0 {
		return tx.fail(fmt.Errorf("update peer %s: no peer has ID %d", p.Replica, id))
	}
	p.ID = id
	return nil
}

func (tx *Tx) insertPeer(p *Peer) error {
	row, err := tx.one(qInsertPeer, p.Replica[:], int64(p.Epoch), p.Name,
		int64(p.Read.Epoch), int64(p.Read.LSN), p.Read.Chain[:],
		int64(p.Acked.Epoch), int64(p.Acked.LSN), p.Acked.Chain[:],
		p.State, tx.sealText(columnPeerError, p.rowID(), p.LastError), int64(p.Attempts), p.Seen, p.Doubt,
		p.ReadFilter[:], p.Subject, p.Carrier, tx.sealing.number(), tx.sealText(columnPeerCarried, p.rowID(), p.Carried))
	if err == nil {
		p.ID = row.int(0)
	}
	return err
}
