package transporttest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Factory returns a pair of connected Conns, which it closes when the test ends.
type Factory func(tb testing.TB) (dialled, accepted transport.Conn)

// patience bounds what must not hang. No test waits for it when all is well.
const patience = 30 * time.Second

// Run holds the Conns of a carrier, without faults, against the contract of
// transport.Conn. Each test gets a new pair, and is run with either end first.
func Run(t *testing.T, factory Factory) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, a, b transport.Conn)
	}{
		{"RoundTrip", testRoundTrip},
		{"Order", testOrder},
		{"LargestFrame", testLargestFrame},
		{"OversizeRefused", testOversizeRefused},
		{"BothWaysAtOnce", testBothWaysAtOnce},
		{"BackPressure", testBackPressure},
		{"SlowReceiver", testSlowReceiver},
		{"CancelledRecv", testCancelledRecv},
		{"CancelledSend", testCancelledSend},
		{"EndedContext", testEndedContext},
		{"CloseDelivers", testCloseDelivers},
		{"CloseUnblocksRecv", testCloseUnblocksRecv},
		{"CloseUnblocksSend", testCloseUnblocksSend},
		{"PeerCloseUnblocksSend", testPeerCloseUnblocksSend},
		{"CloseTwice", testCloseTwice},
		{"Stats", testStats},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("Dialled", func(t *testing.T) {
				a, b := factory(t)
				tt.test(t, a, b)
			})
			t.Run("Accepted", func(t *testing.T) {
				a, b := factory(t)
				tt.test(t, b, a)
			})
		})
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// async runs f and returns what waits for its error.
func async(t *testing.T, f func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("hangs")
			return nil
		}
	}
}

// noise is a frame of n bytes that don't compress, numbered.
func noise(number, n int) *transport.Changes {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(number), byte(number >> 8), byte(n)}).Read(data)
	return &transport.Changes{Part: uint64(number), Sets: []transport.Set{{Members: []transport.Member{{Collection: "c", ID: "1", Data: data}}}}}
}

func samples() []transport.Frame {
	c := crdt.Cursor{Epoch: 1<<64 - 1, LSN: 1<<63 - 1, Chain: crdt.Chain{15: 9}}
	return []transport.Frame{
		&transport.Hello{Protocol: 1, Space: "crew", Replica: crdt.ReplicaID{1}, Epoch: 7, Log: c, Read: c, Rights: crdt.Hash{1}, Requires: []string{"x"}, Want: transport.Everything()},
		&transport.Changes{From: c, Through: c, More: true, End: true, Part: 2, Sets: []transport.Set{
			{Members: []transport.Member{{Collection: "c", ID: "1", Data: []byte{1}}, {Collection: "d", ID: "ö", Data: []byte{2, 3}}}},
			{Members: []transport.Member{{Collection: "c", ID: "2", Data: make([]byte, 10_000)}}},
		}},
		&transport.Changes{End: true},
		&transport.Ack{Through: c, Resend: true, Exceptions: []transport.Exception{
			{Collection: "c", ID: "1", Hash: crdt.Hash{4}, State: transport.Parked, Code: "dep", Detail: "waits"},
		}},
		&transport.Ping{Nonce: 1},
		&transport.Pong{Nonce: 1<<64 - 1},
		&transport.Error{Code: transport.CodeClosed, Message: "going down"},
	}
}

func testRoundTrip(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	for _, want := range samples() {
		require.NoError(t, a.Send(ctx, want))
		got, err := b.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func testOrder(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	const frames = 2000
	sent := async(t, func() error {
		for i := range frames {
			if err := a.Send(ctx, &transport.Ping{Nonce: uint64(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range frames {
		got, err := b.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: uint64(i)}, got)
	}
	require.NoError(t, sent())
}

func testLargestFrame(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	want := noise(1, crdt.MaxChangeSize)
	rest := transport.Member{Collection: "c", ID: "2"}
	rest.Data = make([]byte, transport.MaxPayload-want.Sets[0].Size()-rest.Size())
	want.Sets[0].Members = append(want.Sets[0].Members, rest)
	require.Equal(t, transport.MaxPayload, want.Sets[0].Size())
	sent := async(t, func() error { return a.Send(ctx, want) })
	got, err := b.Recv(ctx)
	require.NoError(t, err)
	require.NoError(t, sent())
	require.True(t, equalSets(want.Sets, got.(*transport.Changes).Sets))
}

func equalSets(a, b []transport.Set) bool { // much faster than reflection on megabytes
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i].Members) != len(b[i].Members) {
			return false
		}
		for j, m := range a[i].Members {
			n := b[i].Members[j]
			if m.Collection != n.Collection || m.ID != n.ID || string(m.Data) != string(n.Data) {
				return false
			}
		}
	}
	return true
}

// A frame that can't be sent is the sender's error; the next one goes through.
func testOversizeRefused(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	tooMuch := noise(1, crdt.MaxChangeSize)
	tooMuch.Sets = append(tooMuch.Sets, noise(2, 2<<20).Sets...)
	require.ErrorIs(t, a.Send(ctx, tooMuch), transport.ErrTooLarge)
	require.ErrorIs(t, a.Send(ctx, noise(1, crdt.MaxChangeSize+1)), transport.ErrTooLarge)
	require.ErrorIs(t, a.Send(ctx, &transport.Hello{Space: "\xff"}), transport.ErrMalformed)
	require.NoError(t, a.Send(ctx, &transport.Ping{Nonce: 3}))
	got, err := b.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 3}, got)
}

// Both ends send more than any buffer holds while they receive.
func testBothWaysAtOnce(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	const frames = 200
	send := func(c transport.Conn) func() error {
		return async(t, func() error {
			for i := range frames {
				if err := c.Send(ctx, noise(i, 64<<10)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	receive := func(c transport.Conn) func() error {
		return async(t, func() error { return expect(ctx, c, 0, frames) })
	}
	for _, wait := range []func() error{send(a), send(b), receive(a), receive(b)} {
		require.NoError(t, wait())
	}
}
