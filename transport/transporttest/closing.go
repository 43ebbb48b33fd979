package transporttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

// What was sent before Close arrives, then the end; the side that closed gets
// nothing more.
func testCloseDelivers(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	require.NoError(t, b.Send(ctx, noise(0, 1000)))
	require.NoError(t, a.Send(ctx, &transport.Ping{}))
	_, err := b.Recv(ctx)
	require.NoError(t, err)
	for i := range 10 {
		require.NoError(t, a.Send(ctx, noise(i, 1000)))
	}
	closing := make(chan error, 1)
	go func() { closing <- a.Close() }()
	select { // it may wait for b, or not: let it come as far as it can
	case err = <-closing:
		closing <- err
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, expect(ctx, b, 0, 10))
	_, err = b.Recv(ctx)
	require.ErrorIs(t, err, transport.ErrClosed)
	require.NoError(t, <-closing)
	_, err = a.Recv(ctx)
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorIs(t, a.Send(ctx, &transport.Ping{}), transport.ErrClosed)
}

// The end that closes in the midst of sending, and the one that is closed on,
// leave whole frames in order.
func testCloseWhileSending(t *testing.T, a, b transport.Conn) {
	const enough = 20
	reached := make(chan struct{})
	sent := async(t, func() error {
		for i := 0; ; i++ {
			if i == enough {
				close(reached)
			}
			if err := a.Send(context.Background(), noise(i, 5000)); err != nil {
				return err
			}
		}
	})
	received := async(t, func() error {
		for i := 0; ; i++ {
			if err := expect(context.Background(), b, i, i+1); err != nil {
				return err
			}
		}
	})
	<-reached
	require.NoError(t, a.Close())
	require.ErrorIs(t, sent(), transport.ErrClosed)
	require.ErrorIs(t, received(), transport.ErrClosed)
}

func testCloseUnblocksRecv(t *testing.T, a, b transport.Conn) {
	receive := func(c transport.Conn) func() error {
		return async(t, func() error {
			_, err := c.Recv(context.Background())
			return err
		})
	}
	mine, theirs := receive(a), receive(b)
	require.NoError(t, a.Close())
	require.ErrorIs(t, mine(), transport.ErrClosed)
	require.ErrorIs(t, theirs(), transport.ErrClosed)
}

// flood sends until that fails.
func flood(t *testing.T, c transport.Conn, started chan<- struct{}) (wait func() error) {
	return async(t, func() error {
		for i := 0; ; i++ {
			if err := c.Send(context.Background(), noise(i, 1<<20)); err != nil {
				return err
			}
			if i == 4 {
				close(started)
			}
		}
	})
}

func testCloseUnblocksSend(t *testing.T, a, b transport.Conn) {
	started := make(chan struct{})
	sent := flood(t, a, started)
	received := async(t, func() error { return expect(context.Background(), b, 0, 5) })
	<-started
	require.NoError(t, received())
	require.NoError(t, a.Close())
	require.ErrorIs(t, sent(), transport.ErrClosed)
}

func testPeerCloseUnblocksSend(t *testing.T, a, b transport.Conn) {
	started := make(chan struct{})
	sent := flood(t, a, started)
	received := async(t, func() error { return expect(context.Background(), b, 0, 5) })
	<-started
	require.NoError(t, received())
	require.NoError(t, b.Close())
	require.ErrorIs(t, sent(), transport.ErrClosed)
}

func testCloseTwice(t *testing.T, a, b transport.Conn) {
	var all sync.WaitGroup
	for _, c := range []transport.Conn{a, a, b, b, a} {
		all.Go(func() { require.NoError(t, c.Close()) })
	}
	all.Wait()
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

// What one end counts as sent, the other counts as received.
func testStats(t *testing.T, a, b transport.Conn) {
	sender, ok := a.(transport.Meter)
	if !ok {
		t.Skip("counts no bytes")
	}
	ctx := within(t)
	for i := range 3 {
		require.NoError(t, a.Send(ctx, noise(i, 10_000)))
	}
	require.NoError(t, expect(ctx, b, 0, 3))
	sent, received := sender.Stats()
	require.Greater(t, sent, int64(30_000))
	require.Less(t, sent, int64(31_000))
	require.Zero(t, received)
	_, got := b.(transport.Meter).Stats()
	require.Equal(t, sent, got)
}
