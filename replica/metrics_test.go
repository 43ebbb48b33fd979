package replica_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

const patience = 30 * time.Second

// openHub returns a hub that others reach under the name hub, each in the space crew.
func openHub(t testing.TB, net *memlink.Network) *replica.Hub {
	t.Helper()
	hub, _ := openHubIn(t, net)
	return hub
}

func openHubIn(t testing.TB, net *memlink.Network) (hub *replica.Hub, dir string) {
	t.Helper()
	dir = t.TempDir()
	hub, err := replica.OpenHub(dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Close()) })
	_, err = net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		return hub.Accept(ctx, "crew", c, transport.FullGrant())
	})
	require.NoError(t, err)
	return hub, dir
}

func metricsOf(t testing.TB, hub *replica.Hub) replica.Metrics {
	t.Helper()
	m, err := hub.Metrics(context.Background())
	require.NoError(t, err)
	return m
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func TestMetricsCountWhatWasDone(t *testing.T) {
	hub := openHub(t, network(t)) // closed after the network
	require.Zero(t, metricsOf(t, hub).Spaces)

	net := network(t)
	hub = openHub(t, net)
	a, b := open(t, nil), open(t, nil)
	for i := range 7 {
		put(t, a, fmt.Sprint(i), `{"v":1}`)
	}
	counts := syncWith(t, a, net.Link("a", "hub"))
	syncWith(t, b, net.Link("b", "hub"))
	require.Eventually(t, func() bool { return metricsOf(t, hub).Ended["closed"] == 2 }, patience, time.Millisecond)

	m := metricsOf(t, hub)
	require.Equal(t, 1, m.Spaces)
	require.Zero(t, m.Sessions)
	require.Equal(t, map[string]int64{"closed": 2}, m.Ended, "the peers hung up")
	require.EqualValues(t, 7, m.ChangesReceived)
	require.EqualValues(t, 7, m.ChangesSent)
	require.EqualValues(t, 2, m.FramesSent["hello"])
	require.EqualValues(t, 2, m.FramesReceived["hello"])
	require.Equal(t, counts.BytesSent+bytesSent(t, b), m.BytesReceived)
	require.Greater(t, m.BytesSent["changes"], m.BytesSent["hello"])
	require.Zero(t, m.Lag)
	require.Empty(t, m.Runs)
	require.Empty(t, m.Refused)
	require.Len(t, m.Commits.Counts, len(m.Commits.Bounds)+1)
	commits := int64(0)
	for _, n := range m.Commits.Counts {
		commits += n
	}
	require.GreaterOrEqual(t, commits, int64(3), "a peer's row, its changes and its end, at least")
	require.Positive(t, m.Commits.Sum)

	// What the other side counts is the same.
	peer, err := b.Metrics(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 7, peer.ChangesReceived)
	require.Equal(t, 1, peer.Spaces)
	require.EqualValues(t, 1, peer.FramesSent["hello"])
}

func bytesSent(t testing.TB, r *replica.Replica) int64 {
	t.Helper()
	m, err := r.Metrics(context.Background())
	require.NoError(t, err)
	return sum(m.BytesSent)
}

func TestMetricsOfReconciliation(t *testing.T) {
	net := network(t)
	hub := openHub(t, net)
	path := filepath.Join(t.TempDir(), "a.db")
	a := openAt(t, path, nil)
	for i := range 5 {
		put(t, a, fmt.Sprint(i), `{"v":1}`)
	}
	syncWith(t, a, net.Link("a", "hub"))
	require.Empty(t, metricsOf(t, hub).Runs)

	// A replica that meets the hub under another filter compares what it has.
	put(t, a, "9", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"), replica.Only(transport.Scope{Only: []transport.Selector{{Collection: "notes", Prefix: "9"}}}))
	syncWith(t, a, net.Link("a", "hub"))
	require.Eventually(t, func() bool { return metricsOf(t, hub).Ended["closed"] == 3 }, patience, time.Millisecond)
	m, err := a.Metrics(context.Background())
	require.NoError(t, err)
	require.Positive(t, sum(m.Runs)+sum(metricsOf(t, hub).Runs))
	require.Equal(t, m.Runs["complete"], sum(m.Runs))
}

func TestMetricsOfRefusals(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	_, err := net.Listen("reader", func(ctx context.Context, c transport.Conn) error {
		g := transport.FullGrant()
		g.Write = transport.Scope{Only: []transport.Selector{{Collection: "other"}}}
		return r.Accept(ctx, c, g)
	})
	require.NoError(t, err)
	a := open(t, nil)
	put(t, a, "1", `{"v":1}`)
	put(t, a, "2", `{"v":1}`)
	_, err = a.Sync(context.Background(), net.Link("a", "reader"))
	require.Error(t, err)
	m, err := r.Metrics(context.Background())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"rights": 2}, m.Refused)
	m, err = a.Metrics(context.Background())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"rights": 2}, m.Declined)
}

// TestLagIsWhatPeersHaveNotAcknowledged holds a peer that takes nothing in.
func TestLagIsWhatPeersHaveNotAcknowledged(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "hub", r)
	ctx := context.Background()
	conn, err := net.Link("mute", "hub").Dial(ctx)
	require.NoError(t, err)
	shake(t, conn)
	for i := range 5 {
		put(t, r, fmt.Sprint(i), `{"v":1}`)
	}
	require.Eventually(t, func() bool {
		m, err := r.Metrics(ctx)
		require.NoError(t, err)
		return m.Sessions == 1 && m.Lag == 5 && m.LagMax == 5
	}, patience, time.Millisecond)
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool {
		m, err := r.Metrics(ctx)
		require.NoError(t, err)
		return m.Sessions == 0 && m.Lag == 0 && m.Ended["closed"] == 1
	}, patience, time.Millisecond)
}

// TestPeersNameNoLabels: an Error with a code of the peer's own making is counted as
// other.
func TestPeersNameNoLabels(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "hub", r)
	for i := range 3 {
		conn, err := net.Link("rude", "hub").Dial(context.Background())
		require.NoError(t, err)
		shake(t, conn)
		require.NoError(t, conn.Send(context.Background(), &transport.Error{Code: fmt.Sprint("code", i), Message: "no"}))
		for err == nil {
			_, err = conn.Recv(context.Background())
		}
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool {
		m, err := r.Metrics(context.Background())
		require.NoError(t, err)
		return sum(m.Ended) == 3
	}, patience, time.Millisecond)
	m, err := r.Metrics(context.Background())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"other": 3}, m.Ended)
}

// shake does the handshake of a new peer and leaves the rest to the test.
func shake(t testing.TB, conn transport.Conn) {
	t.Helper()
	ctx := context.Background()
	_, err := conn.Recv(ctx)
	require.NoError(t, err)
	us := crdt.Cursor{Epoch: 99}
	require.NoError(t, conn.Send(ctx, &transport.Hello{
		Protocol: transport.ProtocolVersion, Replica: crdt.ReplicaID{7}, Epoch: us.Epoch, Log: us, Want: transport.Everything(),
	}))
	ack, err := conn.Recv(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.Send(ctx, &transport.Ack{}))
	_, err = conn.Recv(ctx)
	require.NoError(t, err)
	at := ack.(*transport.Ack).Through
	require.NoError(t, conn.Send(ctx, &transport.Changes{From: at, Through: at}))
}
