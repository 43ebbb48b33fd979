package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Accept speaks with a peer that has dialled, until one side ends the session
// or ctx does; the peer may do what grant says. It closes conn. A server is
// handed this function.
func (r *Replica) Accept(ctx context.Context, conn transport.Conn, grant transport.Grant) error {
	_, err := r.run(ctx, conn, terms{grant: grant, want: transport.Everything(), push: transport.Everything()})
	if errors.Is(err, transport.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, errDraining) {
		return nil
	}
	return err
}

// Sync dials once, exchanges change sets until both sides have everything the
// other had, and hangs up; options say less than everything. Changes that either side
// refused or parked make it return an *IncompleteError; the rest was exchanged
// nevertheless.
func (r *Replica) Sync(ctx context.Context, link transport.Link, opts ...LinkOption) (Counts, error) {
	return r.once(ctx, "sync", link, opts)
}

// once holds a session that ends by itself.
func (r *Replica) once(ctx context.Context, op string, link transport.Link, opts []LinkOption) (Counts, error) {
	t, err := dialTerms(link, opts)
	if err != nil {
		return Counts{}, &Error{Op: op, Peer: link.String(), Err: err}
	}
	t.once = true
	conn, err := r.dial(ctx, link)
	if err != nil {
		return Counts{}, &Error{Op: op, Err: err} // it names the peer
	}
	s, err := r.run(ctx, conn, t)
	counts := s.counts
	counts.Quarantined += s.lacking
	counts.Refused += s.owing
	if err == nil && counts.Refused+counts.Quarantined > 0 {
		err = &IncompleteError{Counts: counts, First: s.firstRefusal()}
	}
	if err == nil {
		err = s.unreconciled()
	}
	if err == nil && s.unequal {
		err = errors.New("not known to be equal, says the peer (see verify)")
	}
	if err != nil {
		err = &Error{Op: op, Peer: link.String(), Err: err}
	}
	return counts, err
}

// dial opens a connection. A failure is noted with the peers that the link led
// to before, for Status.
func (r *Replica) dial(ctx context.Context, link transport.Link) (transport.Conn, error) {
	conn, err := link.Dial(ctx)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	note := r.commit(ctx, 0, func(b *batch) error {
		peers, err2 := b.tx.Peers()
		if err2 != nil {
			return err2
		}
		for _, p := range peers {
			if p.Name != link.String() {
				continue
			}
			p.State, p.LastError, p.Attempts = StateDisconnected, err.Error(), p.Attempts+1
			if err := b.tx.PutPeer(&p); err != nil {
				return err
			}
		}
		return nil
	})
	return nil, errors.Join(err, note)
}

// IncompleteError says that a sync ended with changes that one side does not
// hold.
type IncompleteError struct {
	Counts Counts
	First  string // the first of them, for people; "" if this side refused them all
}

// Error counts what is missing.
func (e *IncompleteError) Error() string {
	s := fmt.Sprintf("not equal: the peer did not take %d changes, this side did not take %d (see doctor)",
		e.Counts.Refused, e.Counts.Quarantined)
	if e.First != "" {
		s += "; first: " + e.First
	}
	return s
}

func (s *session) firstRefusal() string {
	if len(s.refusals) == 0 {
		return ""
	}
	x := s.refusals[0]
	return fmt.Sprintf("%s/%s: %s", x.Collection, x.ID, x.Detail)
}

// Connection keeps a link up. It is safe for concurrent use.
type Connection struct {
	r      *Replica
	link   transport.Link
	terms  terms
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards what follows
	status LinkStatus
	err    error
}

// LinkStatus says how a connection fares.
type LinkStatus struct {
	Link      string
	Online    bool
	Attempts  int       // failed in a row
	Next      time.Time // of the next attempt; zero when online
	LastError string
}

