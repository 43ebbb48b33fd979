package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	w     *world
	name  string
	cache int // bytes
	path  string
	life  int
	off   atomic.Int64                    // what its clock is off, nanoseconds
	grant atomic.Pointer[transport.Grant] // of its peers

	rngMu sync.Mutex // guards rng: sessions draw their jitter
	rng   *rand.Rand

	saved     string // backup, "" for none
	savedHead crdt.LSN

	// Of this life.
	r         *replica.Replica
	dead      *atomic.Bool // set: no frame leaves any more
	listeners []*memlink.Listener
	conns     map[*node]*replica.Connection
	syncs     sync.WaitGroup
	end       context.CancelFunc // of ctx
	ctx       context.Context    // of what runs for the node beside its replica
	watch     *watcher

	seen map[crdt.LSN]crdt.Hash // what watchers of all lives saw

	errMu sync.Mutex // guards errs
	errs  []string   // what goroutines found wrong
}

func (n *node) String() string { return n.name }

func (n *node) complain(format string, args ...any) {
	n.errMu.Lock()
	defer n.errMu.Unlock()
	n.errs = append(n.errs, fmt.Sprintf(format, args...))
}

func (n *node) random() float64 {
	n.rngMu.Lock()
	defer n.rngMu.Unlock()
	return n.rng.Float64()
}

// open begins a life.
func (n *node) open() {
	ctx := context.Background()
	r, err := replica.Open(ctx, n.path, &replica.Options{
		Space: "sim", Synchronous: persist.Normal, CacheBytes: n.cache, Random: n.random,
		Now: func() time.Time { return time.Now().Add(time.Duration(n.off.Load())) },
	})
	need(err, "open %s", n)
	n.r, n.dead, n.conns = r, new(atomic.Bool), map[*node]*replica.Connection{}
	n.ctx, n.end = context.WithCancel(ctx)
	if n.seen == nil {
		n.seen = map[crdt.LSN]crdt.Hash{}
	}
	n.watch = startWatcher(n)
	for _, net := range []*memlink.Network{n.w.net, n.w.stick.net} {
		dead, stick := n.dead, net != n.w.net
		l, err := net.Listen(n.name, func(ctx context.Context, c transport.Conn) error {
			grant := transport.FullGrant()
			if !stick {
				grant = *n.grant.Load()
			}
			return r.Accept(ctx, gate{c, dead}, grant)
		})
		need(err, "listen as %s", n)
		n.listeners = append(n.listeners, l)
	}
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
	if err := n.r.Close(); err != nil {
		n.complain("close: %v", err)
	}
	n.r, n.listeners = nil, nil
}

// crash ends a life without any: nothing that the replica does from now on gets
// out, and the next life begins with the files as they are now, or with those of
// a backup.
func (n *node) crash(backup string) {
	old := n.path
	n.dead.Store(true)
	n.life++
	n.path = filepath.Join(n.w.dir, fmt.Sprintf("%s.%d.db", n.name, n.life))
	if backup == "" {
		n.copyFrom(old, n.path)
	} else {
		need(copyFiles(backup, n.path), "restore %s", n)
	}
	n.w.net.CutNode(n.name)
	n.w.stick.net.CutNode(n.name)
	n.stop()
	n.join()
	if backup != "" {
		for lsn := range n.seen {
			if lsn > n.savedHead {
				delete(n.seen, lsn)
			}
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(old + suffix)
	}
}

// join keeps what the watcher saw, for the lives to come.
func (n *node) join() {
	for lsn, hash := range n.watch.seen {
		n.seen[lsn] = hash
	}
}

// copyTo copies the running node's files.
func (n *node) copyTo(path string) (head crdt.LSN) { return n.copyFrom(n.path, path) }

// copyFrom copies a database as a kill would leave it. A second store on the
// file keeps writers out meanwhile, as another process could.
func (n *node) copyFrom(from, to string) (head crdt.LSN) {
	s, err := persist.Open(context.Background(), from, &persist.Options{Synchronous: persist.Normal})
	need(err, "open %s beside the replica", n)
	defer s.Close()
	enough := errors.New("copied")
	err = s.Commit(context.Background(), func(tx *persist.Tx) error {
		head = tx.Head().LSN
		if err := copyFiles(from, to); err != nil {
			return err
		}
		return enough
	})
	if !errors.Is(err, enough) {
		need(err, "copy %s", n)
	}
	return head
}

// copyFiles copies a database and its WAL. The other file of SQLite's, -shm, is
// memory, which a crash loses.
func copyFiles(from, to string) error {
	for _, suffix := range []string{"-wal", ""} {
		_ = os.Remove(to + suffix)
		in, err := os.Open(from + suffix)
		if suffix != "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		out, err := os.Create(to + suffix)
		if err == nil {
			_, err = io.Copy(out, in)
			err = errors.Join(err, out.Close())
		}
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// head is where the node's log ends.
func (n *node) head() crdt.LSN {
	st, err := n.r.Status(context.Background())
	need(err, "status of %s", n)
	return st.Log.LSN
}

// gate holds a connection's frames back once its node is dead.
type gate struct {
	transport.Conn
	dead *atomic.Bool
}

func (g gate) Send(ctx context.Context, f transport.Frame) error {
	if g.dead.Load() {
		return nil
	}
	return g.Conn.Send(ctx, f)
}

// gatedLink puts a gate before every connection of a node.
type gatedLink struct {
	transport.Link
	dead *atomic.Bool
}

func (l gatedLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return gate{c, l.dead}, nil
}

func (n *node) link(to *node) transport.Link {
	return gatedLink{n.w.net.Link(n.name, to.name), n.dead}
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
