package natslink_test

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/natslink"
	"github.com/godwitdb/godwit/transport/transporttest"
)

// pairs makes pairs of Conns between two servers' clients.
func pairs(t *testing.T, dialAt, acceptAt string) transporttest.Factory {
	accepted := make(chan transport.Conn)
	serve(t, newNode(t, acceptAt, &natslink.Options{Hub: true}), &natslink.ServeOptions{
		Space: "conform.1",
		Accept: func(ctx context.Context, _ string, c transport.Conn, _ transport.Grant) error {
			select {
			case accepted <- c:
			case <-ctx.Done():
			}
			<-ctx.Done()
			return nil
		},
	})
	link := peerLink(t, newNode(t, dialAt, nil), "conform.1")
	return func(tb testing.TB) (a, b transport.Conn) {
		a = dial(tb, link)
		b = <-accepted
		tb.Cleanup(func() { _ = b.Close() })
		return a, b
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startServer(t, &server.Options{})
	transporttest.Run(t, pairs(t, s.ClientURL(), s.ClientURL()))
}

// Messages of at most 64 KiB, and a server that keeps streams.
func TestConformanceSmallPayload(t *testing.T) {
	t.Parallel()
	o := withJetStream(t)
	o.MaxPayload = 64 << 10
	s := startServer(t, o)
	transporttest.Run(t, pairs(t, s.ClientURL(), s.ClientURL()))
}

func TestConformanceLeaf(t *testing.T) {
	t.Parallel()
	hub, leaf := startLeaf(t)
	transporttest.Run(t, pairs(t, hub.ClientURL(), leaf.ClientURL()))
}

// startLeaf starts a server and a leaf node of it, and waits until they are joined.
func startLeaf(t *testing.T) (hub, leaf *server.Server) {
	o := &server.Options{}
	o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	hub = startServer(t, o)
	remote := &url.URL{Scheme: "nats", Host: net.JoinHostPort(o.LeafNode.Host, strconv.Itoa(o.LeafNode.Port))}
	leaf = startServer(t, &server.Options{LeafNode: server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{remote}}}}})
	require.Eventually(t, func() bool { return hub.NumLeafNodes() == 1 && leaf.NumLeafNodes() == 1 }, patience, 5*time.Millisecond)
	return hub, leaf
}
