package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Connection holds sessions over a link, by its schedule. It is safe for concurrent use.
type Connection struct {
	r      *Replica
	link   transport.Link
	terms  terms
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // one slot: something of what follows has changed

	mu      sync.Mutex // guards what follows; taken inside a session's, outside the control's
	status  LinkStatus
	err     error
	held    bool                    // by Pause
	apart   bool                    // by Disconnect
	cut     context.CancelCauseFunc // ends the attempt or the probe that goes on; nil: none does
	probing bool
	session *session // that goes on, after its handshake
	asks    []*ask   // for the next session
	serving []*ask   // for the one that goes on
	moved   Counts   // by it, when both sides had everything
	appointment
}

// ask is one that waits for a run.
type ask struct {
	head crdt.LSN   // the end of the log when it asked
	done chan error // one slot
}

// LinkStatus says how a connection fares.
type LinkStatus struct {
	Link      string
	Online    bool      // the peer could be reached when that was last tried
	Syncing   bool      // a session goes on in which one side has not yet all that the other had
	Paused    bool      // by Pause or Disconnect, of this link or of all
	Attempts  int       // failed in a row; one that was cut since the path was lost does not count
	Next      time.Time // of the next attempt; zero while a session goes on, and if none is due
	LastSync  time.Time // when both sides were last known to have everything; zero: never
	LastError string    // of the last attempt; "" if it went well
}

// Connect exchanges changes over the link until the Connection or the replica is closed:
// all the time, as they are committed, unless options say when (Every, OnDemand), or
// that less than everything is carried. Several connections, each with its own schedule,
// may go on at once. What fails is tried again with the link's backoff. A refusal that
// waiting does not cure (rights, another space, another protocol version) ends it; see
// Done and Err.
func (r *Replica) Connect(link transport.Link, opts ...LinkOption) (*Connection, error) {
	t, err := dialTerms(link, opts)
	if err == nil && t.plan.live() && t.plan.limit != (limit{}) {
		err = errors.New("MaxPerRun: a link that is live has no runs, say Every or OnDemand")
	}
	if err != nil {
		return nil, &Error{Op: "connect", Peer: link.String(), Err: err}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	c := &Connection{r: r, link: link, terms: t, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		status: LinkStatus{Link: link.String()}}
	c.terms.of = c
	c.appointment.idle = t.plan.onDemand
	r.control.add(c, true)
	if !r.goRun(func() { c.loop(ctx) }) {
		r.control.add(c, false)
		cancel()
		return nil, ErrClosed
	}
	return c, nil
}

// Close ends the session and waits for it.
func (c *Connection) Close() error {
	c.cancel()
	<-c.done
	return nil
}

// Done is closed when the connection has ended for good.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended for good; nil while it has not, or when
// it was closed.
func (c *Connection) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Status returns how the connection fares.
func (c *Connection) Status() LinkStatus {
	paused := errors.Is(c.r.control.rests(), ErrPaused)
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	st.Attempts, st.Paused = c.failures, paused || c.held || c.apart
	if c.session == nil && c.cut == nil && !c.idle {
		st.Next = c.due
	}
	return st
}

func (c *Connection) loop(ctx context.Context) {
	defer close(c.done)
	defer c.r.control.add(c, false)
	defer c.cancel()
	for c.await(ctx) {
		began := c.r.opts.Now()
		up, err := c.attempt(ctx)
		if ctx.Err() != nil || errors.Is(err, errDraining) {
			return
		}
		if permanent(err) {
			c.refused(err)
			return
		}
		c.after(began, up, err)
	}
}

// attempt dials and runs one session; up says that it got through.
func (c *Connection) attempt(ctx context.Context) (up bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t, ok := c.begin(cancel)
	if !ok {
		return false, errHalted
	}
	conn, err := c.r.dial(ctx, c.link)
	var counts Counts
	if err == nil {
		var s *session
		s, err = c.r.run(ctx, conn, t)
		up = s.peerID != 0
		if counts = s.counts; t.once || err == nil {
			counts, err = s.outcome(err)
		}
	}
	if halted := context.Cause(ctx); errors.Is(halted, errHalted) {
		err = halted
	}
	c.over(counts, err)
	return up, err
}

// begin notes that an attempt goes on, unless none may now, and returns its terms.
func (c *Connection) begin(cancel context.CancelCauseFunc) (terms, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rests() != nil {
		return terms{}, false
	}
	c.cut = cancel
	c.serving, c.asks = c.asks, nil
	t := c.terms
	t.once = !t.plan.live() || c.r.control.isMetered() && !t.plan.metered
	return t, true
}

// up notes that the handshake of a session is done.
func (c *Connection) up(s *session) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.status.Online {
		c.say(SyncEvent{Kind: LinkUp})
	}
	c.session = s
	c.status.Online, c.status.Syncing, c.status.LastError = true, true, ""
	c.failures = 0
	c.say(SyncEvent{Kind: SyncBegun, Peer: s.them.Replica})
}

