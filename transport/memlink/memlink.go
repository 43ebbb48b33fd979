package memlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Faults says what happens to frames between nodes. The zero Faults is a
// reliable, ordered pipe.
type Faults struct {
	Drop      float64       // the part of frames that get lost, 0 to 1
	Duplicate float64       // the part that arrives twice
	Reorder   float64       // the part that is held back, up to 4 times Delay (at least 10 ms), so that later ones overtake it
	Delay     time.Duration // each frame takes a random time up to this, in order
}

// Network connects named nodes in one process. It is safe for concurrent use.
type Network struct {
	seed  uint64
	codec *transport.Codec

	mu        sync.Mutex // guards what follows
	closed    bool
	faults    Faults
	listeners map[string]*Listener
	severed   map[pair]bool // partitions
	dials     map[pair]uint64
	open      map[*conn]struct{} // both ends of each connection
}

// pair of nodes; in severed in ascending order.
type pair struct{ from, to string }

// New returns a network whose faults are drawn from seed.
func New(seed uint64) *Network {
	return &Network{
		seed: seed, codec: transport.NewCodec(),
		listeners: map[string]*Listener{}, severed: map[pair]bool{}, dials: map[pair]uint64{}, open: map[*conn]struct{}{},
	}
}

// SetFaults sets the faults of all connections, open ones too, from now on.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Listener is a name that can be dialled.
type Listener struct {
	n      *Network
	name   string
	accept func(ctx context.Context, c transport.Conn) error
	ctx    context.Context // what accept functions are given; the listener owns them
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Listen lets others dial name: each connection is handed to accept in its own
// goroutine, and closed when that returns. The context ends with the listener.
// What accept returns is dropped. One listener a name.
func (n *Network) Listen(name string, accept func(ctx context.Context, c transport.Conn) error) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("listen as %s: %w", name, transport.ErrClosed)
	}
	if n.listeners[name] != nil {
		return nil, fmt.Errorf("listen as %s: the name is taken", name)
	}
	l := &Listener{n: n, name: name, accept: accept}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	n.listeners[name] = l
	return l, nil
}

// Close refuses further dials, closes the connections it accepted and waits for
// their accept functions.
func (l *Listener) Close() error {
	l.n.mu.Lock()
	if l.n.listeners[l.name] == l {
		delete(l.n.listeners, l.name)
	}
	l.n.mu.Unlock()
	l.cancel()
	l.n.closeWhere(func(c *conn) bool { return c.listener == l })
	l.done.Wait()
	return nil
}

func (l *Listener) serve(c *conn) {
	defer l.done.Done()
	defer c.Close()
	_ = l.accept(l.ctx, c)
}

// Link returns a link with which from dials to. Neither has to listen yet.
func (n *Network) Link(from, to string) transport.Link { return &link{n, pair{from, to}} }

type link struct {
	n *Network
	pair
}

func (l *link) Dial(ctx context.Context) (transport.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.n.dial(l.pair)
}

func (l *link) Backoff() transport.Backoff { return transport.Backoff{} }
func (l *link) String() string             { return "mem:" + l.from + "->" + l.to }

func (n *Network) dial(p pair) (transport.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[p.to]
	var err error
	switch {
	case n.closed:
		err = transport.ErrClosed
	case l == nil:
		err = errors.New("nobody listens")
	case n.severed[p.sorted()]:
		err = errors.New("no route: partitioned")
	}
	if err != nil {
		return nil, &transport.DialError{Peer: (&link{n, p}).String(), Code: transport.CodeClosed, Err: err}
	}
	n.dials[p]++
	there, back := newPipe(n.seed, p, n.dials[p]), newPipe(n.seed, pair{p.to, p.from}, n.dials[p])
	dialled := &conn{n: n, from: p.from, to: p.to, out: there, in: back}
	accepted := &conn{n: n, from: p.to, to: p.from, out: back, in: there, listener: l}
	n.open[dialled], n.open[accepted] = struct{}{}, struct{}{}
	l.done.Add(1)
	go l.serve(accepted)
	return dialled, nil
}

// Partition loses every frame between a and b, silently, and refuses dials.
// Connections stay open and notice nothing.
func (n *Network) Partition(a, b string) { n.sever(a, b, true) }

// Heal ends a partition. Open connections go on, without what was lost.
func (n *Network) Heal(a, b string) { n.sever(a, b, false) }

// HealAll ends all partitions.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.severed)
}

func (n *Network) sever(a, b string, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.severed[pair{a, b}.sorted()] = yes
}

// Cut closes the open connections between a and b, losing what was under way.
func (n *Network) Cut(a, b string) {
	n.closeWhere(func(c *conn) bool { return c.from == a && c.to == b || c.from == b && c.to == a })
}

// CutNode closes all open connections of a node, losing what was under way, as
// a crash does.
func (n *Network) CutNode(name string) {
	n.closeWhere(func(c *conn) bool { return c.from == name || c.to == name })
}

// Close closes all listeners and connections and waits for the accept functions.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	listeners := make([]*Listener, 0, len(n.listeners))
	for _, l := range n.listeners {
		listeners = append(listeners, l)
	}
	n.mu.Unlock()
	n.closeWhere(func(*conn) bool { return true })
	for _, l := range listeners {
		_ = l.Close()
	}
	return nil
}

// closeWhere breaks connections: unlike Close of a Conn, it loses what the peer
// has not fetched.
func (n *Network) closeWhere(match func(*conn) bool) {
	n.mu.Lock()
	var found []*conn
	for c := range n.open {
		if match(c) {
			found = append(found, c)
		}
	}
	n.mu.Unlock()
	for _, c := range found {
		c.in.breakOff()
		c.out.breakOff()
		_ = c.Close()
	}
}

func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// weather returns what frames between two nodes meet now.
func (n *Network) weather(p pair) (f Faults, severed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults, n.severed[p.sorted()]
}

func (p pair) sorted() pair {
	s := []string{p.from, p.to}
	slices.Sort(s)
	return pair{s[0], s[1]}
}
