package replica

import (
	"context"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// QueryStep says what an event of WatchQuery did to what the query selects.
type QueryStep int

const (
	// QueryNone: the event is not of a query.
	QueryNone QueryStep = iota
	// QueryEnter: the record is selected now, and was not before.
	QueryEnter
	// QueryUpdate: the record is selected as before, and has changed.
	QueryUpdate
	// QueryLeave: the record is not selected any more. Value is what it shows, if it exists.
	QueryLeave
)

// WatchQuery is Watch for what a query selects: a record enters, is updated while it is
// in, and leaves, by a change or by another policy. Event.Query says which; changes of
// other records are not told of. Whether a record is in is looked at when the loop comes
// to the change, so that one that came and went meanwhile is not told of either. A loop
// that is persist.MaxViews view changes behind is told of all that is in, as updated.
//
// A query with a Limit, Offset or After cannot be watched: a *QueryError. About a bit for
// each record of the collection is held in memory. With From, the first event of each
// record says that it enters or leaves, also if the loop before was told so: to set and
// to remove it is right whatever the loop holds.
func (r *Replica) WatchQuery(ctx context.Context, q Query, opts ...WatchOption) iter.Seq2[Event, error] {
	o, what := optionsOf(opts), crdt.Key{Collection: q.Collection}
	var from Position
	var rids []int64
	err := watchable(&q)
	if err == nil {
		err = r.readQuery(ctx, q, func(rd *persist.Reader) (err error) {
			if from, err = o.begin(rd); err == nil {
				rids, err = rd.QueryRIDs(ctx, q.stored())
			}
			return err
		})
	}
	if err != nil {
		return failed(watchError(what, err))
	}
	return r.loop(ctx, what, o, from, func(w *watchLoop) error {
		w.members = &members{r: r, q: q, resumed: o.from != nil, in: numbers{}, known: numbers{}}
		switch {
		case o.from != nil:
			return nil
		case o.contents:
			if err := w.all(ctx, rids, EventContents); err != nil {
				return err
			}
			return w.give(Event{Kind: EventReady, LSN: from.Log.LSN, Position: from})
		}
		for _, rid := range rids {
			w.members.in.set(rid, true)
		}
		return nil
	})
}

// watchable reports what is wrong with watching a query.
func watchable(q *Query) error {
	if q.Limit != 0 || q.Offset != 0 || q.After.Key.ID != "" {
		return &QueryError{Reason: "it has a limit, an offset or a place to go on behind, and cannot be watched with it"}
	}
	return nil
}

// members are the records that a query selects, as its watcher was told.
type members struct {
	r       *Replica
	q       Query
	resumed bool    // in tells only of what known holds
	in      numbers // RIDs
	known   numbers
}

// read runs fn on a snapshot in which the query's full text, if it has one, is up to date.
func (m *members) read(ctx context.Context, fn func(*persist.Reader) error) error {
	if m.q.Where.Searches() {
		return m.r.readQuery(ctx, m.q, fn)
	}
	return m.r.store.Read(ctx, fn)
}

// step says in the event what became of the record, and notes it.
func (m *members) step(ctx context.Context, rd *persist.Reader, rid int64, ev *Event) error {
	is, err := m.r.matches(ctx, rd, m.q, rid, ev.Key.ID, ev.Value)
	if err != nil {
		return err
	}
	was := m.in.has(rid)
	if m.resumed && !m.known.has(rid) {
		was = !is // the loop before may have seen later states than its position says
	}
	ev.Query = stepOf(was, is)
	m.in.set(rid, is)
	m.known.set(rid, true)
	return nil
}

func stepOf(was, is bool) QueryStep {
	switch {
	case is && was:
		return QueryUpdate
	case is:
		return QueryEnter
	case was:
		return QueryLeave
	}
	return QueryNone
}

// all tells of the records that a query was found to select, and still does.
func (w *watchLoop) all(ctx context.Context, rids []int64, kind EventKind) error {
	m := w.members
	for len(rids) > 0 {
		some := rids[:min(len(rids), listPage)]
		rids = rids[len(some):]
		shown := make(map[int64]Event, len(some))
		err := m.read(ctx, func(rd *persist.Reader) error {
			at, _ := rd.CursorAt(w.pos)
			for v, err := range rd.QueryAt(ctx, m.q.stored(), some) {
				if err != nil {
					return err
				}
				ev := Event{Kind: kind, LSN: w.pos, Key: crdt.Key{Collection: m.q.Collection, ID: v.ID}, Position: Position{at, w.view}}
				if _, err := w.show(rd, &ev); err != nil {
					return err
				}
				shown[v.RID] = ev
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, rid := range some {
			ev, ok := shown[rid]
			if !ok {
				continue // it has left, which the log tells
			}
			ev.Query = stepOf(m.in.has(rid), true)
			m.in.set(rid, true)
			m.known.set(rid, true)
			if err := w.give(ev); err != nil {
				return err
			}
		}
	}
	return nil
}

// missed tells of all that the query selects, since view changes are gone that the loop
// did not come to.
func (w *watchLoop) missed(ctx context.Context) error {
	m := w.members
	if m.resumed {
		return ErrPosition // what the loop holds is not known
	}
	var rids []int64
	var gone []Event
	var last int64
	err := m.r.readQuery(ctx, m.q, func(rd *persist.Reader) (err error) {
		gone = nil
		if last, err = rd.LastView(); err != nil {
			return err
		}
		if rids, err = rd.QueryRIDs(ctx, m.q.stored()); err != nil {
			return err
		}
		left := m.in.without(rids)
		at, _ := rd.CursorAt(w.pos)
		for rid := range left.all() {
			it, ok, err := rd.ItemAt(rid)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			ev := Event{Kind: EventView, LSN: w.pos, Key: it.Key, Query: QueryLeave, Position: Position{at, w.view}}
			if _, err := w.show(rd, &ev); err != nil {
				return err
			}
			m.in.set(rid, false)
			gone = append(gone, ev)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ev := range gone {
		if err := w.give(ev); err != nil {
			return err
		}
	}
	if err := w.all(ctx, rids, EventView); err != nil {
		return err
	}
	w.view = last
	return nil
}
