package transporttest

import (
	"context"
	"math/rand/v2"
	"strconv"
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

// test is one of the suite; a is one end, b the other.
type test struct {
	name string
	test func(t *testing.T, a, b transport.Conn)
}

// Run holds the Conns of a carrier, without faults, against the contract of
// transport.Conn. Each test gets a new pair, and is run with either end first.
func Run(t *testing.T, factory Factory) {
	run(t, factory, []test{
		{"RoundTrip", testRoundTrip},
		{"Order", testOrder},
		{"LargestFrame", testLargestFrame},
		{"HugeSet", testHugeSet},
		{"OversizeRefused", testOversizeRefused},
		{"BothWaysAtOnce", testBothWaysAtOnce},
		{"BackPressure", testBackPressure},
		{"SlowReceiver", testSlowReceiver},
		{"CancelledRecv", testCancelledRecv},
		{"CancelledRecvRace", testCancelledRecvRace},
		{"CancelledSend", testCancelledSend},
		{"EndedContext", testEndedContext},
		{"CloseDelivers", testCloseDelivers},
		{"CloseWhileSending", testCloseWhileSending},
		{"CloseUnblocksRecv", testCloseUnblocksRecv},
		{"CloseUnblocksSend", testCloseUnblocksSend},
		{"PeerCloseUnblocksSend", testPeerCloseUnblocksSend},
		{"CloseTwice", testCloseTwice},
		{"Stats", testStats},
	})
}

func run(t *testing.T, factory Factory, tests []test) {
	for _, tt := range tests {
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

// samples has a frame of each kind but Token, which carriers that renew tokens keep to
// themselves.
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
		&transport.Changes{Loose: 3, Sets: []transport.Set{{Members: []transport.Member{{Collection: "c", ID: "1", Data: []byte{1}}}}}},
		&transport.Digest{ID: 1<<64 - 1, Answer: true, Scopes: []transport.Scope{transport.Everything()}, Ranges: []transport.Range{
			{Bits: 1, Prefix: 1 << 63, Prints: []transport.Print{{1}, {15: 2}}},
			{Bits: 64, Prefix: 5, Items: []transport.Item{{Place: 5, Heads: 1<<64 - 1}}},
		}},
		&transport.Need{ID: 2, Answer: true, Names: true, Loose: 3, Log: c.LSN, Behind: c.LSN, Haves: []transport.Have{
			{Key: crdt.Key{Collection: "d", ID: "ö"}, Place: 6, Heads: 7, Clock: crdt.Clock{"a": 1<<64 - 1}, All: true, Shut: true, Kept: true},
		}},
		&transport.Presence{Notes: []transport.Note{
			{Room: "r", Replica: crdt.ReplicaID{1}, Member: 2, Seq: 3, Kind: transport.NoteState, Holds: time.Second, Data: []byte(`{}`)},
		}},
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

// A change set of the most changes and about the most bytes that there may be,
// in parts as a session cuts it, with small frames the other way.
func testHugeSet(t *testing.T, a, b transport.Conn) {
	ctx := within(t)
	const parts, members = 8, 2500
	want := make([]*transport.Changes, parts)
	for i := range want {
		data := noise(i, members*400).Sets[0].Members[0].Data
		want[i] = &transport.Changes{Part: uint64(i), More: i < parts-1, Sets: []transport.Set{{}}}
		for j := range members {
			m := transport.Member{Collection: "c", ID: strconv.Itoa(j), Data: data[j*400 : (j+1)*400]}
			want[i].Sets[0].Members = append(want[i].Sets[0].Members, m)
		}
	}
	sent := async(t, func() error {
		for _, part := range want {
			if err := a.Send(ctx, part); err != nil {
				return err
			}
		}
		return nil
	})
	for i, part := range want {
		require.NoError(t, b.Send(ctx, &transport.Ping{Nonce: uint64(i)}))
		got, err := b.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, part.More, got.(*transport.Changes).More)
		require.True(t, equalSets(part.Sets, got.(*transport.Changes).Sets), "part %d", i)
		back, err := a.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: uint64(i)}, back)
	}
	require.NoError(t, sent())
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
