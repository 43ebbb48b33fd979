package sim_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// node is a replica and all of its lives.
type node struct {
	w      *world
	name   string
	number int  // in the world
	hub    bool // a Hub opens it, and is what peers dial
	keeper bool
	path   string
	life   int                             // of its files
	opened int                             // times
	off    atomic.Int64                    // what its clock is off, nanoseconds
	most   int64                           // the latest its clock ever showed, ms since 1970
	grant  atomic.Pointer[transport.Grant] // of its peers

	saved     string // backup, "" for none
	savedHead crdt.LSN

	// Of this life.
	r         *replica.Replica
	store     *persist.Store // of r
	shut      func() error   // closes r
	accept    func(context.Context, transport.Conn, transport.Grant) error
	fuse      *fuse
	actor     crdt.ActorID // of its last update, "" before the first
	listeners []*memlink.Listener
	conns     map[*node]*replica.Connection
	syncs     sync.WaitGroup
	end       context.CancelFunc // of ctx
	ctx       context.Context    // of what runs for the node beside its replica
	watch     *watcher

	seen   map[crdt.LSN]crdt.Hash // what watchers of all lives saw
	forged int64                  // changes that it must have refused

	errMu sync.Mutex // guards errs
	errs  []string   // what goroutines found wrong
}

func (n *node) String() string { return n.name }

func (n *node) complain(format string, args ...any) {
	n.errMu.Lock()
	defer n.errMu.Unlock()
	n.errs = append(n.errs, fmt.Sprintf(format, args...))
}

// jitter is a number that depends on nothing but the seed, the node and the time.
func (n *node) jitter() float64 {
	at := uint64(time.Since(n.w.began))
	return rand.New(rand.NewPCG(n.w.plan.seed^at, uint64(n.number))).Float64()
}

func (n *node) now() time.Time { return time.Now().Add(time.Duration(n.off.Load())) }

// setClock puts the node's clock wrong by d.
func (n *node) setClock(d time.Duration) {
	n.most = max(n.most, n.now().UnixMilli()) // it was right, or wrong in another way, until now
	n.off.Store(int64(d))
	n.most = max(n.most, n.now().UnixMilli())
}

// open begins a life.
func (n *node) open() {
	if n.opened++; n.opened == 1 && n.life == 0 {
		n.create()
	}
	n.fuse = &fuse{}
	hooks := &persist.Hooks{Random: newNames(n), Call: n.fuse.burn, Opened: func(s *persist.Store) { n.store = s }, Alone: true}
	ctx := persist.WithHooks(context.Background(), hooks)
	opts := &replica.Options{Space: "sim", Synchronous: persist.Normal, CacheBytes: n.w.cache, Keeper: n.keeper,
		ReconcileEvery: n.w.every, Random: n.jitter, Now: n.now}
	if n.hub {
		n.openHub(ctx, opts)
	} else {
		n.openAlone(ctx, opts)
	}
	n.actor, n.conns = "", map[*node]*replica.Connection{}
	n.ctx, n.end = context.WithCancel(context.Background())
	if n.seen == nil {
		n.seen = map[crdt.LSN]crdt.Hash{}
	}
	n.watch = startWatcher(n)
	n.fuse.mu = &n.watch.mu
	for _, net := range []*memlink.Network{n.w.net, n.w.stick.net} {
		n.listen(net)
	}
}

func (n *node) openAlone(ctx context.Context, opts *replica.Options) {
	r, err := replica.Open(ctx, n.path, opts)
	need(err, "open %s", n)
	n.r, n.accept, n.shut = r, r.Accept, r.Close
}

// openHub has a Hub open the replica, and holds it open.
func (n *node) openHub(ctx context.Context, opts *replica.Options) {
	h, err := replica.OpenHub(dirOf(n.path), opts)
	need(err, "open hub %s", n)
	opened, release, released := make(chan *replica.Replica, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		released <- h.With(ctx, opts.Space, func(r *replica.Replica) error {
			opened <- r
			<-release
			return nil
		})
	}()
	select {
	case n.r = <-opened:
	case err := <-released:
		need(err, "open %s", n)
	}
	n.accept = func(ctx context.Context, c transport.Conn, g transport.Grant) error {
		return h.Accept(ctx, opts.Space, c, g)
	}
	n.shut = func() error {
		close(release)
		return errors.Join(<-released, h.Close())
	}
}

