package replica_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

// Change sets that reconciliation moves are sent until they have arrived, whichever of
// the frames get lost: those that follow a lost one cannot be unpacked either.
func TestChangeSetsOfReconciliationThatGetLost(t *testing.T) {
	for name, of := range map[string]func(*pair) *side{
		"the dialler's":  func(p *pair) *side { return p.b },
		"the listener's": func(p *pair) *side { return p.a },
	} {
		for lost := range 1 << 3 { // a bit for each frame of change sets, in either direction
			t.Run(fmt.Sprintf("%s file is restored, %03b", name, lost), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				s := of(p)
				p.save(t, s)
				p.edit(t)
				p.restore(t, s)
				put(t, s.r, "r-00001", `{"after":1}`)
				link := &wrappedLink{p.link, func(c transport.Conn) transport.Conn {
					return &losingConn{Conn: c, sent: lost, received: lost}
				}}
				_, err := p.b.r.Sync(context.Background(), link)
				require.NoError(t, err)
				require.Empty(t, bruteForce(t, p.a.r, p.b.r))
			})
		}
	}
}

// If the run was the peer's and came to no end, a one-shot exchange says so all the same.
func TestTheDiallerIsToldThatThePeersRunCameToNoEnd(t *testing.T) {
	p := newPair(t)
	p.save(t, p.b)
	p.edit(t)
	p.restore(t, p.b)
	_, err := p.b.r.Sync(context.Background(), &wrappedLink{p.link, func(c transport.Conn) transport.Conn {
		return &losingConn{Conn: c, received: -1}
	}})
	require.ErrorContains(t, err, "not known to be equal, says the peer")
	require.NotEmpty(t, bruteForce(t, p.a.r, p.b.r))
	p.sync(t)
	require.Empty(t, bruteForce(t, p.a.r, p.b.r))
}

// losingConn loses frames of change sets that are no stretch of a log: the first of them
// if the lowest bit is set, and so on; all for -1.
type losingConn struct {
	transport.Conn
	sent, received int // the sender's and the receiver's alone
}

func (c *losingConn) Send(ctx context.Context, f transport.Frame) error {
	if loses(f, &c.sent) {
		return nil
	}
	return c.Conn.Send(ctx, f)
}

func (c *losingConn) Recv(ctx context.Context) (transport.Frame, error) {
	for {
		f, err := c.Conn.Recv(ctx)
		if err != nil || !loses(f, &c.received) {
			return f, err
		}
	}
}

func loses(f transport.Frame, left *int) (lost bool) {
	if c, ok := f.(*transport.Changes); ok && c.Loose != 0 {
		lost = *left&1 == 1
		*left >>= 1
	}
	return lost
}
