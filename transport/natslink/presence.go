package natslink

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/godwitdb/godwit/transport"
)

// maxNotes are frames of presence that wait for the replica; what comes then is lost,
// and states are said again.
const maxNotes = 256

// spread publishes who is in which room. The stream does not keep it; who joins hears
// of a state when it is said the next time.
func (c *streamConn) spread(f *transport.Presence) error {
	body, err := c.link.node.codec.Encode(f)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if int64(len(body)+headerRoom) > c.nc.MaxPayload() {
		return nil // it may be lost
	}
	m := nats.NewMsg(PresenceSubject(c.link.space))
	m.Data = body
	m.Header.Set(headerOrigin, c.origin)
	if err := c.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.sent += int64(len(body))
	return nil
}

// hear has what others spread be received. A server that does not allow it makes
// nobody visible, and nothing else worse.
func (c *streamConn) hear() {
	notes, err := c.nc.Subscribe(PresenceSubject(c.link.space), func(m *nats.Msg) {
		if m.Header.Get(headerOrigin) == c.origin {
			return
		}
		f, err := c.link.node.codec.Decode(m.Data)
		notes, ok := f.(*transport.Presence)
		if err != nil || !ok {
			c.link.node.foreign(m.Subject, m.Data)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended != nil || len(c.replies) >= maxNotes {
			return
		}
		c.counts.received += int64(len(m.Data))
		c.replies = append(c.replies, notes)
		poke(c.ready)
	})
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = notes
}
