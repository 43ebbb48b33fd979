package replica

import (
	"context"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// States of a peer.
const (
	StateConnected    = "connected"
	StateDisconnected = "disconnected"
)

// Status says what a replica holds and what waits for whom.
type Status struct {
	Replica     crdt.ReplicaID
	Space       string // "" until a peer's is known
	Path        string
	Log         crdt.Cursor // the end of the log
	Records     int64       // deleted ones not counted
	Changes     int64
	Conflicted  int64 // records with a conflict
	Parked      int64 // sets that wait for a dependency
	Quarantined int64 // refused changes that are kept
	Forked      int64 // forks that are not repaired, see Forks
	Stale       int64 // records whose stored value is still to follow the policy; computed when read
	Peers       []PeerStatus

	ResolverFailures int64 // of registered functions, since this process opened the file
}

// PeerStatus says how far a peer is.
type PeerStatus struct {
	Replica   crdt.ReplicaID
	Epoch     uint64
	Link      string // the path that led to it last; "" if it has dialled us
	State     string
	Attempts  int         // to reach it that failed in a row
	Pending   int64       // changes that the peer has not acknowledged
	Refused   int64       // changes that it did not take, see Refusals
	Acked     crdt.Cursor // how far it has read this log
	Read      crdt.Cursor // how far this replica has read its log
	LastError string
	Carrier   bool // no replica: it was handed what is not pending, which is no receipt for it
	Seen      time.Time
}

// Status reads the replica's state, as any process last wrote it down.
func (r *Replica) Status(ctx context.Context) (st Status, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		st, err = r.status(rd)
		return err
	})
	return st, translate(err)
}

func (r *Replica) status(rd *persist.Reader) (st Status, err error) {
	st = Status{Replica: r.id, Path: r.store.Path(), ResolverFailures: r.resolverFailures.Load()}
	counts, err := rd.Stats()
	if err != nil {
		return st, err
	}
	st.Log, st.Records, st.Changes = rd.Head(), counts.Records-counts.Deleted, counts.Changes
	st.Conflicted, st.Parked, st.Quarantined = counts.Conflicted, counts.Parked, counts.Quarantined
	if st.Forked, err = rd.OpenForks(); err != nil {
		return st, err
	}
	if st.Stale, err = r.countStale(rd); err != nil {
		return st, err
	}
	if st.Space, err = rd.Space(); err != nil {
		return st, err
	}
	peers, err := rd.Peers()
	if err != nil {
		return st, err
	}
	for _, p := range peers {
		ps, err := r.peerStatus(rd, p)
		if err != nil {
			return st, err
		}
		st.Peers = append(st.Peers, ps)
	}
	return st, nil
}

func (r *Replica) peerStatus(rd *persist.Reader, p persist.Peer) (PeerStatus, error) {
	r.sessMu.Lock()
	for s := range r.sessions {
		if s.peerID == p.ID {
			p = s.row()
		}
	}
	r.sessMu.Unlock()
	pending, err := rd.Pending(p.ID, p.Acked.LSN)
	if err != nil {
		return PeerStatus{}, err
	}
	refused, err := rd.CountRefusals(p.ID)
	return PeerStatus{
		Replica: p.Replica, Epoch: p.Epoch, Link: p.Name, State: p.State, Attempts: p.Attempts, Pending: pending, Refused: refused, Acked: p.Acked, Read: p.Read,
		Carrier: p.Carrier, LastError: p.LastError, Seen: time.UnixMilli(p.Seen),
	}, err
}

// register notes that a session runs, or no longer does.
func (r *Replica) register(s *session, on bool) {
	defer r.stir()
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	if on {
		r.sessions[s] = struct{}{}
	} else {
		delete(r.sessions, s)
		signal(r.left)
	}
}
