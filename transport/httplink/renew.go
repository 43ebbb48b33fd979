package httplink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// TokenSource returns the bearer token to show now, and when it ends; zero for
// one that does not, or not known. It is asked for each request, so it should
// keep a token until that is about to end. It must be safe for concurrent use.
type TokenSource func(context.Context) (token string, expires time.Time, err error)

// leastRenew is the least time between two questions for a fresh token.
const leastRenew = 250 * time.Millisecond

// renewing is the client's end of a connection, whatever carries it, that shows
// a fresh token before the one it was opened with ends.
type renewing struct {
	transport.Conn
	source  TokenSource
	sending chan struct{} // one slot: held by whoever sends
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// newRenewing wraps a connection that was opened with a token which ends.
func newRenewing(c transport.Conn, source TokenSource, token string, expires time.Time) *renewing {
	ctx, cancel := context.WithCancel(context.Background())
	c2 := &renewing{Conn: c, source: source, sending: make(chan struct{}, 1), cancel: cancel}
	c2.done.Go(func() { c2.renew(ctx, token, expires) })
	return c2
}

// Stats implements transport.Meter.
func (c *renewing) Stats() (sent, received int64) {
	if m, ok := c.Conn.(transport.Meter); ok {
		return m.Stats()
	}
	return 0, 0
}

// Rung is for RungOf.
func (c *renewing) Rung() Rung { return RungOf(c.Conn) }

// Send implements transport.Conn.
func (c *renewing) Send(ctx context.Context, f transport.Frame) error {
	select {
	case c.sending <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.sending }()
	return c.Conn.Send(ctx, f)
}

// Close implements transport.Conn. A token that is on its way is not broken off,
// since a WebSocket would break with it.
func (c *renewing) Close() error {
	err := c.Conn.Close()
	c.cancel()
	c.done.Wait()
	return err
}

// renew asks for a fresh token when a quarter of the time is left, then of that
// quarter, and so on until there is one.
func (c *renewing) renew(ctx context.Context, token string, expires time.Time) {
	for !expires.IsZero() {
		timer := time.NewTimer(max(time.Until(expires)*3/4, leastRenew))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		fresh, end, err := c.source(ctx)
		if err != nil || fresh == token || fresh == "" {
			continue
		}
		if c.Send(context.WithoutCancel(ctx), &transport.Token{Bearer: fresh}) != nil {
			return // the connection has ended, or the token is none
		}
		token, expires = fresh, end
	}
}

// Dial implements transport.Link.
func (l *link) Dial(ctx context.Context) (transport.Conn, error) {
	if l.opts.TokenSource == nil {
		c, err := l.dial(ctx)
		var dial *transport.DialError
		if errors.As(err, &dial) && dial.Code == transport.CodeExpired && l.opts.HeaderFunc == nil {
			dial.Code = transport.CodeToken // waiting brings no other token
		}
		return c, err
	}
	// The requests of dial ask again, and may show a token that ends later.
	token, expires, err := l.opts.TokenSource(ctx)
	if err != nil {
		return nil, l.refused(transport.CodeToken, fmt.Errorf("get token: %w", err))
	}
	c, err := l.dial(ctx)
	if err != nil || expires.IsZero() {
		return c, err
	}
	return newRenewing(c, l.opts.TokenSource, token, expires), nil
}
