package chaos_test

import (
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy forwards TCP connections, and breaks them.
type proxy struct {
	addr     string
	to       string
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	open   map[net.Conn]bool
	after  int // bytes after which a new connection is cut, at random up to it; 0: never
	pause  time.Duration
	closed bool
}

func startProxy(t *testing.T, to string, seed uint64) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: listener.Addr().String(), to: to, listener: listener, random: pseudo(seed, 2), open: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	return p
}

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.forward(from) })
	}
}

// forward carries a connection until either side ends it or its bytes are used up.
func (p *proxy) forward(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	p.mu.Lock()
	left := -1
	if p.after > 0 {
		left = p.random.IntN(p.after)
	}
	closed := p.closed
	p.open[from], p.open[to] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, from)
		delete(p.open, to)
	}()
	if closed {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, from, left) })
	both.Go(func() { p.copy(from, to, left) })
	both.Wait()
}

func (p *proxy) copy(to, from net.Conn, left int) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		pause := p.pause
		p.mu.Unlock()
		time.Sleep(pause) // that is what a slow network does
		if left >= 0 && n > left {
			_, _ = to.Write(buf[:left])
			return
		}
		if left >= 0 {
			left -= n
		}
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) snip(after int) {
	p.mu.Lock()
	p.after = after
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause = d
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.cut()
	p.done.Wait()
}

// gate is a middlebox before the hub that does not know all of HTTP.
type gate struct {
	mu      sync.Mutex // guards what follows
	next    http.Handler
	blocked []string
}

func (g *gate) handler(h http.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = h
}

func (g *gate) block(kinds ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked = kinds
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	next, blocked := g.next, g.blocked
	g.mu.Unlock()
	for _, kind := range blocked {
		if strings.EqualFold(r.Header.Get("Upgrade"), kind) || strings.Contains(r.Header.Get("Accept"), kind) {
			http.Error(w, "what is this?", http.StatusBadRequest)
			return
		}
	}
	next.ServeHTTP(w, r)
}
