package persist

import (
	"sync"
	"time"
)

// Subscription tells that something was committed.
type Subscription struct {
	c     chan struct{}
	wakes *wakes
}

// Subscribe returns a Subscription that is woken after each commit, of this
// process or another. Close it.
func (s *Store) Subscribe() *Subscription { return s.SubscribeTo(make(chan struct{}, 1)) }

// SubscribeTo is Subscribe with a channel of the caller's, which others may send on too.
// Its buffer holds at least one value.
func (s *Store) SubscribeTo(c chan struct{}) *Subscription {
	sub := &Subscription{c: c, wakes: s.wakes}
	s.wakes.add(sub)
	return sub
}

// C delivers a value, at most one at a time, some time after a commit. Whoever
// receives it reads what is new since it last did. A wake-up may be spurious.
func (s *Subscription) C() <-chan struct{} { return s.c }

// Close ends it; C is never closed. The last one of a store ends its polling.
// It may be called again, and after the store was closed.
func (s *Subscription) Close() { s.wakes.remove(s) }

func (s *Subscription) wake() {
	select {
	case s.c <- struct{}{}:
	default: // one is waiting already
	}
}

// wakes wakes the subscriptions of a store. While there are any, and only
// then, a goroutine asks SQLite whether somebody else has committed. Safe for
// concurrent use.
type wakes struct {
	path string
	opts Options

	mu     sync.Mutex // guards what follows
	subs   map[*Subscription]struct{}
	closed bool
	stop   chan struct{} // ends the poller, nil when there is none
	polls  sync.WaitGroup
}

func newWakes(path string, opts Options) *wakes {
	return &wakes{path: path, opts: opts, subs: make(map[*Subscription]struct{})}
}

// wake is called after each commit of this process.
func (w *wakes) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		s.wake()
	}
}

func (w *wakes) add(s *Subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.subs[s] = struct{}{}
	if w.stop == nil && w.opts.PollInterval > 0 {
		w.stop = make(chan struct{})
		stop := w.stop
		w.polls.Go(func() { w.poll(stop) })
	}
}

func (w *wakes) remove(s *Subscription) {
	w.mu.Lock()
	delete(w.subs, s)
	w.stopIf(len(w.subs) == 0)
	w.mu.Unlock()
}

func (w *wakes) stopIf(idle bool) {
	if idle && w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

func (w *wakes) close() error {
	w.mu.Lock()
	w.closed = true
	clear(w.subs)
	w.stopIf(true)
	w.mu.Unlock()
	w.polls.Wait()
	return nil
}

// poll wakes the subscriptions when data_version changes: when any connection
// but its own has committed, in whichever process. A file that cannot be read
// now may be the next time; whoever reads it meanwhile gets the error.
func (w *wakes) poll(stop chan struct{}) {
	var c *conn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	last := int64(-1) // so that a commit before the first look is not missed
	tick := time.NewTicker(w.opts.PollInterval)
	defer tick.Stop()
	for {
		if c == nil {
			c, _ = openReader(w.path, w.opts.BusyTimeout, newVault(Key{}))
		}
		if c != nil {
			if r, err := c.one(qDataVersion); err == nil && r.int(0) != last {
				last = r.int(0)
				w.wake()
			}
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
