package replica

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Outgoing is a change set of this replica and how far it is on its way to its peers.
type Outgoing struct {
	Set     crdt.SetID
	LSN     crdt.LSN  // of its last change: what WaitFor takes
	Time    time.Time // of writing, by this replica's clock
	Records []crdt.Key
	State   SyncState  // with all peers that count, see Outbox
	Peers   []PeerSync // those
}

// OutboxFilter narrows what Outbox and WatchOutbox tell of. The zero value means all
// that is not acknowledged.
type OutboxFilter struct {
	Collection string           // "" for all
	ID         string           // of one record of the collection; "" for all
	Peers      []crdt.ReplicaID // that count; empty: as Outbox says
	Synced     bool             // list what is acknowledged or left out too, if it is not behind ClearOutbox
}

func (f *OutboxFilter) wants(rows []persist.LogRow) bool {
	return slices.ContainsFunc(rows, func(l persist.LogRow) bool {
		return shown(&l) && (f.Collection == "" || f.Collection == l.Key.Collection) && (f.ID == "" || f.ID == l.Key.ID)
	})
}

// Outbox yields this replica's change sets that not all peers that count have on disk,
// oldest first, and says why: not sent yet, under way, or refused. The peers that count
// are those that this replica dials, and if there are none, those that dial it; without
// any, all is pending; a peer that is not sent a record does not count for it. Nothing is
// kept for it: it follows from how far each peer has read the log, so what is acknowledged
// is gone from it. Nor is what was made and deleted before anybody was shown it in it,
// which is not sent (ReasonUnseen). It is no snapshot: pages are read as the loop goes on.
func (r *Replica) Outbox(ctx context.Context, f OutboxFilter) iter.Seq2[Outgoing, error] {
	return func(yield func(Outgoing, error) bool) {
		o, from, err := r.outboxFrom(ctx, &f)
		if err != nil {
			yield(Outgoing{}, &Error{Op: "outbox", Err: err})
			return
		}
		for _, rows := range from.refused {
			out := outgoing(o, rows)
			if f.wants(rows) && !yield(out, nil) {
				return
			}
		}
		for pos := from.pos; ; {
			sets, last, err := r.ownSets(ctx, pos)
			if err != nil {
				yield(Outgoing{}, &Error{Op: "outbox", Err: err})
				return
			}
			if last == pos {
				return
			}
			pos = last
			for _, rows := range sets {
				out := outgoing(o, rows)
				if f.wants(rows) && (!out.State.over() || f.Synced && out.LSN > from.cleared) && !yield(out, nil) {
					return
				}
			}
		}
	}
}

// outboxStart is where the outbox begins.
type outboxStart struct {
	pos     crdt.LSN           // behind this there may be something
	refused [][]persist.LogRow // sets up to there that were refused, in order
	cleared crdt.LSN
}

func (r *Replica) outboxFrom(ctx context.Context, f *OutboxFilter) (o *outlook, at outboxStart, err error) {
	o, err = r.outlook(ctx, f.Peers)
	if err != nil {
		return nil, at, err
	}
	if len(f.Peers) == 0 {
		o = o.counting()
	}
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		if at.cleared, err = rd.OutboxCleared(); err != nil {
			return err
		}
		at.pos = o.acked(rd.Head().LSN)
		if f.Synced {
			at.pos = min(at.pos, at.cleared)
		}
		at.refused, err = o.refusedUpTo(rd, at.pos)
		return err
	})
	return o, at, translate(err)
}

// refusedUpTo returns the refused change sets up to a position, in order.
func (o *outlook) refusedUpTo(rd *persist.Reader, pos crdt.LSN) (sets [][]persist.LogRow, err error) {
	seen := map[crdt.LSN]bool{}
	for _, p := range o.peers {
		for change := range p.refused {
			lsn, err := rowOf(rd, change)
			if err != nil {
				return nil, err
			}
			if lsn == 0 || lsn > pos {
				continue
			}
			rows, err := rd.SetAt(lsn)
			if err != nil {
				return nil, err
			}
			if last := rows[len(rows)-1].LSN; !seen[last] && last <= pos && own(&rows[0]) {
				seen[last] = true
				sets = append(sets, rows)
			}
		}
	}
	slices.SortFunc(sets, func(a, b []persist.LogRow) int { return int(a[0].LSN - b[0].LSN) })
	return sets, nil
}

// rowOf returns the position of a change in the log, 0 if it is not in its record's
// history.
func rowOf(rd *persist.Reader, c refusedChange) (crdt.LSN, error) {
	rec, err := rd.Record(c.key)
	if err != nil || rec == nil {
		return 0, err
	}
	for row, err := range rd.ChangesBack(rec.RID) {
		if err != nil || row.Hash == c.hash {
			return row.LSN, err
		}
	}
	return 0, nil
}

// own reports whether the row was written here, withdrawn or not.
func own(row *persist.LogRow) bool { return row.Source == 0 || row.Source == -1 }

// ownSets reads the next change sets of this replica, and where the page ends.
func (r *Replica) ownSets(ctx context.Context, pos crdt.LSN) (sets [][]persist.LogRow, last crdt.LSN, err error) {
	rows, err := r.tail.after(ctx, pos, false)
	last = pos
	for len(rows) > 0 {
		n := setRows(rows)
		if own(&rows[0]) {
			sets = append(sets, rows[:n])
		}
		last, rows = rows[n-1].LSN, rows[n:]
	}
	return sets, last, err
}

func outgoing(o *outlook, rows []persist.LogRow) Outgoing {
	last := rows[len(rows)-1]
	out := Outgoing{Set: last.Set, LSN: last.LSN, Time: time.UnixMilli(last.Time)}
	for i := range rows {
		if shown(&rows[i]) {
			out.Records = append(out.Records, rows[i].Key)
		}
	}
	out.State, out.Peers = o.of(rows)
	return out
}

// ClearOutbox has Outbox with OutboxFilter.Synced, and WatchOutbox, not tell any more of
// what is acknowledged by now. What is not acknowledged stays listed.
func (r *Replica) ClearOutbox(ctx context.Context) error {
	err := r.commit(ctx, 0, func(b *batch) error { return b.tx.ClearOutbox(b.tx.Head().LSN) })
	if err != nil {
		return &Error{Op: "clear outbox", Err: err}
	}
	return nil
}
