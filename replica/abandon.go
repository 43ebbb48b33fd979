package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

var (
	// ErrNotRefused: there is nothing to be abandoned.
	ErrNotRefused = errors.New("no peer has refused anything of the record")
	// ErrWithdrawn: the change set is not part of this replica any more, see Abandon.
	ErrWithdrawn = errors.New("the change set was withdrawn")
)

// errRetired: the transaction's actor may write no more.
var errRetired = errors.New("the incarnation has ended")

// HeldError says that a change is not to be abandoned, since somebody has it, or is being
// sent it: it would come back.
type HeldError struct {
	Key  crdt.Key
	Hash crdt.Hash // of the change
	Peer crdt.ReplicaID
}

// Error says who has it.
func (e *HeldError) Error() string {
	return fmt.Sprintf("the change %s of %s is held by %s: delete or edit what it wrote, instead of abandoning it", e.Hash, e.Key, e.Peer)
}

// Abandoned says what Abandon withdrew.
type Abandoned struct {
	Changes int
	Records []crdt.Key // of which these were
}

// Abandon gives up what peers refused (see Refusals), for each of the records the change
// sets that were refused with a change of it: these are withdrawn here, whole, with all
// that builds on them, and the records show again what the peers have. One that nobody
// else has anything of is then as if it had never been. Watchers are told with EventView.
//
// The marker of a purge is given up like anything else, and the purge with it: the records
// come back with the next session from who has them, edits that nobody has do not.
//
// keep, unless nil, runs on top of that, in the same transaction: what it writes is a new
// change set, which is sent like any other. What is to be kept is read before: keep sees
// the records without it. It may be called more than once; only the last call counts.
//
// ErrNotRefused if nothing of a record was refused; a *HeldError if another peer than
// those that refused a change has it, or is being sent it; then nothing is withdrawn. A
// carrier is no such peer: what it was handed, and what a bundle or backup holds, may come
// back, and is then taken like any other change.
func (r *Replica) Abandon(ctx context.Context, keys []crdt.Key, keep func(*Tx) error) (Abandoned, error) {
	var done Abandoned
	var before crdt.ActorID // that may have written what was purged
	err := r.Update(ctx, func(tx *Tx) error {
		sessions, links := r.glimpses()
		o, err := r.outlookAt(&tx.b.tx.Reader, sessions, links, nil)
		if err != nil {
			return err
		}
		w, err := tx.b.abandoned(o, keys)
		if err != nil {
			return err
		}
		if w.wrote(tx.actor) || w.lifts() && before == "" {
			before = tx.actor
			r.retire(tx.actor)
			return errRetired
		}
		if w.lifts() { // who wrote what was purged is not known any more
			if err := tx.b.tx.RetireOthers(tx.actor); err != nil {
				return err
			}
		}
		if err := w.withdraw(); err != nil {
			return err
		}
		done = Abandoned{Changes: w.changes, Records: w.order}
		if keep == nil {
			return nil
		}
		return keep(tx)
	})
	if err != nil {
		return Abandoned{}, err
	}
	return done, nil
}

// abandoned returns what goes when all that was refused of the records does.
func (b *batch) abandoned(o *outlook, keys []crdt.Key) (*withdrawal, error) {
	w := newWithdrawal(b)
	for _, k := range keys {
		if err := k.Valid(); err != nil {
			return nil, recordError("abandon", k, err)
		}
		if forked, err := isForked(&b.tx.Reader, k); err != nil || forked {
			return nil, recordError("abandon", k, errors.Join(err, errors.New("it is forked: repair that first")))
		}
		if err := w.addRefused(o, k); err != nil {
			return nil, recordError("abandon", k, err)
		}
	}
	if err := w.spread(); err != nil {
		return nil, err
	}
	for _, p := range o.peers {
		if err := w.heldBy(p); err != nil {
			return nil, err
		}
	}
	return w, w.heldByAuthors()
}

// addRefused adds the sets that were refused with a change of the record.
func (w *withdrawal) addRefused(o *outlook, k crdt.Key) error {
	rec, err := w.record(k)
	if err != nil {
		return err
	}
	found := false
	for _, p := range o.peers {
		for change, f := range p.refused {
			if !isRefusal(f.Code) {
				continue
			}
			rows, err := w.setOf(change)
			if err != nil {
				return err
			}
			for i := range rows {
				if rows[i].Key == k && !rows[i].Withdrawn() {
					found = true
					if err := w.add(rec, rows[i].Hash); err != nil {
						return err
					}
					break
				}
			}
		}
	}
	if !found {
		return ErrNotRefused
	}
	return nil
}

// setOf returns the rows of the set of a change, none if that is not in its record's
// history.
func (w *withdrawal) setOf(c refusedChange) ([]persist.LogRow, error) {
	lsn, err := rowOf(&w.b.tx.Reader, c)
	if err != nil || lsn == 0 {
		return nil, err
	}
	return w.b.tx.SetAt(lsn)
}

// heldBy returns an error if the peer has something of it. What it refused it has not,
// nor what builds on that.
func (w *withdrawal) heldBy(p *outlookPeer) error {
	lacks := newWithdrawal(w.b)
	for change, f := range p.refused {
		rec := w.records[change.key]
		if !isRefusal(f.Code) || rec == nil || !rec.gone[change.hash] {
			continue
		}
		rec, err := lacks.record(change.key)
		if err == nil {
			err = lacks.add(rec, change.hash)
		}
		if err != nil {
			return err
		}
	}
	if err := lacks.spread(); err != nil {
		return err
	}
	for _, rows := range w.sets {
		at := p.of(w.b.w.r, rows)
		for i := range rows {
			row := &rows[i]
			if row.Withdrawn() || lacks.has(row.Key, row.Hash) || at.Carrier {
				continue
			}
			if waits := at.Code == codeParked; waits || at.State != SyncSynced && at.State != SyncSyncing {
				continue
			}
			return &HeldError{Key: row.Key, Hash: row.Hash, Peer: at.Peer}
		}
	}
	return nil
}

// heldByAuthors returns an error if something of it came from a peer.
func (w *withdrawal) heldByAuthors() error {
	for _, rows := range w.sets {
		if rows[0].Source <= 0 {
			continue
		}
		p, err := w.b.tx.PeerByID(rows[0].Source)
		if err != nil {
			return err
		}
		return &HeldError{Key: rows[0].Key, Hash: rows[0].Hash, Peer: p.Replica}
	}
	return nil
}

// unrefuse has the open sessions know no more of refusals of what was withdrawn.
func (r *Replica) unrefuse(w *withdrawal) {
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	for s := range r.sessions {
		s.mu.Lock()
		for change := range s.refused {
			if w.has(change.key, change.hash) {
				s.lift(change)
			}
		}
		s.mu.Unlock()
	}
}
