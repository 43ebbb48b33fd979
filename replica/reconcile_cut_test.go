package replica_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// A reconciliation that is cut after any number of frames leaves the cursor where it
// was, so that the next session begins anew and comes to its end; the timer is far off.
// The side that is read anew writes right after its Hello: its first frame of changes
// would store the cursor if that were not held back.
func TestReconciliationCutAtEveryFrame(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(t *testing.T, p *pair) *side // returns the side that is read anew
		least int                               // frames there are to cut
	}{
		"the dialler was restored": {func(t *testing.T, p *pair) *side {
			p.save(t, p.b)
			p.edit(t)
			p.restore(t, p.b)
			return p.b
		}, 12},
		"the listener was restored": {func(t *testing.T, p *pair) *side {
			p.save(t, p.a)
			p.edit(t)
			p.restore(t, p.a)
			return p.a
		}, 12},
		"the filter was widened": {func(t *testing.T, p *pair) *side {
			syncWith(t, p.b.r, p.link, replica.Only(notes("r-")))
			put(t, p.a.r, "outside", `{"v":1}`)
			syncWith(t, p.b.r, p.link, replica.Only(notes("r-")))
			return p.a
		}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for cut := 1; ; cut++ {
				p := newPair(t)
				anew := c.begin(t, p)
				put(t, anew.r, "r-00001", `{"after":1}`)
				during := func() { put(t, anew.r, "r-00002", `{"during":1}`) }
				_, err := p.b.r.Sync(context.Background(), p.cutLink(t, cut, anew, during))
				if err == nil {
					require.Greater(t, cut, c.least, "there was something to cut")
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
// directions. When the side given has said Hello, it calls said.
func (p *pair) cutLink(t *testing.T, frames int, s *side, said func()) transport.Link {
	greeting := func(of *side, c transport.Conn) transport.Conn {
		if of != s {
			return c
		}
		return &greetingConn{c, said}
	}
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
