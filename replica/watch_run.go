package replica

import (
	"context"
	"errors"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// watchLoop is one loop over events. It keeps no events: it holds a position, and reads
// behind it when the loop asks for more.
type watchLoop struct {
	r       *Replica
	what    crdt.Key // as of ear
	latest  bool
	pos     crdt.LSN // what is up to it was told
	view    int64    // likewise
	follow  *follower
	members *members // of a query; nil: all that wants says
	yield   func(Event, error) bool
}

// errLoopEnded: the caller wants no more events.
var errLoopEnded = errors.New("the loop has ended")

// run yields events until the loop or ctx ends.
func (w *watchLoop) run(ctx context.Context, prepare func(*watchLoop) error) error {
	ctx, stop := w.r.scoped(ctx)
	defer stop()
	wake := make(chan struct{}, 1)
	ear := w.r.tail.listen(func() { signal(wake) }, w.what, true)
	defer w.r.tail.unlisten(ear)
	w.follow = newFollower(w.r)
	defer w.follow.end()
	if prepare != nil {
		if err := prepare(w); err != nil && ctx.Err() == nil {
			return err
		}
	}
	for {
		more, err := w.step(ctx, ear)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
	}
}

func (w *watchLoop) give(ev Event) error {
	if !w.yield(ev, nil) {
		return errLoopEnded
	}
	return nil
}

// read runs fn on a snapshot in which members is able to judge.
func (w *watchLoop) read(ctx context.Context, fn func(*persist.Reader) error) error {
	if w.members != nil {
		return w.members.read(ctx, fn)
	}
	return w.r.store.Read(ctx, fn)
}

// step tells of the next rows of the log, or if there are none of view changes. more is
// false if there were none of these either.
func (w *watchLoop) step(ctx context.Context, ear *ear) (more bool, err error) {
	w.pos = w.r.tail.skip(ear, w.pos)
	rows, err := w.r.tail.after(ctx, w.pos, true)
	if err != nil {
		return false, err
	}
	if len(rows) > 0 {
		return true, w.changes(ctx, rows)
	}
	if w.r.tail.viewed(w.view) {
		return false, nil
	}
	return w.views(ctx)
}

func (w *watchLoop) changes(ctx context.Context, rows []persist.LogRow) error {
	if rows[0].LSN != w.pos+1 {
		return ErrPosition
	}
	for i := range rows {
		if w.wants(rows[i].Key) {
			ev, told, err := w.change(ctx, &rows[i])
			if told && err == nil {
				err = w.give(ev)
			}
			if err != nil {
				return err
			}
		}
		w.pos = rows[i].LSN
	}
	if bug(bugWatchAhead) && w.pos%8 == 0 {
		w.pos++
	}
	return nil
}

func (w *watchLoop) wants(k crdt.Key) bool {
	return w.what == k || w.what.ID == "" && (w.what.Collection == "" || w.what.Collection == k.Collection)
}

// change returns the event of a log row; told is false if there is none.
func (w *watchLoop) change(ctx context.Context, row *persist.LogRow) (ev Event, told bool, err error) {
	if row.Withdrawn() && (!w.latest || len(row.Data) == 0) {
		return ev, false, nil
	}
	err = w.read(ctx, func(rd *persist.Reader) error {
		ev = Event{LSN: row.LSN, Key: row.Key, Hash: row.Hash, Time: row.Time, Origin: Origin{Local: row.Source == 0}}
		rec, err := w.show(rd, &ev)
		if err != nil || w.latest && rec != nil && rec.LSN > row.LSN {
			return err
		}
		if told, err = w.judge(ctx, rd, row.RID, &ev); err != nil || !told {
			w.follow.forget(row.Key)
			return err
		}
		ev.Position = Position{crdt.Cursor{Epoch: w.r.epoch, LSN: row.LSN, Chain: row.Chain}, w.view}
		return w.tell(rd, &ev, row)
	})
	return ev, told, err
}

// judge reports whether the event is to be told.
func (w *watchLoop) judge(ctx context.Context, rd *persist.Reader, rid int64, ev *Event) (bool, error) {
	if w.members == nil {
		return true, nil
	}
	err := w.members.step(ctx, rd, rid, ev)
	return ev.Query != QueryNone, err
}

// show reads what there is of the event's record now.
func (w *watchLoop) show(rd *persist.Reader, ev *Event) (*persist.Record, error) {
	ev.Deleted = true
	rec, err := rd.Record(ev.Key)
	if rec == nil || err != nil {
		return nil, err
	}
	v, err := w.r.loadView(rd, ev.Key.Collection)
	if err != nil {
		return nil, err
	}
	ev.Value, err = w.r.value(rd, rec, v)
	ev.Deleted, ev.Conflicts = ev.Value == nil, rec.Conflicts
	return rec, err
}

// tell fills in what the row says of its change.
func (w *watchLoop) tell(rd *persist.Reader, ev *Event, row *persist.LogRow) error {
	c, err := crdt.ParseChange(row.Data)
	if err != nil {
		return recordError("watch", row.Key, err)
	}
	ev.Actor = c.Actor()
	if row.Source > 0 {
		p, err := rd.PeerByID(row.Source)
		if err != nil {
			return err
		}
		ev.Origin.Peer = p.Replica
	}
	if w.latest {
		return nil
	}
	ev.Diff, ev.Conflict, err = w.follow.differences(rd, row, c)
	return err
}

// viewPage bounds how many view changes are read at once.
const viewPage = 256

// views tells of the next view changes, and reports whether there were any.
func (w *watchLoop) views(ctx context.Context) (more bool, err error) {
	var events []Event
	last, missed := w.view, false
	err = w.read(ctx, func(rd *persist.Reader) error {
		newest, err := rd.LastView()
		if missed = w.members != nil && newest-w.view > persist.MaxViews; missed || err != nil {
			return err
		}
		events, last, err = w.viewEvents(ctx, rd)
		return err
	})
	if missed && err == nil {
		return true, w.missed(ctx)
	}
	if err != nil {
		return false, err
	}
	more = last != w.view
	for _, ev := range events {
		w.view = ev.Position.View
		if err := w.give(ev); err != nil {
			return false, err
		}
	}
	w.view = last
	return more, nil
}

// viewEvents returns the events of the next view changes, and the last of these.
func (w *watchLoop) viewEvents(ctx context.Context, rd *persist.Reader) (events []Event, last int64, err error) {
	last = w.view
	at, _ := rd.CursorAt(w.pos)
	for v, err := range rd.Views(w.view, viewPage) {
		if err != nil {
			return nil, last, err
		}
		last = v.Seq
		if v.Key.Collection == "" || !w.wants(v.Key) { // the name of a purged record is gone
			continue
		}
		ev := Event{Kind: EventView, LSN: v.LSN, Key: v.Key, Position: Position{at, v.Seq}}
		rec, err := w.show(rd, &ev)
		if err != nil {
			return nil, last, err
		}
		if rec == nil || w.latest && rec.LSN > w.pos {
			continue
		}
		told, err := w.judge(ctx, rd, rec.RID, &ev)
		if err != nil {
			return nil, last, err
		}
		if told {
			events = append(events, ev)
		}
	}
	return events, last, nil
}
