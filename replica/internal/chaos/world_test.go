package chaos_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/natslink"
)

const patience = 2 * time.Minute

var backoff = transport.Backoff{Min: 2 * time.Millisecond, Max: 100 * time.Millisecond}

// world is a hub, which takes part in a NATS fleet, and its clients: some over HTTP through
// a gate and a proxy, some in the fleet.
type world struct {
	t      *testing.T
	random *rand.Rand
	dir    string
	space  string
	nats   *server.Server
	js     jetstream.JetStream
	nc     *nats.Conn

	hub   *replica.Hub
	links *httplink.Server
	gate  *gate
	http  *http.Server
	addr  string
	node  *natslink.Node
	stop  func()
	proxy *proxy

	clients []*client
	writes  int
	acked   map[string]string // record -> a part of its value
	log     []string
}

type client struct {
	name  string
	fleet bool
	r     *replica.Replica
	node  *natslink.Node
	stop  func()
}

func key(id string) crdt.Key { return crdt.Key{Collection: "notes", ID: id} }

func newWorld(t *testing.T, seed uint64, s *server.Server) *world {
	w := &world{t: t, random: pseudo(seed, 1), dir: t.TempDir(), space: fmt.Sprintf("chaos-%d", seed), nats: s, acked: map[string]string{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d: go test ./replica/internal/chaos -run TestChaos/%d$ -chaos.seed %d\n%s", seed, seed, seed, strings.Join(w.log, "\n"))
		}
	})
	var err error
	w.nc, err = nats.Connect(s.ClientURL())
	require.NoError(t, err)
	w.js, err = jetstream.New(w.nc)
	require.NoError(t, err)
	w.gate = &gate{}
	w.startHub()
	w.proxy = startProxy(t, w.addr, seed)
	for i := range 4 {
		c := &client{name: fmt.Sprintf("replica %d", i), fleet: i >= 2}
		w.clients = append(w.clients, c)
		w.open(c)
	}
	return w
}

func (w *world) note(step string) { w.log = append(w.log, step) }

// startHub opens the hub's folder and serves it, at the address it had before.
func (w *world) startHub() {
	hub, err := replica.OpenHub(filepath.Join(w.dir, "hub"), &replica.Options{Synchronous: persist.Normal})
	require.NoError(w.t, err)
	w.node = w.newNode(true, "")
	hub.OnOpen(func(space string, r *replica.Replica) error { return w.connectFleet(w.node, r) })
	accept := func(ctx context.Context, space string, c transport.Conn, g transport.Grant) error {
		return hub.Accept(ctx, space, c, g)
	}
	w.links = httplink.Handler(&httplink.ServerOptions{Accept: accept})
	w.gate.handler(w.links)
	var listener net.Listener
	require.Eventually(w.t, func() bool { // its port may be taken for a moment by a connection
		listener, err = net.Listen("tcp", cmp.Or(w.addr, "127.0.0.1:0"))
		return err == nil
	}, patience, time.Millisecond)
	w.addr = listener.Addr().String()
	w.http = &http.Server{Handler: w.gate}
	go func(s *http.Server) { _ = s.Serve(listener) }(w.http)
	w.hub, w.stop = hub, w.serve(w.node, &natslink.ServeOptions{Accept: accept})
	require.NoError(w.t, hub.With(context.Background(), w.space, func(*replica.Replica) error { return nil }))
}

// killHub ends the hub without a word to anyone.
func (w *world) killHub() {
	_ = w.http.Close()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.links.Close(ended)
	w.stop()
	require.NoError(w.t, w.hub.Close())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(w.t, w.links.Close(ctx))
	require.NoError(w.t, w.node.Close())
}

func (w *world) newNode(hub bool, id string) *natslink.Node {
	n, err := natslink.New(w.nats.ClientURL(), &natslink.Options{Hub: hub, ID: id, Backoff: backoff, Pulse: 200 * time.Millisecond, Heartbeat: time.Second,
		Stream: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }})
	require.NoError(w.t, err)
	return n
}

func (w *world) serve(n *natslink.Node, o *natslink.ServeOptions) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, o) }()
	return func() {
		cancel()
		<-done
	}
}

func (w *world) connectFleet(n *natslink.Node, r *replica.Replica) error {
	fleet, err := n.Fleet(w.space)
	if err != nil {
		return err
	}
	for _, l := range fleet.Links() {
		if _, err := r.Connect(l); err != nil {
			return err
		}
	}
	return nil
}

