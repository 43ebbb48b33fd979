package replica

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// EventKind says what an Event tells of.
type EventKind int

const (
	// EventChange is a change of the record's history.
	EventChange EventKind = iota
	// EventView tells that the record shows something else because another policy
	// holds for it now. Its history is what it was: Hash, Actor, Origin, Time and Diff
	// are empty.
	EventView
)

// Event tells of one change of one record.
type Event struct {
	Kind    EventKind
	LSN     crdt.LSN
	Key     crdt.Key
	Hash    crdt.Hash
	Actor   crdt.ActorID
	Origin  Origin
	Time    int64           // the author's clock, milliseconds since 1970
	Deleted bool            // there is no record any more
	Value   json.RawMessage // the stored view when the event was delivered; nil if Deleted
	// Diff is what this change made different in what the collection's policy
	// shows. It may be empty: the change lost a conflict, or set what was there.
	Diff []crdt.Difference
}

// Origin says how a change came into this file.
type Origin struct {
	Local bool           // written here, by this or another process
	Peer  crdt.ReplicaID // else: the peer that sent it, not always its author
}

// Watch yields the changes of a collection ("" for all) that are committed from
// now on, by this or another process, local or received, each once and in log
// order. Now is when Watch is called, not when the loop begins. A slow loop
// delays nobody else. View events come when the stored value was rebuilt, behind
// the changes committed before; a loop that is persist.MaxViews of them behind misses
// the oldest. The sequence ends when ctx does, without an error, or
// after an error.
func (r *Replica) Watch(ctx context.Context, collection string) iter.Seq2[Event, error] {
	var from crdt.Cursor
	var view int64
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		from = rd.Head()
		view, err = rd.LastView()
		return err
	})
	return func(yield func(Event, error) bool) {
		if err != nil {
			yield(Event{}, translate(err))
			return
		}
		r.watch(ctx, collection, from.LSN, view, yield)
	}
}

func (r *Replica) watch(ctx context.Context, collection string, pos crdt.LSN, view int64, yield func(Event, error) bool) {
	ctx, stop := r.scoped(ctx)
	defer stop()
	want := func(row *persist.LogRow) bool { return collection == "" || row.Key.Collection == collection }
	wake := make(chan struct{}, 1)
	ear := r.tail.listen(func() { signal(wake) }, want, true)
	defer r.tail.unlisten(ear)
	follow := newFollower(r)
	for {
		rows, err := r.tail.after(ctx, pos, true)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			yield(Event{}, err)
			return
		}
		for i := range rows {
			pos = rows[i].LSN
			if !want(&rows[i]) || rows[i].Withdrawn() {
				continue
			}
			ev, err := r.event(ctx, follow, &rows[i])
			if ctx.Err() != nil || !yield(ev, err) || err != nil {
				return
			}
		}
		if len(rows) > 0 {
			continue
		}
		if !r.tail.viewed(view) {
			events, last, err := r.viewEvents(ctx, collection, view)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			moved := last != view
			view = last
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
			if moved {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
	}
}

// viewEvents returns the events of view changes behind one, and the last of these.
func (r *Replica) viewEvents(ctx context.Context, collection string, after int64) (events []Event, last int64, err error) {
	last = after
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		for v, err := range rd.Views(after, viewPage) {
			if err != nil {
				return err
			}
			last = v.Seq
			if collection != "" && v.Key.Collection != collection {
				continue
			}
			ev := Event{Kind: EventView, LSN: v.LSN, Key: v.Key}
			if ev.Value, err = r.stored(rd, v.Key); err != nil {
				return err
			}
			ev.Deleted = ev.Value == nil
			events = append(events, ev)
		}
		return nil
	})
	return events, last, translate(err)
}

// viewPage bounds how many view changes are read at once.
const viewPage = 256

func (r *Replica) event(ctx context.Context, follow *follower, row *persist.LogRow) (Event, error) {
	ev := Event{LSN: row.LSN, Key: row.Key, Hash: row.Hash, Time: row.Time, Origin: Origin{Local: row.Source == 0}}
	c, err := crdt.ParseChange(row.Data)
	if err != nil {
		return ev, recordError("watch", row.Key, err)
	}
	ev.Actor = c.Actor()
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		if !ev.Origin.Local {
			p, err := rd.PeerByID(row.Source)
			if err != nil {
				return err
			}
			ev.Origin.Peer = p.Replica
		}
		if ev.Value, err = r.stored(rd, row.Key); err != nil {
			return err
		}
		ev.Diff, err = follow.differences(rd, row, c)
		return err
	})
	ev.Deleted = ev.Value == nil
	return ev, translate(err)
}
