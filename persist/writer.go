package persist

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// maxGroup bounds how many closures share a transaction.
const maxGroup = 256

// writer owns the one connection that writes, on one goroutine. Whoever wants
// to commit hands it a request; requests that come while a transaction is open
// join it, so that under load many share the wait for the disk.
type writer struct {
	c     *conn
	place place
	epoch uint64
	sync  Synchronous
	wake  func() // called after each commit

	expanded *expanded
	vault    *vault

	queue   chan *request // unbuffered: a request that was sent is taken
	closing chan struct{}
	closed  sync.WaitGroup
	running atomic.Bool  // a closure is under way
	id      atomic.Int64 // of the writing goroutine
	callPC  uintptr      // where invoke calls the closure, set before the first request

	// Below: only the writing goroutine, or nobody.
	group      []*request // whose closures ran in the open transaction
	current    *request   // whose closure runs
	held       *request   // taken, but not fit to join the transaction
	lastGroup  int        // how many shared the last transaction
	seen       int64      // SQLite's data_version when this store last committed
	version    int64      // the same in the open transaction
	generation uint64     // counts the transactions that found another one than seen
	known      position   // as committed, valid when seen is
	pos        position   // within the open transaction
	base       position   // where the open transaction began
	full       bool       // the open transaction is to be synced whatever the mode
	sealing    *sealing   // as committed, valid when seen is
}

// request is one call of Commit.
type request struct {
	fn         func(*Tx) error
	outside    func(*conn) error // instead of fn: in no transaction
	full       bool              // to be synced whatever the mode, so alone in its transaction
	done       chan struct{}
	err        error
	panicked   any  // what fn panicked with, to go on in the caller
	exited     bool // fn ended its goroutine, so the caller's has to end
	onCommit   []func()
	onRollback []func()
}

func startWriter(c *conn, s *Store, wake func()) *writer {
	w := &writer{c: c, place: s.place, epoch: s.epoch, sync: s.opts.Synchronous, wake: wake, expanded: s.expanded, vault: s.vault, sealing: s.vault.now.Load(),
		queue: make(chan *request), closing: make(chan struct{}), seen: -1}
	w.callPC = findCallPC()
	w.closed.Go(w.loop)
	return w
}

// do runs the request and returns its outcome.
func (w *writer) do(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.running.Load() && w.nested() {
		return ErrNested
	}
	r.done = make(chan struct{})
	select {
	case <-w.closing:
		return ErrClosed
	default:
	}
	select {
	case w.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return ErrClosed
	}
	<-r.done // no way out: from here on the caller learns what really happened
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case r.exited:
		runtime.Goexit()
	}
	return r.err
}

func (w *writer) close() error {
	close(w.closing)
	w.closed.Wait()
	return w.c.close()
}

// loop serves requests until the store is closed. A closure that ends its
// goroutine (a failing test does) ends this one: its transaction is given up and
// another goroutine takes over.
func (w *writer) loop() {
	returned := false
	defer func() {
		if !returned {
			w.current.exited = true
			w.fail(errExited)
			w.closed.Go(w.loop)
		}
	}()
	w.id.Store(goroutineID())
	for {
		r := w.held
		w.held = nil
		if r == nil {
			select {
			case r = <-w.queue:
			case <-w.closing:
				returned = true
				return
			}
		}
		w.transact(r)
	}
}

// next takes a request that waits and may join the transaction, nil if there is
// none. Callers whom the last commit answered come back all at once: they get
// the moment they need to be in time.
func (w *writer) next() *request {
	for len(w.group) < maxGroup {
		select {
		case r := <-w.queue:
			if r.full || r.outside != nil {
				w.held = r
				return nil
			}
			return r
		default:
		}
		if len(w.group) >= w.lastGroup {
			break
		}
		w.lastGroup-- // wait less the next time
		runtime.Gosched()
	}
	return nil
}

// nested reports whether the caller runs inside a closure of this writer. Go
// has no cheap way to ask which goroutine this is, so that is asked only of one
// that runs some store's closure, as its stack tells.
func (w *writer) nested() bool {
	var pcs [128]uintptr
	n := runtime.Callers(2, pcs[:])
	return (n == len(pcs) || slices.Contains(pcs[:n], w.callPC)) && goroutineID() == w.id.Load()
}

// findCallPC returns the address that invoke's call of a closure returns to.
func findCallPC() (found uintptr) {
	(&writer{c: &conn{}}).invoke(&request{fn: func(*Tx) error {
		var pcs [2]uintptr
		runtime.Callers(1, pcs[:]) // this closure, then invoke
		found = pcs[1]
		return nil
	}})
	return found
}

// goroutineID reads "goroutine 123 [running]:", which is all Go says of it.
func goroutineID() int64 {
	var b [64]byte
	line := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(line, []byte(" "))
	id, _ := strconv.ParseInt(string(digits), 10, 64)
	return id
}
