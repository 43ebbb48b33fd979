package httplink

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// floodAfter is how long a peer may send more frames than its limit allows,
// without a pause, before it is sent away.
const floodAfter = 10 * time.Second

// granted is the server's end of a connection, whatever carries it, as long as
// the peer's rights last: it takes in fresh tokens, ends with CodeExpired when
// none comes in time, and reads no faster than the peer's limits allow.
type granted struct {
	transport.Conn
	renew   func(token string) (transport.Grant, error) // nil: tokens are of no interest
	who     *identity                                   // nil without limits
	sending chan struct{}                               // one slot: held by whoever sends
	expires atomic.Int64                                // in nanoseconds since 1970; 0: never

	// What follows is Recv's.
	grant    transport.Grant
	ended    error
	received int64     // bytes that were accounted for
	crowded  time.Time // since when every frame had to wait
}

func newGranted(c transport.Conn, g transport.Grant, renew func(string) (transport.Grant, error), who *identity) *granted {
	c2 := &granted{Conn: c, renew: renew, who: who, sending: make(chan struct{}, 1)}
	c2.allow(g)
	return c2
}

func (c *granted) allow(g transport.Grant) {
	c.grant = g
	if g.Expires.IsZero() {
		c.expires.Store(0)
		return
	}
	c.expires.Store(g.Expires.UnixNano())
}

// Stats implements transport.Meter.
func (c *granted) Stats() (sent, received int64) {
	if m, ok := c.Conn.(transport.Meter); ok {
		return m.Stats()
	}
	return 0, 0
}

// Send implements transport.Conn. Nothing is sent to a peer whose rights are over.
func (c *granted) Send(ctx context.Context, f transport.Frame) error {
	if c.over() {
		return fmt.Errorf("send: %w: %w", transport.ErrClosed, errExpired)
	}
	return c.send(ctx, f)
}

// over reports whether the rights have ended. A context's deadline is no measure:
// its timer may be late.
func (c *granted) over() bool {
	at := c.expires.Load()
	return at != 0 && time.Now().UnixNano() >= at
}

func (c *granted) send(ctx context.Context, f transport.Frame) error {
	select {
	case c.sending <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.sending }()
	return c.Conn.Send(ctx, f)
}

// Recv implements transport.Conn.
func (c *granted) Recv(ctx context.Context) (transport.Frame, error) {
	for c.ended == nil {
		f, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		token, ok := f.(*transport.Token)
		if !ok {
			return f, nil
		}
		if c.renew != nil {
			c.extend(ctx, token.Bearer)
		}
	}
	return nil, c.ended
}

// next receives a frame, and waits while the peer is over its limits.
func (c *granted) next(ctx context.Context) (transport.Frame, error) {
	limited := ctx
	if !c.grant.Expires.IsZero() {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, c.grant.Expires)
		defer cancel()
	}
	f, err := c.Conn.Recv(limited)
	if c.who != nil && limited.Err() == nil {
		c.wait(limited) // a frame that can't be decoded counts as well
	}
	if ctx.Err() == nil && (limited.Err() != nil || c.over()) {
		c.end(ctx, transport.CodeExpired, "the token has expired: connect again with a fresh one")
	}
	if c.ended != nil {
		return nil, c.ended
	}
	return f, err
}

// wait holds up the reader, and so the peer, until its limits allow what has come.
func (c *granted) wait(ctx context.Context) {
	_, received := c.Stats()
	frames, bytes := c.who.take(received - c.received)
	c.received = received
	now := time.Now()
	switch {
	case frames == 0:
		c.crowded = time.Time{}
	case c.crowded.IsZero():
		c.crowded = now
	case now.Sub(c.crowded) >= floodAfter:
		c.end(ctx, transport.CodeRate, fmt.Sprintf("more than %g frames a second for too long", c.who.limits.Frames))
		return
	}
	if frames == 0 && bytes == 0 {
		return
	}
	timer := time.NewTimer(max(frames, bytes))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// extend takes in a fresh token. One that grants something else ends the session,
// whose peer then opens another one with it.
func (c *granted) extend(ctx context.Context, token string) {
	g, err := c.renew(token)
	switch {
	case err != nil:
		status := refusalOf(err)
		c.end(ctx, status.code, status.text)
	case g.Subject != c.grant.Subject || !sameRights(g, c.grant):
		c.end(ctx, transport.CodeExpired, "the new token grants something else: connect again with it")
	default:
		c.allow(g)
	}
}

// end tells the peer why it is over, if that is possible soon. A session that
// just ran out of time is closed; the others have failed.
func (c *granted) end(ctx context.Context, code, message string) {
	told := &transport.Error{Code: code, Message: message}
	c.ended = fmt.Errorf("receive: %w", told)
	if code == transport.CodeExpired {
		c.ended = fmt.Errorf("receive: %w: %w", transport.ErrClosed, told)
	}
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	_ = c.send(ctx, told)
}
