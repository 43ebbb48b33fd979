package transporttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

// expect receives the frames of noise numbered from first up to end.
func expect(ctx context.Context, c transport.Conn, first, end int) error {
	for i := first; i < end; i++ {
		f, err := c.Recv(ctx)
		if err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
		got, ok := f.(*transport.Changes)
		if !ok || got.Part != uint64(i) || !equalSets(got.Sets, noise(i, len(got.Sets[0].Members[0].Data)).Sets) {
			return fmt.Errorf("frame %d is not what was sent", i)
		}
	}
	return nil
}

// maxTaken is how many frames of a MiB a carrier may take for a peer that receives
// none: what is in memory, at both ends, on the way and in the kernel's buffers.
const maxTaken = 32

// fill sends until the peer's slowness blocks, and returns how many frames of a
// MiB were taken. How long it waits decides nothing: too short a wait lets a
// carrier without bounds pass, and never fails a good one.
func fill(t *testing.T, c transport.Conn) (frames int) {
	for ; frames <= maxTaken; frames++ {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		err := c.Send(ctx, noise(frames, 1<<20))
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return frames
		}
	}
	t.Fatalf("%d MiB were taken, though nobody receives", frames)
	return 0
}

// A receiver that does not receive stops the sender, before much is in memory.
func testBackPressure(t *testing.T, a, b transport.Conn) {
	t.Logf("%d MiB were taken", fill(t, a))
}

// A sender that is blocked holds up nothing that goes the other way, goes on when
// the receiver does, and nothing is lost.
func testSlowReceiver(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	const frames = 24
	sent := async(t, func() error {
		for i := range frames {
			if err := a.Send(ctx, noise(i, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 10 {
		require.NoError(t, b.Send(ctx, noise(i, 1000)))
		require.NoError(t, expect(ctx, a, i, i+1))
	}
	require.NoError(t, expect(ctx, b, 0, frames))
	require.NoError(t, sent())
}

// A Recv that was given up loses nothing.
func testCancelledRecv(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	for i := range 20 {
		short, cancel := context.WithCancel(ctx)
		received := async(t, func() error {
			_, err := b.Recv(short)
			return err
		})
		cancel()
		require.ErrorIs(t, received(), context.Canceled)
		require.NoError(t, a.Send(ctx, noise(i, 1000)))
		require.NoError(t, expect(ctx, b, i, i+1))
	}
}

// A Recv that is given up while a frame arrives returns it, or leaves it to the next.
func testCancelledRecvRace(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	for i := range 100 {
		short, cancel := context.WithCancel(ctx)
		received := async(t, func() error { return expect(short, b, i, i+1) })
		require.NoError(t, a.Send(ctx, noise(i, 100)))
		cancel()
		if err := received(); err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, expect(ctx, b, i, i+1))
		}
	}
}

// A Send that was given up leaves whole frames in order, or a closed Conn.
func testCancelledSend(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	taken := fill(t, a)
	sent := async(t, func() error { return a.Send(ctx, noise(taken, 100)) })
	err := expect(ctx, b, 0, taken)
	if err == nil {
		err = expectEither(ctx, b, taken)
	}
	closed := errors.Is(err, transport.ErrClosed)
	require.True(t, err == nil || closed, "%v", err)
	if err := sent(); closed {
		require.ErrorIs(t, err, transport.ErrClosed)
	} else {
		require.NoError(t, err)
	}
}

// expectEither receives the frame that was sent after one that was given up,
// which may have arrived as well.
func expectEither(ctx context.Context, c transport.Conn, number int) error {
	for {
		f, err := c.Recv(ctx)
		if err != nil {
			return err
		}
		got := f.(*transport.Changes)
		if got.Part != uint64(number) {
			return fmt.Errorf("frame %d, want %d", got.Part, number)
		}
		if len(got.Sets[0].Members[0].Data) == 100 {
			return nil
		}
	}
}

// A context that has ended before the call does nothing.
func testEndedContext(t *testing.T, a, b transport.Conn) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, a.Send(ended, &transport.Ping{Nonce: 1}), context.Canceled)
	ctx := within(t)
	require.NoError(t, a.Send(ctx, &transport.Ping{Nonce: 2}))
	_, err := b.Recv(ended)
	require.ErrorIs(t, err, context.Canceled)
	got, err := b.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 2}, got)
}
