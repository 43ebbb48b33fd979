package httplink

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Rung is a way to carry a connection over HTTP.
type Rung string

// The rungs of the ladder, from the top.
const (
	RungWebSocket Rung = "ws"   // a WebSocket, both ways
	RungEvents    Rung = "sse"  // server-sent events down, POST up
	RungPoll      Rung = "poll" // GETs that the server holds until there is something to go down, POST up
	RungPost      Rung = "post" // POSTs that carry both ways and are answered soon
)

// Rungs returns all rungs, from the top.
func Rungs() []Rung { return []Rung{RungWebSocket, RungEvents, RungPoll, RungPost} }

// RungOf returns the rung that carries a connection which a link of this package
// has dialled: one below the WebSocket may change while it is open. It is ""
// for other connections.
func RungOf(c transport.Conn) Rung {
	if c, ok := c.(interface{ Rung() Rung }); ok {
		return c.Rung()
	}
	return ""
}

// check reports whether r can be pinned.
func (r Rung) check() error {
	if r != "" && !slices.Contains(Rungs(), r) {
		return fmt.Errorf("no rung %q: use one of %v, or none to have it chosen", string(r), Rungs())
	}
	return nil
}

const (
	defaultProbe = 10 * time.Second // what a rung gets to show that it works
	defaultClimb = 5 * time.Minute
	longestClimb = time.Hour
)

// ladder remembers what a path lets through. It is safe for concurrent use.
type ladder struct {
	climb time.Duration // how long a blocked rung is left alone, the first time

	mu      sync.Mutex // guards what follows
	blocked map[Rung]block
	proven  bool // a WebSocket has carried something
}

// block is what is remembered of a rung that did not get through where a lower
// one did.
type block struct {
	until time.Time
	times int // in a row
}

// landed notes that a rung works, and that those which were tried before it do not.
func (l *ladder) landed(on Rung, failed ...Rung) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.blocked, on)
	l.proven = l.proven && !slices.Contains(failed, RungWebSocket) || on == RungWebSocket
	for _, r := range failed {
		times := l.blocked[r].times + 1
		wait := min(l.climb<<min(times-1, 16), max(longestClimb, l.climb))
		l.blocked[r] = block{time.Now().Add(wait), times}
	}
}

// open reports whether a rung is worth a try: it is not known to be blocked, or
// that was long ago.
func (l *ladder) open(r Rung) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !time.Now().Before(l.blocked[r].until)
}

// forget lets every rung be tried again: the path has changed.
func (l *ladder) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.blocked)
	l.proven = false
}

func (l *ladder) isProven() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proven
}