// level notes that both sides have everything, and the peer all up to a position.
func (c *Connection) level(acked crdt.LSN, none bool, counts Counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.once {
		return // it ends by itself, and tells then
	}
	if c.status.Syncing || counts != c.moved {
		c.moved, c.status.LastSync = counts, c.r.opts.Now()
		c.r.control.changed()
	}
	if c.status.Syncing {
		c.status.Syncing = false
		c.say(SyncEvent{Kind: SyncEnded, Peer: c.session.them.Replica, Counts: counts})
	}
	left := c.serving[:0]
	for _, a := range append(c.serving, c.asks...) {
		if none || acked >= a.head {
			a.done <- nil
		} else {
			left = append(left, a)
		}
	}
	c.serving, c.asks = left, nil
}

// over notes how an attempt ended, and answers those who asked for it.
func (c *Connection) over(counts Counts, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	halted := errors.Is(err, errHalted)
	if why := c.rests(); halted && why != nil {
		err = why
	}
	well := err == nil || wellEnded(err)
	c.status.LastError = ""
	if err != nil && !halted && !errors.Is(err, ErrLimit) {
		c.status.LastError = err.Error()
	}
	if s := c.session; s != nil {
		if s.once && err == nil {
			c.status.LastSync = c.r.opts.Now()
		}
		if c.status.Syncing {
			c.status.Syncing = false
			c.say(SyncEvent{Kind: SyncEnded, Peer: s.them.Replica, Counts: counts, Err: err})
		}
	}
	if lost := !halted && !well || c.apart || errors.Is(err, ErrOffline); lost && c.status.Online {
		c.status.Online = false
		c.say(SyncEvent{Kind: LinkDown, Err: err})
	}
	for _, a := range c.serving {
		a.done <- c.name(err)
	}
	c.session, c.cut, c.serving = nil, nil, nil
	c.r.control.changed()
	c.r.stir()
}

// wellEnded reports whether a run got as far as it could although it has an error.
func wellEnded(err error) bool {
	var incomplete *IncompleteError
	return errors.Is(err, ErrLimit) || errors.As(err, &incomplete)
}

// name adds the link to an error.
func (c *Connection) name(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: "sync", Peer: c.link.String(), Err: err}
}

// refused ends the connection for good.
func (c *Connection) refused(err error) {
	c.mu.Lock()
	c.err = &Error{Op: "connect", Peer: c.link.String(), Err: err}
	c.status.Online, c.status.LastError = false, err.Error()
	c.say(SyncEvent{Kind: LinkRefused, Err: err})
	c.r.stir()
	c.mu.Unlock()
}

// answer tells those who wait for the next run that there will be none. The caller
// holds mu.
func (c *Connection) answer(err error) {
	for _, a := range c.asks {
		a.done <- c.name(err)
	}
	c.asks = nil
}

// say tells of an event of this link.
func (c *Connection) say(e SyncEvent) {
	e.Link, e.Time = c.link.String(), c.r.opts.Now()
	c.r.control.say(e)
}

// SyncNow has a run made at once, whatever the schedule says, and returns when it is
// over, with its error if the sides are not equal after it. Over a live link that is up
// it returns when the peer has on disk what was committed here before the call. It gives
// ErrPaused or ErrOffline if no run may be made, and does not wait for that to change.
// When ctx ends, the run goes on.
func (c *Connection) SyncNow(ctx context.Context) error {
	head, err := c.r.head(ctx)
	if err != nil {
		return c.name(err)
	}
	a := &ask{head: head, done: make(chan error, 1)}
	c.mu.Lock()
	if err := c.halts(); err != nil {
		c.mu.Unlock()
		return c.name(err)
	}
	c.asks = append(c.asks, a)
	s := c.session
	c.mu.Unlock()
	signal(c.wake)
	if s != nil {
		s.mu.Lock()
		s.level()
		s.mu.Unlock()
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return c.name(fmt.Errorf("not known to be done: %w", ctx.Err()))
	case <-c.done:
	}
	if err := c.Err(); err != nil {
		return err
	}
	return c.name(ErrClosed)
}
