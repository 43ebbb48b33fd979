package replica_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// TestDrainLetsGoInOrder drains a hub among peers that write all the time: each is
// told, nobody comes in any more, and afterwards the same files meet again without loss.
func TestDrainLetsGoInOrder(t *testing.T) {
	net := network(t)
	hub, dir := openHubIn(t, net)
	ctx := context.Background()
	var peers []*replica.Replica
	for i := range 3 {
		r := open(t, nil)
		peers = append(peers, r)
		_, err := r.Connect(net.Link(fmt.Sprint("peer", i), "hub"))
		require.NoError(t, err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				put(t, peers[i%3], fmt.Sprint(i), `{"v":1}`)
			}
		}
	}()
	require.Eventually(t, func() bool {
		m := metricsOf(t, hub)
		return m.Sessions == 3 && m.ChangesReceived > 30 && m.ChangesSent > 30
	}, patience, time.Millisecond)

	draining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	require.NoError(t, hub.Drain(draining))
	m := metricsOf(t, hub)
	require.Zero(t, m.Sessions)
	require.Equal(t, int64(3), m.Ended["closed"])
	require.Error(t, hub.Ready(ctx))

	_, err := peers[0].Sync(ctx, net.Link("peer0", "hub"))
	var told *transport.Error
	require.True(t, errors.As(err, &told), "%v", err)
	require.Equal(t, transport.CodeClosed, told.Code)
	close(stop)
	<-stopped
	require.NoError(t, hub.Close())

	again := openAt(t, filepath.Join(dir, "crew.db"), nil)
	serve(t, net, "again", again)
	for range 2 {
		for i, r := range peers {
			syncWith(t, r, net.Link(fmt.Sprint("peer", i), "again"))
		}
	}
	requireEqual(t, append(peers, again)...)
}

// TestDrainWaitsForAcknowledgements holds back the ack of what was sent: only when it
// has come is the peer told that this is the end.
func TestDrainWaitsForAcknowledgements(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "hub", r)
	put(t, r, "1", `{"v":1}`)
	ctx := context.Background()
	conn, err := net.Link("slow", "hub").Dial(ctx)
	require.NoError(t, err)
	defer conn.Close()
	shake(t, conn)
	var sent *transport.Changes
	for sent == nil || len(sent.Sets) == 0 {
		f, err := conn.Recv(ctx)
		require.NoError(t, err)
		sent, _ = f.(*transport.Changes)
	}
	done := make(chan error, 1)
	go func() { done <- r.Drain(ctx) }()
	other := open(t, nil)
	for {
		var told *transport.Error
		if _, err := other.Sync(ctx, net.Link("other", "hub")); errors.As(err, &told) {
			require.Equal(t, transport.CodeClosed, told.Code)
			break // it drains
		}
	}

	// It still answers: it has not ended.
	require.NoError(t, conn.Send(ctx, &transport.Ping{Nonce: 5}))
	var last crdt.Cursor
	for f := transport.Frame(nil); ; {
		f, err = conn.Recv(ctx)
		require.NoError(t, err)
		if c, ok := f.(*transport.Changes); ok {
			last = c.Through
		}
		if p, ok := f.(*transport.Pong); ok {
			require.Equal(t, uint64(5), p.Nonce)
			break
		}
	}
	select {
	case err := <-done:
		t.Fatalf("drained without the ack: %v", err)
	default:
	}
	if last == (crdt.Cursor{}) {
		last = sent.Through
	}
	require.NoError(t, conn.Send(ctx, &transport.Ack{Through: last}))
	f, err := conn.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, transport.CodeClosed, f.(*transport.Error).Code)
	require.NoError(t, <-done)
}

// TestDrainEndsWithItsContext: a peer that acknowledges nothing does not hold it up.
func TestDrainEndsWithItsContext(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "hub", r)
	put(t, r, "1", `{"v":1}`)
	conn, err := net.Link("mute", "hub").Dial(context.Background())
	require.NoError(t, err)
	defer conn.Close()
	shake(t, conn)
	f, err := conn.Recv(context.Background())
	require.NoError(t, err)
	require.NotEmpty(t, f.(*transport.Changes).Sets)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, r.Drain(ctx), context.Canceled)
}
