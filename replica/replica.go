package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Replica is one file of records that can be read and written locally and that
// exchanges change sets with its peers. It is safe for concurrent use.
type Replica struct {
	store *persist.Store
	opts  Options
	id    crdt.ReplicaID
	epoch uint64
	hlc   *crdt.HLC
	w     writer // touched inside commit only, on the store's writer goroutine
	tail  *tailer

	counters *counters           // of Metrics
	packRoom *transport.PackRoom // what the sessions' packers may keep together
	rebuilds rebuilds
	indexing rebuilds // of indexes on fields
	digests  digests
	presence *presence
	control  *control
	compiled sync.Map // policies: collection and text -> *crdt.View
	schemas  sync.Map // of typed collections: reflect.Type -> *schema
	uuids    uuids

	resolverFailures atomic.Int64
	followers        atomic.Int64 // in use

	actor   atomic.Pointer[crdt.ActorID] // of this opening; nil before the first write
	actorMu sync.Mutex                   // serialises the first write's new incarnation

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // sessions, links and the tailer

	sessMu   sync.Mutex // guards sessions and closed
	sessions map[*session]struct{}
	closed   bool

	stirMu  sync.Mutex // guards stirs
	stirs   map[chan struct{}]struct{}
	stirred atomic.Int32 // how many of stirs there are

	draining atomic.Bool
	left     chan struct{} // a session is over; one slot
}

// Open opens the replica in the file at path, creating the file if there is
// none (its folder must exist).
func Open(ctx context.Context, path string, o *Options) (*Replica, error) {
	opts := o.withDefaults()
	store, err := persist.Open(ctx, path, &persist.Options{Synchronous: opts.Synchronous, Key: opts.Key})
	if err != nil {
		return nil, fmt.Errorf("open replica: %w", err)
	}
	r := &Replica{store: store, opts: opts, sessions: map[*session]struct{}{}, stirs: map[chan struct{}]struct{}{},
		left: make(chan struct{}, 1), rebuilds: newRebuilds(), indexing: newRebuilds(), control: newControl()}
	r.id, r.epoch = store.Identity()
	r.counters = opts.counters
	if bug(bugClockDragged) {
		opts.MaxClockAhead = 1 << 60
	}
	r.hlc = crdt.NewHLC(opts.Now, opts.MaxClockAhead)
	r.w.init(r)
	if err := r.wind(ctx); err != nil {
		store.Close()
		return nil, fmt.Errorf("open replica %s: %w", path, err)
	}
	r.tail = newTailer(store)
	r.presence = newPresence(r)
	r.packRoom = transport.NewPackRoom(packRoom)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.claim(ctx, opts.Space); err != nil {
		r.Close()
		return nil, fmt.Errorf("open replica %s: %w", path, err)
	}
	names, err := r.stale(ctx)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("open replica %s: %w", path, err)
	}
	if len(names) > 0 {
		r.rebuildSoon() // an earlier opening ended before it was done
	}
	if err := r.resumeIndexes(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("open replica %s: %w", path, err)
	}
	if opts.CompactEvery > 0 {
		r.goRun(r.compactRegularly)
	}
	return r, nil
}

// wind sets the clock behind what was last written, so that times do not go back
// when the wall clock does.
func (r *Replica) wind(ctx context.Context) error {
	return r.store.Read(ctx, func(rd *persist.Reader) error {
		rows, err := rd.Log(max(rd.Head().LSN-1, 0), 1, 1)
		for _, row := range rows {
			r.hlc.Observe(row.Time)
		}
		return err
	})
}

// claim makes sure that the file holds the space, if one is given.
func (r *Replica) claim(ctx context.Context, space string) error {
	if space == "" {
		return nil
	}
	have := ""
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		have, err = rd.Space()
		return err
	})
	switch {
	case err != nil || have == space:
		return err
	case have != "":
		return fmt.Errorf("the file holds the space %q, not %q", have, space)
	}
	return r.commit(ctx, 0, func(b *batch) error { return b.tx.SetSpace(space) })
}

// ID returns the replica's name.
func (r *Replica) ID() crdt.ReplicaID { return r.id }

// Path returns the file.
func (r *Replica) Path() string { return r.store.Path() }

// Close ends all sessions and watchers, waits for them and closes the file. It
// is safe to call more than once.
func (r *Replica) Close() error {
	r.sessMu.Lock()
	r.closed = true
	r.sessMu.Unlock()
	r.cancel()
	r.presence.close()
	r.wg.Wait()
	r.tail.close()
	if err := r.store.Close(); err != nil {
		return fmt.Errorf("close replica: %w", err)
	}
	return nil
}

// goRun runs fn on a goroutine that Close waits for; false after Close began.
func (r *Replica) goRun(fn func()) bool {
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(fn)
	return true
}

// scoped returns a context that ends with ctx or with the replica.
func (r *Replica) scoped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// translate turns the store's sentinels into ours.
func translate(err error) error {
	switch {
	case errors.Is(err, persist.ErrNested):
		return ErrNested
	case errors.Is(err, persist.ErrClosed):
		return ErrClosed
	}
	return err
}