func (n *node) listen(net *memlink.Network) {
	fuse, accept, stick := n.fuse, n.accept, net != n.w.net
	l, err := net.Listen(n.name, func(ctx context.Context, c transport.Conn) error {
		grant := transport.FullGrant()
		if !stick {
			grant = *n.grant.Load()
		}
		return accept(ctx, gate{c, n, fuse}, grant)
	})
	need(err, "listen as %s", n)
	n.listeners = append(n.listeners, l)
}

// stop ends a life with all its goodbyes.
func (n *node) stop() {
	if n.r == nil {
		return
	}
	n.end()
	n.syncs.Wait()
	n.watch.join()
	for _, c := range n.conns {
		_ = c.Close()
	}
	for _, l := range n.listeners {
		_ = l.Close()
	}
	if err := n.shut(); err != nil {
		n.complain("close: %v", err)
	}
	n.r, n.listeners = nil, nil
}

// join keeps what the watcher saw, for the lives to come.
func (n *node) join() {
	for lsn, hash := range n.watch.seen {
		n.seen[lsn] = hash
	}
}

// head is where the node's log ends.
func (n *node) head() crdt.LSN {
	c, err := n.r.Head(context.Background())
	need(err, "head of %s", n)
	return c.LSN
}

// peers are those with whom the node exchanges changes.
func (n *node) peers() (all []*node) {
	for _, e := range n.w.edges {
		switch n {
		case e[0]:
			all = append(all, e[1])
		case e[1]:
			all = append(all, e[0])
		}
	}
	return all
}

// gate holds a connection's frames back once its node is dead, and writes down what
// arrives.
type gate struct {
	transport.Conn
	n    *node
	fuse *fuse
}

func (g gate) Send(ctx context.Context, f transport.Frame) error {
	if g.fuse.blown() {
		return nil
	}
	return g.Conn.Send(ctx, f)
}

func (g gate) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := g.Conn.Recv(ctx)
	if err != nil {
		return nil, err
	}
	g.n.w.rec.frame(g.n, f)
	if g.n.w.frames.Add(1) > manyFrames {
		time.Sleep(10 * time.Second)
	}
	return f, nil
}

// manyFrames is a multiple of what a run needs. Behind that each takes long, so that replicas
// that exchange them for ever come to the end of what is allowed them.
const manyFrames = 10_000

// gatedLink puts a gate before every connection of a node.
type gatedLink struct {
	transport.Link
	n    *node
	fuse *fuse
}

func (l gatedLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return gate{c, l.n, l.fuse}, nil
}

func (n *node) link(to *node) transport.Link {
	return gatedLink{n.w.net.Link(n.name, to.name), n, n.fuse}
}

func (n *node) connect(to *node) {
	if n.conns[to] != nil {
		return
	}
	c, err := n.r.Connect(n.link(to))
	need(err, "%s connects", n)
	n.conns[to] = c
}

func (n *node) disconnect(to *node) {
	if c := n.conns[to]; c != nil {
		delete(n.conns, to)
		_ = c.Close()
	}
}

// sync exchanges once, in the background; the channel is closed at the end.
func (n *node) sync(to *node, opts ...replica.LinkOption) <-chan struct{} {
	done := make(chan struct{})
	link, r := n.link(to), n.r
	ctx, stop := context.WithTimeout(n.ctx, time.Duration(1+n.w.rng.IntN(100))*time.Second)
	n.syncs.Go(func() {
		defer close(done)
		defer stop()
		if _, err := r.Sync(ctx, link, opts...); err != nil && !n.w.excuses(err) {
			n.complain("sync with %s: %v", to, err)
		}
	})
	return done
}

// excused reports whether bad weather explains the error.
func excused(err error) bool {
	var dial *transport.DialError
	return errors.As(err, &dial) || errors.Is(err, transport.ErrClosed) || errors.Is(err, replica.ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		strings.Contains(err.Error(), "did not finish the handshake")
}
