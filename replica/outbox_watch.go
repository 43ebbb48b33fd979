package replica

import (
	"context"
	"iter"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// WatchOutbox yields each change set of this replica that the filter wants whenever its
// state changes with any peer that counts (see Outbox), in log order: first those that are not
// acknowledged when the loop begins, as they are, then also those that are written from
// now on, each beginning with SyncPending. No state is left out on the way to SyncSynced or
// SyncFailed, however fast it goes; what is acknowledged is not told of again, nor what is
// abandoned once that was told. A slow loop delays nobody else. The sequence ends when ctx does, without an error, or after an error.
func (r *Replica) WatchOutbox(ctx context.Context, f OutboxFilter) iter.Seq2[Outgoing, error] {
	return func(yield func(Outgoing, error) bool) {
		ctx, done := r.scoped(ctx)
		defer done()
		wake, stop := r.observe()
		defer stop()
		w := &outboxWatch{r: r, filter: f}
		for {
			err := w.look(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Outgoing{}, &Error{Op: "watch outbox", Err: err})
				return
			}
			for _, out := range w.events {
				if !yield(out, nil) {
					return
				}
			}
			w.events = w.events[:0]
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
		}
	}
}

// outboxWatch is what a watcher of the outbox has seen.
type outboxWatch struct {
	r      *Replica
	filter OutboxFilter
	begun  bool
	pos    crdt.LSN // of the log
	view   int64    // the last view change: those tell of what was withdrawn
	sets   []*watchedSet
	events []Outgoing // to be yielded
}

// watchedSet is a change set that is not acknowledged.
type watchedSet struct {
	rows []persist.LogRow // without their data
	told Outgoing         // State "": nothing yet
}

// look finds out what has changed.
func (w *outboxWatch) look(ctx context.Context) error {
	first := !w.begun
	if err := w.review(ctx); err != nil {
		return err
	}
	if first {
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	if err := w.follow(ctx); err != nil {
		return err
	}
	// The outlook comes last: it knows of all that was sent of what was just read.
	o, err := w.r.outlook(ctx, w.filter.Peers)
	if err != nil {
		return err
	}
	if len(w.filter.Peers) == 0 {
		o = o.counting()
	}
	w.sets = slices.DeleteFunc(w.sets, func(s *watchedSet) bool {
		if withdrawn(s.rows) {
			if s.told.State != "" {
				s.told.State, s.told.Peers = SyncAbandoned, nil
				w.events = append(w.events, s.told)
			}
			return true
		}
		now := outgoing(o, s.rows)
		if first && now.State.over() {
			return true
		}
		w.tell(s, now, first)
		return now.State.over()
	})
	w.begun = true
	return nil
}

// begin notes what is not acknowledged.
func (w *outboxWatch) begin(ctx context.Context) error {
	_, at, err := w.r.outboxFrom(ctx, &w.filter)
	if err != nil {
		return err
	}
	for _, rows := range at.refused {
		w.add(rows)
	}
	w.pos = at.pos
	return nil
}

// follow notes what was written since.
func (w *outboxWatch) follow(ctx context.Context) error {
	for {
		sets, last, err := w.r.ownSets(ctx, w.pos)
		if err != nil || last == w.pos {
			return err
		}
		w.pos = last
		for _, rows := range sets {
			w.add(rows)
		}
	}
}

func (w *outboxWatch) add(rows []persist.LogRow) {
	if w.filter.wants(rows) {
		w.sets = append(w.sets, &watchedSet{rows: bare(rows)})
	}
}

// bare returns rows without their data.
func bare(rows []persist.LogRow) []persist.LogRow {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Data = nil
	}
	return rows
}

// review reads anew what is not acknowledged when something may have been withdrawn.
func (w *outboxWatch) review(ctx context.Context) error {
	return w.r.store.Read(ctx, func(rd *persist.Reader) error {
		view, err := rd.LastView()
		if err != nil || view == w.view {
			return err
		}
		w.view = view
		for _, s := range w.sets {
			rows, err := rd.SetAt(s.rows[0].LSN)
			if err != nil {
				return err
			}
			s.rows = bare(rows)
		}
		return nil
	})
}

// over reports whether nobody is waited for any more.
func (s SyncState) over() bool { return s == SyncSynced || s == SyncLeftOut }

// withdrawn reports whether nothing of a set is part of its record any more.
func withdrawn(rows []persist.LogRow) bool {
	return !slices.ContainsFunc(rows, func(l persist.LogRow) bool { return !l.Withdrawn() })
}

// tell has yielded what is new of a set, after the states that it must have gone through
// meanwhile: nothing is acknowledged or refused that was not sent before. What the loop
// finds when it begins is told as it is.
func (w *outboxWatch) tell(s *watchedSet, now Outgoing, first bool) {
	was := s.told.State
	if !first && was == "" && now.State != SyncPending {
		w.events = append(w.events, through(now, SyncPending))
		was = SyncPending
	}
	if was == SyncPending && (now.State == SyncSynced || now.State == SyncFailed) {
		w.events = append(w.events, through(now, SyncSyncing))
	}
	same := was == now.State && slices.Equal(s.told.Records, now.Records) && slices.Equal(s.told.Peers, now.Peers)
	if s.told = now; !same {
		w.events = append(w.events, now)
	}
}

// through returns the change set when it was in an earlier state.
func through(now Outgoing, state SyncState) Outgoing {
	now.State, now.Peers = state, slices.Clone(now.Peers)
	for i := range now.Peers {
		if p := &now.Peers[i]; p.State == SyncSynced || p.State == SyncFailed || state == SyncPending {
			p.State, p.Code = state, ""
		}
	}
	return now
}
