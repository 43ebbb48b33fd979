package memlink

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/godwitdb/godwit/transport"
)

// conn is one end of a connection: a pipe out and a pipe in.
type conn struct {
	n              *Network
	from, to       string
	out, in        *pipe
	listener       *Listener // of the accepted end
	once           sync.Once
	sent, received atomic.Int64
}

// Send implements transport.Conn.
func (c *conn) Send(ctx context.Context, f transport.Frame) error {
	message, err := c.n.codec.Encode(f)
	if err != nil {
		return err
	}
	faults, severed := c.n.weather(pair{c.from, c.to})
	if err := c.out.push(ctx, message, faults, severed); err != nil {
		return err
	}
	c.sent.Add(int64(len(message)))
	return nil
}

// Recv implements transport.Conn.
func (c *conn) Recv(ctx context.Context) (transport.Frame, error) {
	message, err := c.in.pop(ctx)
	if err != nil {
		return nil, err
	}
	c.received.Add(int64(len(message)))
	return c.n.codec.Decode(message)
}

// Close implements transport.Conn. What was sent before can still be received.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.out.end()
		c.in.breakOff()
		c.n.forget(c)
	})
	return nil
}

// Stats implements transport.Meter.
func (c *conn) Stats() (sent, received int64) { return c.sent.Load(), c.received.Load() }
