package memlink

import (
	"context"
	"errors"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Faults says what happens to frames between two nodes. The zero Faults is a
// reliable, ordered pipe.
type Faults struct {
	Drop      float64       // the part of frames that get lost
	Duplicate float64       // the part that arrives twice
	Reorder   float64       // the part that is held back, so that later ones overtake it
	Delay     time.Duration // each frame takes a random time up to this
}

// Network connects named nodes in one process. It is safe for concurrent use.
type Network struct{}

// New returns a network whose faults are drawn from seed.
func New(seed uint64) *Network { return &Network{} }

// SetFaults sets the faults of all connections, open ones too, from now on.
func (n *Network) SetFaults(f Faults) {}

// Listen lets others dial name: each connection is handed to accept in its own
// goroutine, and closed when that returns. The context ends with the listener.
func (n *Network) Listen(name string, accept func(ctx context.Context, c transport.Conn) error) (*Listener, error) {
	return nil, errors.ErrUnsupported
}

// Listener is a name that can be dialled.
type Listener struct{}

// Close refuses further dials, closes the connections it accepted and waits for
// their accept functions.
func (l *Listener) Close() error { return nil }

// Link returns a link with which from dials to. Neither has to listen yet.
func (n *Network) Link(from, to string) transport.Link { return nil }

// Partition loses every frame between a and b, silently, and refuses dials.
func (n *Network) Partition(a, b string) {}

// Heal ends a partition.
func (n *Network) Heal(a, b string) {}

// HealAll ends all partitions.
func (n *Network) HealAll() {}

// Cut closes the open connections between a and b.
func (n *Network) Cut(a, b string) {}

// CutNode closes all open connections of a node, as a crash does.
func (n *Network) CutNode(name string) {}

// Close closes all listeners and connections and waits for the accept functions.
func (n *Network) Close() error { return nil }