// Connect keeps the link up until the Connection or the replica is closed: it
// dials, exchanges changes as they are committed, and dials again with the
// link's backoff; options say less than everything. A refusal that waiting does not cure (rights, another space,
// another protocol version) ends it; see Done and Err.
func (r *Replica) Connect(link transport.Link, opts ...LinkOption) (*Connection, error) {
	t, err := dialTerms(link, opts)
	if err != nil {
		return nil, &Error{Op: "connect", Peer: link.String(), Err: err}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	c := &Connection{r: r, link: link, terms: t, cancel: cancel, done: make(chan struct{}), status: LinkStatus{Link: link.String()}}
	if !r.goRun(func() { c.loop(ctx) }) {
		cancel()
		return nil, ErrClosed
	}
	r.keep(c, true)
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
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// keep notes that a link is being kept up, or no longer is.
func (r *Replica) keep(c *Connection, on bool) {
	defer r.stir()
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	select {
	case <-c.done: // it was refused at once
		on = false
	default:
	}
	if on {
		r.links[c] = struct{}{}
	} else {
		delete(r.links, c)
	}
}

func (c *Connection) loop(ctx context.Context) {
	defer c.r.keep(c, false)
	defer close(c.done)
	defer c.cancel()
	for attempt := 0; ctx.Err() == nil && !c.r.draining.Load(); attempt++ {
		up, err := c.attempt(ctx)
		if ctx.Err() != nil || errors.Is(err, errDraining) {
			return
		}
		if up {
			attempt = 0
		}
		if permanent(err) {
			c.mu.Lock()
			c.err = &Error{Op: "connect", Peer: c.link.String(), Err: err}
			c.status.Online, c.status.LastError = false, err.Error()
			c.mu.Unlock()
			c.r.stir()
			return
		}
		c.pause(ctx, attempt, err)
	}
}

// attempt dials and runs one session; up says that it got through.
func (c *Connection) attempt(ctx context.Context) (up bool, err error) {
	conn, err := c.r.dial(ctx, c.link)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	c.status = LinkStatus{Link: c.link.String(), Online: true}
	c.mu.Unlock()
	s, err := c.r.run(ctx, conn, c.terms)
	return s.peerID != 0, err
}

// restAfterRate is how long a link rests after the peer has ended a session because too
// much was sent: an Error frame names no time, and a hub's limits have room again by then.
const restAfterRate = 10 * time.Second

// pause waits before the next attempt.
func (c *Connection) pause(ctx context.Context, attempt int, cause error) {
	wait := c.link.Backoff().Delay(attempt, c.r.opts.Random)
	if attempt == 0 && transport.CodeOf(cause) == transport.CodeExpired {
		wait = 0 // the link has a fresh token, or says CodeToken
	}
	var dial *transport.DialError
	if errors.As(cause, &dial) {
		wait = max(wait, dial.RetryAfter)
	} else if transport.CodeOf(cause) == transport.CodeRate {
		wait = max(wait, restAfterRate)
	}
	text := "all was exchanged"
	if cause != nil {
		text = cause.Error()
		c.r.opts.Logger.Info("link is down", logLink, c.link.String(), logError, text)
	}
	c.mu.Lock()
	c.status = LinkStatus{Link: c.link.String(), Attempts: attempt + 1, Next: c.r.opts.Now().Add(wait), LastError: text}
	c.mu.Unlock()
	c.r.stir()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// permanent reports whether dialling again cannot help. What a proxy or the login page of a
// network answers says nothing of the peer behind it.
func permanent(err error) bool {
	var own *protocolError
	var dial *transport.DialError
	if errors.As(err, &dial) && dial.Doubtful {
		return false
	}
	code := transport.CodeOf(err)
	if errors.As(err, &own) {
		code = own.code
	}
	switch code {
	case transport.CodeToken, transport.CodeAuth, transport.CodeSpace, transport.CodeProtocol:
		return true
	}
	return false
}

// oneShot reports whether the link wants a session that ends by itself.
func oneShot(conn transport.Conn) bool {
	c, ok := conn.(transport.OneShot)
	return ok && c.OneShot()
}
