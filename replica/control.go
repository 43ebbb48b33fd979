package replica

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// control is what an application says about all links of a replica, and what it hears.
type control struct {
	mu      sync.Mutex // guards what follows
	offline bool
	metered bool
	paused  bool
	links   []*Connection
	wakes   map[chan struct{}]bool // one slot each: of those that follow the status
	ears    map[*syncEar]bool
}

func newControl() *control {
	return &control{wakes: map[chan struct{}]bool{}, ears: map[*syncEar]bool{}}
}

// add notes that there is a connection, or no longer.
func (k *control) add(c *Connection, on bool) {
	k.mu.Lock()
	k.links = slices.DeleteFunc(k.links, func(l *Connection) bool { return l == c })
	if on {
		k.links = append(k.links, c)
	}
	k.mu.Unlock()
	k.changed()
}

// all returns the connections there are.
func (k *control) all() []*Connection {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.links)
}

// rests returns why no link may do anything, not even what it is asked to.
func (k *control) rests() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.paused:
		return ErrPaused
	case k.offline:
		return ErrOffline
	}
	return nil
}

func (k *control) isMetered() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.metered
}

// set changes one of the switches and has all links take notice.
func (k *control) set(what *bool, on, softly bool) {
	k.mu.Lock()
	*what = on
	k.mu.Unlock()
	for _, c := range k.all() {
		c.obey(softly)
	}
	k.changed()
}

// SetOnline tells the replica's connections what the system says of the network. false
// cuts sessions and attempts at once, which do not count as failed, and has links rest;
// true has all that was missed made up for at once, also while it was true before.
// Without a word the network is taken to be there.
func (r *Replica) SetOnline(on bool) { r.control.set(&r.control.offline, !on, false) }

// SetMetered says that what is exchanged costs money. Links then exchange only what
// SyncNow or SyncOnce asks for, except those with EvenMetered: one of these that is Only
// for what is urgent goes on while others rest. Sessions that go on end in good order.
func (r *Replica) SetMetered(on bool) { r.control.set(&r.control.metered, on, true) }

// Pause ends the sessions of the replica's connections in good order and has all of them
// rest until Resume. Sessions of peers that have dialled go on. It does not wait.
func (r *Replica) Pause() { r.control.set(&r.control.paused, true, true) }

// Resume ends what Pause began; what was missed is made up for at once.
func (r *Replica) Resume() { r.control.set(&r.control.paused, false, true) }

// SyncOnce has all connections of the replica make a run now, as SyncNow does, all at
// once, and returns when they are over, with the errors of those that failed. It is for
// jobs that a system wakes in the background, within ctx.
func (r *Replica) SyncOnce(ctx context.Context) error {
	links := r.control.all()
	if len(links) == 0 {
		return ErrNoLinks
	}
	errs := make([]error, len(links))
	var wg sync.WaitGroup
	for i, c := range links {
		wg.Go(func() { errs[i] = c.SyncNow(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// head returns the position of the end of the log.
func (r *Replica) head(ctx context.Context) (head crdt.LSN, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		head = rd.Head().LSN
		return nil
	})
	return head, translate(err)
}
