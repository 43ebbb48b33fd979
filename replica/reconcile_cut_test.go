package replica_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// A reconciliation that is cut after any number of frames leaves the cursor where it
// was, so that the next session begins anew and comes to its end; the timer is far off.
// Both sides write right after their Hello: their first frames of changes would store
// the other's cursor if that were not held back.
func TestReconciliationCutAtEveryFrame(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, p *pair){
		"the dialler was restored": func(t *testing.T, p *pair) {
			p.save(t, p.b)
			p.edit(t)
			p.restore(t, p.b)
			put(t, p.b.r, "r-00001", `{"after":1}`)
		},
		"the listener was restored": func(t *testing.T, p *pair) {
			p.save(t, p.a)
			p.edit(t)
			p.restore(t, p.a)
			put(t, p.a.r, "r-00001", `{"after":1}`)
		},
		"the filter was widened": func(t *testing.T, p *pair) {
			only := replica.Only(notes("r-"))
			syncWith(t, p.b.r, p.link, only)
			put(t, p.a.r, "outside-a", `{"v":1}`)
			put(t, p.b.r, "outside-b", `{"v":1}`)
			syncWith(t, p.b.r, p.link, only)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for cut := 1; ; cut++ {
				p := newPair(t)
				begin(t, p)
				during := func(s *side) { put(t, s.r, "r-00002", fmt.Sprintf(`{"by":%q}`, s.name)) }
				_, err := p.b.r.Sync(context.Background(), p.cutLink(t, cut, during))
				if err == nil {
					require.Greater(t, cut, 12, "there was something to cut")
					require.Empty(t, bruteForce(t, p.a.r, p.b.r))
					return
				}
				require.ErrorIs(t, err, errCut)
				p.sync(t)
				require.Empty(t, bruteForce(t, p.a.r, p.b.r), "cut after %d frames", cut)
				requireEqual(t, p.a.r, p.b.r)
			}
		})
	}
}

var errCut = errors.New("cut")

// cutLink returns a link from b to a that breaks after a number of frames in both
// directions. When a side has said Hello, it calls said.
func (p *pair) cutLink(t *testing.T, frames int, said func(*side)) transport.Link {
	greeting := func(s *side, c transport.Conn) transport.Conn { return &greetingConn{c, func() { said(s) }} }
	l, err := p.net.Listen("cut", func(ctx context.Context, c transport.Conn) error {
		return p.a.r.Accept(ctx, greeting(p.a, c), transport.FullGrant())
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return &wrappedLink{p.net.Link("b", "cut"), func(c transport.Conn) transport.Conn {
		cut := &cutConn{Conn: greeting(p.b, c)}
		cut.left.Store(int64(frames))
		return cut
	}}
}

// wrappedLink has something between a session and its connection.
type wrappedLink struct {
	transport.Link
	wrap func(transport.Conn) transport.Conn
}

func (l *wrappedLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return l.wrap(c), nil
}

type greetingConn struct {
	transport.Conn
	said func()
}

func (c *greetingConn) Send(ctx context.Context, f transport.Frame) error {
	err := c.Conn.Send(ctx, f)
	if _, hello := f.(*transport.Hello); hello {
		c.said()
	}
	return err
}

type cutConn struct {
	transport.Conn
	left   atomic.Int64 // frames
	broken atomic.Bool
}

func (c *cutConn) Send(ctx context.Context, f transport.Frame) error {
	if c.left.Add(-1) < 0 {
		return c.cut()
	}
	return c.why(c.Conn.Send(ctx, f))
}

func (c *cutConn) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := c.Conn.Recv(ctx)
	if err != nil {
		return nil, c.why(err)
	}
	if c.left.Add(-1) < 0 {
		return nil, c.cut()
	}
	return f, nil
}

func (c *cutConn) cut() error {
	c.broken.Store(true)
	c.Conn.Close()
	return errCut
}

// why says errCut on both ways, whichever of them noticed it first.
func (c *cutConn) why(err error) error {
	if err != nil && c.broken.Load() {
		return errCut
	}
	return err
}
