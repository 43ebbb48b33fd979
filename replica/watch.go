package replica

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"

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
	// EventContents tells of a record that a query selected when WatchQuery began; see
	// Contents. LSN is that of the beginning.
	EventContents
	// EventReady: all contents were told. There is no record.
	EventReady
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
	// Conflict says whether this change made the record have a conflict, or rid it of one.
	Conflict ConflictStep
	// Conflicts is how many conflicts the record had when the event was delivered.
	Conflicts int
	Query     QueryStep // what became of the record, in events of WatchQuery
	// Position is where From goes on behind this event.
	Position Position
}

// Origin says how a change came into this file.
type Origin struct {
	Local bool           // written here, by this or another process
	Peer  crdt.ReplicaID // else: the peer that sent it, not always its author
}

// ConflictStep says what a change did to the conflicts of a record.
type ConflictStep int

const (
	// ConflictSame: there are as many as before.
	ConflictSame ConflictStep = iota
	// ConflictDetected: there are more.
	ConflictDetected
	// ConflictResolved: there are fewer.
	ConflictResolved
)

func conflictStep(before, after int) ConflictStep {
	switch {
	case after > before:
		return ConflictDetected
	case after < before:
		return ConflictResolved
	}
	return ConflictSame
}

// Position is how far a loop over events has come in one file. It is to be kept as it
// is, for instance as JSON.
type Position struct {
	Log  crdt.Cursor // an Epoch of 0 is any, and then the Chain is not looked at, nor View
	View int64       // the last view change
}

// WatchOption says how to watch.
type WatchOption func(*watchOptions)

type watchOptions struct {
	from     *Position
	latest   bool
	contents bool
}

func optionsOf(opts []WatchOption) *watchOptions {
	o := new(watchOptions)
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// From has a watch begin behind an event of an earlier one, with no event lost or
// repeated. If the log does not hold the position, since it is of another file, of one
// that was put back, or too old, the watch ends with ErrPosition: read what there is,
// and watch from now on.
func From(p Position) WatchOption { return func(o *watchOptions) { o.from = &p } }

// Latest is for screens: a record's change is told of only if no later one is in the
// log, so that a loop slower than the changes meets the newest state of each record and
// none in between. Diff is empty and Conflict ConflictSame.
func Latest() WatchOption { return func(o *watchOptions) { o.latest = true } }

// Contents has WatchQuery begin with what the query selects, in its order, and an
// EventReady; what changes meanwhile comes behind that, and nothing is missed. To go on
// with From is good behind EventReady only. It does nothing to a watch with From, nor to
// others than WatchQuery.
func Contents() WatchOption { return func(o *watchOptions) { o.contents = true } }

// Watch yields the changes of a collection ("" for all) that are committed from
// now on, by this or another process, local or received, each once and in log
// order. Now is when Watch is called, not when the loop begins. A slow loop
// delays nobody else, and what it has not come to is not held in memory. View events
// come when the stored value was rebuilt, or the record forgotten or purged, behind
// the changes committed before; a loop that is persist.MaxViews of them behind misses
// the oldest. The sequence ends when ctx does, without an error, or
// after an error.
func (r *Replica) Watch(ctx context.Context, collection string, opts ...WatchOption) iter.Seq2[Event, error] {
	return r.watch(ctx, crdt.Key{Collection: collection}, opts)
}

// WatchRecord is Watch for one record, which need not exist yet.
func (r *Replica) WatchRecord(ctx context.Context, k crdt.Key, opts ...WatchOption) iter.Seq2[Event, error] {
	if err := k.Valid(); err != nil {
		return failed(recordError("watch", k, err))
	}
	return r.watch(ctx, k, opts)
}

func failed(err error) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) { yield(Event{}, err) }
}

func (r *Replica) watch(ctx context.Context, what crdt.Key, opts []WatchOption) iter.Seq2[Event, error] {
	o := optionsOf(opts)
	var from Position
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		from, err = o.begin(rd)
		return err
	})
	if err != nil {
		return failed(watchError(what, err))
	}
	return r.loop(ctx, what, o, from, nil)
}

// loop returns the events behind a position. prepare, if not nil, is called when a loop
// begins that listens already.
func (r *Replica) loop(ctx context.Context, what crdt.Key, o *watchOptions, from Position, prepare func(*watchLoop) error) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := &watchLoop{r: r, what: what, latest: o.latest, pos: from.Log.LSN, view: from.View, yield: yield}
		if err := w.run(ctx, prepare); err != nil && !errors.Is(err, errLoopEnded) {
			yield(Event{}, watchError(what, err))
		}
	}
}

func watchError(what crdt.Key, err error) error {
	err = translate(err)
	if what.ID != "" {
		return recordError("watch", what, err)
	}
	return &Error{Op: strings.TrimSuffix("watch "+what.Collection, " "), Err: err}
}

// begin returns where a watch begins.
func (o *watchOptions) begin(rd *persist.Reader) (Position, error) {
	view, err := rd.LastView()
	if err != nil || o.from == nil {
		return Position{Log: rd.Head(), View: view}, err
	}
	from, head := *o.from, rd.Head()
	if from.Log.LSN < 0 || from.Log.LSN > head.LSN {
		return from, ErrPosition
	}
	if from.Log.Epoch == 0 {
		from.View, err = viewsBefore(rd, from.Log.LSN)
		return from, err
	}
	at, ok := rd.CursorAt(from.Log.LSN)
	if !ok || at != from.Log || from.View > view || view-from.View > persist.MaxViews {
		return from, ErrPosition
	}
	return from, nil
}

// viewsBefore returns the last view change before the log reached a position.
func viewsBefore(rd *persist.Reader, lsn crdt.LSN) (last int64, err error) {
	for v, err := range rd.Views(0, 0) {
		if err != nil || v.LSN >= lsn {
			return last, err
		}
		last = v.Seq
	}
	return last, nil
}
