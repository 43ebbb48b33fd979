package natslink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/godwitdb/godwit/transport"
)

// Fleet is a space as its members share it: a stream that carries changes quickly,
// and sessions between members that make up for what it loses. Without JetStream, or
// while it is away, the sessions stay and carry everything. Connect a replica to both
// of Links, and have the node Serve, so that others find it.
type Fleet struct {
	node   *Node
	space  string
	stream *streamLink

	due chan struct{} // time to ask a peer; one slot

	mu      sync.Mutex // guards what follows
	streams int        // sessions with the stream
}

// Fleet returns the space's fleet.
func (n *Node) Fleet(space string) (*Fleet, error) {
	if err := checkSpace(space); err != nil {
		return nil, err
	}
	f := &Fleet{node: n, space: space, due: make(chan struct{}, 1)}
	f.stream = &streamLink{node: n, space: space, gap: func() { poke(f.due) }, up: f.streaming}
	poke(f.due)
	return f, nil
}

// Links returns the link to the stream, and the one to the peers. Dial of the
// second waits until it is time for a session: at once at first and when the stream
// is down or has lost something, else every Options.Pulse; and until somebody is there.
func (f *Fleet) Links() []transport.Link {
	return []transport.Link{f.stream, &fleetLink{link{node: f.node, space: f.space}, f}}
}

// streaming is told when a session with the stream begins and ends.
func (f *Fleet) streaming(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on {
		f.streams++
		return
	}
	f.streams--
	poke(f.due)
}

// pulsed reports whether the stream is up, so that sessions with peers are short.
func (f *Fleet) pulsed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.streams > 0
}

// fleetLink is the link to the peers of a fleet.
type fleetLink struct {
	link
	fleet *Fleet
}

// Dial implements transport.Link.
func (l *fleetLink) Dial(ctx context.Context) (transport.Conn, error) {
	pulse := time.NewTimer(l.node.opts.Pulse)
	defer pulse.Stop()
	if l.fleet.pulsed() {
		select {
		case <-l.fleet.due:
		case <-pulse.C:
		case <-ctx.Done():
			return nil, l.refused(transport.CodeClosed, ctx.Err())
		}
	}
	nc, err := l.node.connect(ctx)
	if err != nil {
		return nil, err
	}
	c, err := l.find(ctx, nc)
	if err != nil {
		poke(l.fleet.due) // the next attempt is made without waiting
		return nil, err
	}
	return &fleetConn{c, l.fleet}, nil
}

// find dials a hub if there is one, else the next member of the chain, and waits
// until there is one or the other.
func (l *fleetLink) find(ctx context.Context, nc *nats.Conn) (transport.Conn, error) {
	here := make(chan *nats.Msg, 16)
	for _, space := range []string{l.space, noSpace} {
		sub, err := nc.ChanSubscribe(subjectHere(space), here)
		if err != nil {
			return nil, l.refused(codeOf(err), err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	for {
		c, err := l.try(ctx, nc)
		if c != nil || err != nil {
			return c, err
		}
		wait := time.NewTimer(l.node.opts.Heartbeat)
		select {
		case <-here:
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
		if ctx.Err() != nil {
			return nil, l.refused(transport.CodeClosed, ctx.Err())
		}
		if nc.IsClosed() {
			return nil, l.refused(transport.CodeClosed, fmt.Errorf("the connection to the NATS server was closed"))
		}
	}
}

// try returns nothing when nobody is there that this member is to dial.
func (l *fleetLink) try(ctx context.Context, nc *nats.Conn) (transport.Conn, error) {
	all, err := l.node.members(ctx, nc, l.space)
	if err != nil {
		return nil, l.refused(codeOf(err), err)
	}
	hubs := 0
	for _, m := range all {
		if m.Hub {
			hubs++
		}
	}
	if hubs > 0 && !l.node.opts.Hub {
		return l.open(ctx, nc, subjectHub(l.space))
	}
	if m, ok := l.node.next(all); ok {
		return l.open(ctx, nc, subjectDial(l.space, m.ID))
	}
	return nil, nil
}

// fleetConn is a session with a peer, which ends by itself while there is a stream.
type fleetConn struct {
	transport.Conn
	fleet *Fleet
}

// OneShot implements transport.OneShot.
func (c *fleetConn) OneShot() bool { return c.fleet.pulsed() }

// Stats implements transport.Meter.
func (c *fleetConn) Stats() (sent, received int64) { return c.Conn.(transport.Meter).Stats() }
