package replica

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// FetchStrategy says what Get, All, Query and Count of a collection do about the peers.
// They always read the file and nothing else; a strategy says whether that is brought up
// to date, before or behind that. The zero value is FetchLocal.
type FetchStrategy struct {
	when    fetchWhen
	timeout time.Duration
	pause   time.Duration
}

type fetchWhen int

const (
	fetchNever fetchWhen = iota
	fetchBehind
	fetchBefore
)

// FetchLocal has reads ask nobody: what is here is what the links have brought. It is the
// default, and with a link that is Live there is seldom a reason for another.
func FetchLocal() FetchStrategy { return FetchStrategy{} }

// FetchLocalThenRefresh has reads return what is here at once, and has the collection
// refreshed in the background then: one refresh at a time, none while one goes on nor
// until pause has passed since the last one began, and none behind the replica's Close.
// What it brings is for the next read, and a Watch is told of it.
func FetchLocalThenRefresh(pause time.Duration) FetchStrategy {
	return FetchStrategy{when: fetchBehind, pause: pause}
}

// FetchRemoteFirst has reads refresh first, Get the record, the others the collection,
// for at most timeout; 0 is no bound but the context's. When that fails, the time is up or
// there is no path, they read what is here all the same, without an error: Fetched says
// which it was. Each such read makes a connection of its own over every link.
func FetchRemoteFirst(timeout time.Duration) FetchStrategy {
	return FetchStrategy{when: fetchBefore, timeout: timeout}
}

// WithFetch says what the collection's reads do about the peers. Those within an Update
// (Collection.In) ask nobody.
func WithFetch(s FetchStrategy) CollectionOption {
	return func(o *collectionOptions) { o.fetch = s }
}

// Fetched says how fresh a collection is.
type Fetched struct {
	Time time.Time // when a refresh last went well; zero: none ever did
	Err  error     // why the last one did not; nil: it did
}

// Fetched returns how the last refresh of the collection ended, or of one of its records,
// by this Collection: those that its FetchStrategy made and those of Refresh. When reads
// go on at the same time, and it has to be known of one of them, Refresh and a read of a
// collection without a strategy tell.
func (c *Collection[T]) Fetched() Fetched {
	c.fetches.mu.Lock()
	defer c.fetches.mu.Unlock()
	return c.fetches.last
}

// Refresh gets what the peers hold of the records of the collection with these ids, at
// most transport.MaxSelectors of them, or of all, as Fetch does, from all peers that this
// replica dials at once. Links that do not carry them are left out. It returns nil when
// all of the others answered, so that what is here is as new as there; else the errors
// of those that did not, ErrNoLinks if there are none, ErrPaused or ErrOffline if they may
// not. What was forgotten here stays so: Replica.Fetch brings it back.
func (c *Collection[T]) Refresh(ctx context.Context, ids ...string) error {
	if c.err != nil {
		return c.err
	}
	for _, id := range ids {
		if err := c.key(id).Valid(); err != nil {
			return recordError("refresh", c.key(id), err)
		}
	}
	return c.refresh(ctx, ids...)
}

// fetches is what a collection knows of its refreshes.
type fetches struct {
	mu      sync.Mutex // guards what follows
	last    Fetched
	running bool      // one in the background
	began   time.Time // when the last of these did
}

// fetched does what the strategy has done before a read, of one record unless id is "",
// and returns what is to be done behind it.
func (c *typed) fetched(ctx context.Context, id string) (behind func()) {
	switch c.fetch.when {
	case fetchBehind:
		return c.refreshSoon
	case fetchBefore:
		ctx, done := bounded(ctx, c.fetch.timeout)
		defer done()
		var ids []string
		if id != "" {
			ids = []string{id}
		}
		_ = c.refresh(ctx, ids...) // Fetched tells
	}
	return func() {}
}

// refreshSoon has the collection refreshed in the background.
func (c *typed) refreshSoon() {
	f, now := c.fetches, c.r.opts.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running || !f.began.IsZero() && now.Sub(f.began) < c.fetch.pause {
		return
	}
	f.began = now
	f.running = c.r.goRun(func() {
		_ = c.refresh(c.r.ctx) // Fetched tells
		f.mu.Lock()
		defer f.mu.Unlock()
		f.running = false
	})
}

func (c *typed) refresh(ctx context.Context, ids ...string) error {
	err := c.r.fetchAll(ctx, c.scope(ids))
	if err != nil {
		err = &Error{Op: "refresh " + c.name, Err: err}
	}
	f, now := c.fetches, c.r.opts.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.Err = err; err == nil {
		f.last.Time = now
	}
	return err
}

// scope returns that of the records, or of the whole collection.
func (c *typed) scope(ids []string) (s transport.Scope) {
	for _, id := range ids {
		s.Only = append(s.Only, transport.Selector{Collection: c.name, ID: id})
	}
	if len(ids) == 0 {
		s.Only = []transport.Selector{{Collection: c.name}}
	}
	return s
}

// fetchAll fetches from all peers that are dialled and may be asked for the records.
func (r *Replica) fetchAll(ctx context.Context, what transport.Scope) error {
	links := r.control.all()
	errs := make([]error, len(links))
	var wg sync.WaitGroup
	asked := 0
	for i, c := range links {
		t := c.terms
		t.want, t.push = t.want.And(what), transport.Scope{}
		if t.want.None() {
			continue
		}
		t.aside, t.plan, t.of = true, plan{}, nil
		asked++
		wg.Go(func() { errs[i] = c.fetch(ctx, t) })
	}
	wg.Wait()
	if asked == 0 {
		return ErrNoLinks
	}
	return errors.Join(errs...)
}

// fetch holds a session of its own over the link, if that may exchange anything now.
func (c *Connection) fetch(ctx context.Context, t terms) error {
	c.mu.Lock()
	err := c.halts()
	c.mu.Unlock()
	if err == nil {
		err = checkScope(t.want)
	}
	if err != nil {
		return c.name(err)
	}
	_, err = c.r.exchange(ctx, "fetch", c.link, t)
	return err
}
