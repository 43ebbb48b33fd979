package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// UpdateLSN is Update, and returns the position of the change set in this replica's log,
// which is what WaitFor takes; 0 if nothing was written.
func (r *Replica) UpdateLSN(ctx context.Context, fn func(tx *Tx) error) (lsn crdt.LSN, err error) {
	if err := r.update(ctx, fn, &lsn); err != nil {
		return 0, err
	}
	return lsn, nil
}

// Head returns the end of the log: what WaitFor takes to wait for all that is committed.
func (r *Replica) Head(ctx context.Context) (c crdt.Cursor, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		c = rd.Head()
		return nil
	})
	return c, translate(err)
}

// ErrLeftOut: waiting does not help.
var ErrLeftOut = errors.New("the links do not carry it, or not all of it")

// PendingError says that a change set is not known to be on the disk of all peers that
// were waited for. Nothing is lost: it stays in the outbox.
type PendingError struct {
	LSN   crdt.LSN
	Peers []PeerSync // those that were waited for, and what is known of them
	Err   error      // why waiting ended
}

// Error says who lacks it.
func (e *PendingError) Error() string {
	return fmt.Sprintf("the change set at %d is kept here and still pending: %s: %v", e.LSN, lacking(e.Peers), e.Err)
}

// Unwrap returns why waiting ended.
func (e *PendingError) Unwrap() error { return e.Err }

// RefusedError says that a peer that was waited for refused the change set. It stays here,
// and is offered again when the record or the rights change.
type RefusedError struct {
	LSN  crdt.LSN
	Peer PeerSync
}

// Error says who refused, and why.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the change set at %d was refused by %s: %s (%s); it is kept here, and offered again when the record or the rights change, or given up with abandon", e.LSN, e.Peer.Peer, e.Peer.LastError, e.Peer.Code)
}

// lacking names the peers that have not got it.
func lacking(peers []PeerSync) string {
	var names []string
	for _, p := range peers {
		if p.State == SyncSynced {
			continue
		}
		name := p.Link
		if p.Peer != (crdt.ReplicaID{}) {
			name = p.Peer.String()
		}
		if p.LastError != "" {
			name += " (" + p.LastError + ")"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "no peer is known yet"
	}
	return "not acknowledged by " + strings.Join(names, ", ")
}

// WaitFor returns when the log up to a position, and the change set there, are on the
// disk of the peers; if none are named, of all that count, see Outbox. It asks the peers
// that are connected to acknowledge at once. It makes no connection itself. When ctx ends
// first it returns a *PendingError, when a peer refuses the change set a *RefusedError;
// ErrWithdrawn when it is abandoned. When no link carries it, by what was agreed last, it
// returns a *PendingError with ErrLeftOut at once.
// What a peer holds that is no replica, a stream, is no receipt.
func (r *Replica) WaitFor(ctx context.Context, lsn crdt.LSN, peers ...crdt.ReplicaID) error {
	if lsn == 0 {
		return nil
	}
	ctx, done := r.scoped(ctx)
	defer done()
	wake, stop := r.observe()
	defer stop()
	for {
		rows, err := r.rowsAt(context.WithoutCancel(ctx), lsn)
		if err != nil {
			return &Error{Op: "wait", Err: err}
		}
		if withdrawn(rows) && len(rows[0].Data) > 0 { // what was forgotten may be elsewhere
			return &Error{Op: "wait", Err: ErrWithdrawn}
		}
		at, err := r.waited(ctx, rows, peers)
		if err != nil || at == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return &PendingError{LSN: lsn, Peers: at, Err: context.Cause(ctx)}
		case <-wake:
		}
	}
}

// rowsAt returns the change set at a position, with at least one row.
func (r *Replica) rowsAt(ctx context.Context, lsn crdt.LSN) (rows []persist.LogRow, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		if rows, err = rd.SetAt(lsn); err == nil && len(rows) == 0 {
			err = fmt.Errorf("the log does not reach to %d", lsn)
		}
		return err
	})
	return rows, translate(err)
}

// waited returns how far the peers are that are waited for; nil if all have the rows.
func (r *Replica) waited(ctx context.Context, rows []persist.LogRow, peers []crdt.ReplicaID) ([]PeerSync, error) {
	o, err := r.outlook(context.WithoutCancel(ctx), peers)
	if err != nil {
		return nil, &Error{Op: "wait", Err: err}
	}
	if len(peers) == 0 {
		o = o.counting()
	}
	state, at := o.of(rows)
	met, lsn := map[crdt.ReplicaID]bool{}, rows[len(rows)-1].LSN
	if state == SyncLeftOut {
		return nil, &PendingError{LSN: lsn, Peers: at, Err: ErrLeftOut}
	}
	for _, p := range at {
		met[p.Peer] = true
		if p.State == SyncLeftOut && len(peers) > 0 {
			return nil, &PendingError{LSN: lsn, Peers: at, Err: ErrLeftOut}
		}
		if p.State == SyncFailed {
			return nil, &RefusedError{LSN: lsn, Peer: p}
		}
	}
	all := true
	for _, id := range peers {
		if !met[id] {
			at, all = append(at, PeerSync{Peer: id, State: SyncPending}), false
		}
	}
	if all && state == SyncSynced {
		return nil, nil
	}
	r.hurry(o, lsn)
	return at, nil
}

// hurry asks the connected peers to acknowledge up to a position at once.
func (r *Replica) hurry(o *outlook, lsn crdt.LSN) {
	for _, p := range o.peers {
		if p.row.ID == 0 || p.row.Acked.LSN >= lsn {
			continue
		}
		r.sessMu.Lock()
		for s := range r.sessions {
			if s.peerID == p.row.ID {
				s.hasten(lsn)
			}
		}
		r.sessMu.Unlock()
	}
}

// hasten has the peer asked to acknowledge up to a position at once: with the next frame
// that is sent to it, and with one of its own when there is none. Once is enough.
func (s *session) hasten(lsn crdt.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lsn <= s.asked {
		return
	}
	s.asked, s.wanted = lsn, max(s.wanted, lsn)
	s.poke()
}
