package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/natslink"
)

const space = "herd"

// backoff is impatient: this is a story of seconds.
var backoff = transport.Backoff{Min: 50 * time.Millisecond, Max: 400 * time.Millisecond}

// wire is a cable that can be cut: what runs over it ends without a word.
type wire struct {
	net.Listener // of a hub; nil for who only dials

	mu    sync.Mutex // guards what follows
	open  map[net.Conn]bool
	isCut bool
}

func (w *wire) track(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return nil, errors.Join(errors.New("the cable is cut"), c.Close())
	}
	if w.open == nil {
		w.open = map[net.Conn]bool{}
	}
	w.open[c] = true
	return c, nil
}

// Dial makes a wire a dialer of NATS.
func (w *wire) Dial(network, addr string) (net.Conn, error) {
	return w.track(net.DialTimeout(network, addr, 5*time.Second))
}

// Accept implements net.Listener.
func (w *wire) Accept() (net.Conn, error) { return w.track(w.Listener.Accept()) }

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for c := range w.open {
		_ = c.Close() // it may be closed already
	}
	clear(w.open)
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// startNATS runs a NATS server with JetStream inside this program.
func startNATS(dir string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("the NATS server does not start")
	}
	return s, nil
}

func node(url string, w *wire, o natslink.Options) (*natslink.Node, error) {
	o.NATS = []nats.Option{nats.SetCustomDialer(w)}
	o.Backoff, o.Heartbeat, o.Pulse = backoff, 500*time.Millisecond, time.Second
	return natslink.New(url, &o)
}

// serveNATS has others find a node, until stop is called.
func serveNATS(n *natslink.Node, o *natslink.ServeOptions) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, o) }()
	return func() error {
		cancel()
		return errors.Join(<-done, n.Close())
	}
}

// hub hosts the space for replicas that come over HTTP, and takes part in the fleet.
type hub struct {
	name, dir, url string
	hub            *replica.Hub
	handler        *httplink.Server
	server         *http.Server
	http, cable    *wire
	leave          func() error // the fleet
}

func startHub(name, dir, nats string) (*hub, error) {
	h := &hub{name: name, dir: dir, http: &wire{}, cable: &wire{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h.http.Listener = listener
	h.url = "http://" + listener.Addr().String() + "/spaces/" + space
	if h.hub, err = replica.OpenHub(filepath.Join(dir, name), &replica.Options{Synchronous: persist.Normal}); err != nil {
		return nil, err
	}
	n, err := node(nats, h.cable, natslink.Options{Hub: true})
	if err != nil {
		return nil, err
	}
	h.hub.OnOpen(func(space string, r *replica.Replica) error { return join(n, r) })
	h.leave = serveNATS(n, &natslink.ServeOptions{Accept: h.hub.Accept})
	h.handler = httplink.Handler(&httplink.ServerOptions{Accept: h.hub.Accept})
	h.server = &http.Server{Handler: h.handler}
	go func() { _ = h.server.Serve(h.http) }() // until it is closed
	return h, h.hub.With(context.Background(), space, func(*replica.Replica) error { return nil })
}

// kill ends a hub without a word to anybody.
func (h *hub) kill() error {
	h.http.cut()
	h.cable.cut()
	return h.close()
}

func (h *hub) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(h.handler.Close(ctx), h.server.Close(), h.hub.Close(), h.leave())
}

// join connects a replica to the space's fleet: its stream and its members.
func join(n *natslink.Node, r *replica.Replica) error {
	fleet, err := n.Fleet(space)
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

// member is one of the twenty.
type member struct {
	name  string
	r     *replica.Replica
	link  transport.Link // to whom it compares itself with
	up    *replica.Connection
	cable *wire        // to NATS; nil: it comes over HTTP
	leave func() error // the fleet
}

func openMember(ctx context.Context, name, dir string) (*member, error) {
	r, err := replica.Open(ctx, filepath.Join(dir, name+".db"), &replica.Options{Space: space, Synchronous: persist.Normal})
	return &member{name: name, r: r}, err
}

// dial connects the member to a hub over HTTP, and to no other any more.
func (m *member) dial(h *hub) (err error) {
	if m.up != nil {
		if err := m.up.Close(); err != nil {
			return err
		}
	}
	if m.link, err = httplink.New(h.url, &httplink.Options{Backoff: backoff}); err != nil {
		return err
	}
	m.up, err = m.r.Connect(m.link)
	return err
}

// join has the member take part in the fleet.
func (m *member) join(url string) error {
	m.cable = &wire{}
	n, err := node(url, m.cable, natslink.Options{ID: m.r.ID().String()})
	if err != nil {
		return err
	}
	m.leave = serveNATS(n, &natslink.ServeOptions{Space: space, Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
		return m.r.Accept(ctx, c, g)
	}})
	if m.link, err = n.Peer(space); err != nil {
		return err
	}
	return join(n, m.r)
}

func (m *member) close() error {
	err := m.r.Close()
	if m.leave != nil {
		err = errors.Join(err, m.leave())
	}
	return err
}
