package natslink_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	testify "github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/natslink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must not hang. No test waits for it when all is well.
const patience = 30 * time.Second

// startServer starts a NATS server on a port of its own, unless o says which, and
// stops it when the test ends.
func startServer(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoLog, o.NoSigs = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { stopServer(s) })
	require.True(t, s.ReadyForConnections(patience))
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func withJetStream(t testing.TB) *server.Options {
	return &server.Options{JetStream: true, StoreDir: t.TempDir()}
}

func newNode(t testing.TB, url string, o *natslink.Options) *natslink.Node {
	t.Helper()
	n, err := natslink.New(url, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// serve serves until the test ends, or stop is called.
func serve(t testing.TB, n *natslink.Node, o *natslink.ServeOptions) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, o) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial dials until somebody is there.
func dial(t testing.TB, l transport.Link) transport.Conn {
	t.Helper()
	ctx := within(t)
	for {
		c, err := l.Dial(ctx)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		require.ErrorIs(t, err, natslink.ErrNobody)
	}
}

func peerLink(t testing.TB, n *natslink.Node, space string) transport.Link {
	t.Helper()
	l, err := n.Peer(space)
	require.NoError(t, err)
	return l
}

// assert is what EventuallyWithT hands to its condition.
type assert = testify.CollectT

// noise is n bytes that don't compress.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}
