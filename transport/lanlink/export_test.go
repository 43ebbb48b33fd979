package lanlink

import (
	"context"
	"net/netip"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// Parse reads a message as Run does.
func Parse(msg []byte) (id crdt.ReplicaID, port uint16, tag string, holds time.Duration, asks, ok bool) {
	a, asks, ok := parse(msg)
	return a.replica, a.port, a.tag, a.holds, asks, ok
}

// Announcement is the message by which a replica says that it is there, or leaves.
func Announcement(id crdt.ReplicaID, port uint16, tag string, holds time.Duration) ([]byte, error) {
	a := announcement{id, port, tag, holds}
	return a.message([]netip.Addr{netip.MustParseAddr("192.0.2.1")})
}

// Question, TagOf and the bounds are the package's own.
var (
	Question = question
	TagOf    = tagOf
)

// Bounds.
const (
	MaxPeers = maxPeers
	Holds    = holds
	Rest     = rest
)

// Heard is a node without a network, which is told what it hears.
type Heard struct{ n *node }

// NewHeard returns a node that nobody else hears; Found is called as by Run.
func NewHeard(ctx context.Context, o *Options) *Heard {
	n := &node{self: announcement{replica: o.Replica, tag: tagOf(o.Space, o.Key)}, peers: newPeers(ctx, o.Found)}
	return &Heard{n}
}

// Message takes in a message as if it came from an address.
func (h *Heard) Message(msg []byte, from netip.AddrPort) {
	if a, asks, ok := parse(msg); ok {
		h.n.take(&heard{a, asks, from}, time.Now())
	}
}

// Ended waits until Found has returned for a peer.
func (h *Heard) Ended() { h.n.peers.end(<-h.n.peers.ended, time.Now()) }

// Tick is what happens each second.
func (h *Heard) Tick() { h.n.peers.expire(time.Now()) }

// Wait waits for Found.
func (h *Heard) Wait() { h.n.peers.wait.Wait() }