// open opens a replica and connects it.
func (w *world) open(c *client) {
	r, err := replica.Open(context.Background(), filepath.Join(w.dir, c.name+".db"), &replica.Options{Space: w.space, Synchronous: persist.Normal})
	require.NoError(w.t, err)
	c.r, c.stop = r, func() {}
	if c.fleet {
		c.node = w.newNode(false, r.ID().String())
		require.NoError(w.t, w.connectFleet(c.node, r))
		c.stop = w.serve(c.node, &natslink.ServeOptions{Space: w.space, Accept: func(ctx context.Context, _ string, conn transport.Conn, g transport.Grant) error {
			return r.Accept(ctx, conn, g)
		}})
		return
	}
	_, err = r.Connect(w.link(w.proxy.addr))
	require.NoError(w.t, err)
}

func (w *world) link(addr string) transport.Link {
	l, err := httplink.New("http://"+addr+"/spaces/"+w.space, &httplink.Options{Backoff: backoff, Probe: 500 * time.Millisecond,
		ClimbAfter: 100 * time.Millisecond, Heartbeat: time.Second, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	require.NoError(w.t, err)
	return l
}

func (c *client) close(t *testing.T) {
	c.stop()
	require.NoError(t, c.r.Close())
	if c.node != nil {
		require.NoError(t, c.node.Close())
	}
}

func (w *world) restart(c *client) {
	c.close(w.t)
	w.open(c)
}

func (w *world) close() {
	for _, c := range w.clients {
		c.close(w.t)
	}
	w.killHub()
	w.proxy.close()
	w.nc.Close()
}

// write edits one to three records in a set: a field of the replica's own, which no other
// writes, holds the number of the write.
func (w *world) write(c *client) {
	w.writes++
	err := c.r.Update(context.Background(), func(tx *replica.Tx) error {
		for range 1 + w.random.IntN(3) {
			id := fmt.Sprint(w.random.IntN(12))
			if err := tx.Put(key(id), map[string]any{"common": int64(w.writes), strings.ReplaceAll(c.name, " ", "-"): int64(w.writes)}); err != nil {
				return err
			}
		}
		id := fmt.Sprintf("write-%d", w.writes)
		w.acked[id] = fmt.Sprintf(`"n":%d`, w.writes)
		return tx.Put(key(id), map[string]any{"n": int64(w.writes)})
	})
	require.NoError(w.t, err)
}

// breathe lets the carriers work for a moment: which one, the seed does not say.
func (w *world) breathe() { time.Sleep(time.Duration(w.random.IntN(60)) * time.Millisecond) }

func (w *world) deleteStream() {
	err := w.js.DeleteStream(context.Background(), natslink.StreamName(w.space))
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		require.NoError(w.t, err)
	}
}

func (w *world) purgeStream() {
	s, err := w.js.Stream(context.Background(), natslink.StreamName(w.space))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return
	}
	require.NoError(w.t, err)
	require.NoError(w.t, s.Purge(context.Background()))
}

// mend takes all faults away.
func (w *world) mend() {
	w.note("mend")
	w.proxy.snip(0)
	w.proxy.delay(0)
	w.gate.block()
}

// eventually waits until the client is proven equal to the hub.
func (w *world) eventually(ctx context.Context, c *client) {
	link := w.link(w.addr)
	for {
		v, err := c.r.Verify(ctx, link, nil)
		if err == nil && v.Equal() {
			return
		}
		select {
		case <-ctx.Done():
			w.explain(c)
			require.Fail(w.t, "not equal", "%s: %v, %d records differ: %+v", c.name, err, v.Differing, v.Differences)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// explain logs what a replica and the hub know of each other.
func (w *world) explain(c *client) {
	ctx := context.Background()
	for _, c := range append(w.clients, nil) {
		name, show := "hub", func(r *replica.Replica) error {
			st, err := r.Status(ctx)
			w.t.Logf("%+v %v", st, err)
			held, err := r.Held(ctx)
			w.t.Logf("held: %+v %v", held, err)
			return nil
		}
		if c == nil {
			w.t.Log(name)
			_ = w.hub.With(ctx, w.space, show)
			continue
		}
		w.t.Log(c.name)
		_ = show(c.r)
	}
}
