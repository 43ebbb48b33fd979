package natslink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/godwitdb/godwit/transport"
)

// Bounds of a session.
const (
	window    = 2 << 20   // bytes of messages that a peer may send before they are consumed
	slack     = 64 << 10  // beyond it, for what needs no room
	maxChunk  = 256 << 10 // bytes of a message
	minChunk  = 1 << 10   // what every server takes
	flushTime = time.Second
)

// conn is a transport.Conn between two subjects.
type conn struct {
	node  *Node
	nc    *nats.Conn
	inbox string // the subject of this side
	sub   *nats.Subscription

	opened  chan message  // the answer to a wish for a session; one slot
	ready   chan struct{} // something to receive; one slot
	room    chan struct{} // something may be sent; one slot
	dead    chan struct{} // closed when nothing can be sent any more
	closing chan struct{} // closed by Close
	once    sync.Once
	done    sync.WaitGroup

	mu       sync.Mutex // guards what follows, and that numbers are sent in order
	to       string     // the peer's subject; "" until it is known
	grant    uint64     // what may be sent to the peer and not be consumed
	chunk    int        // bytes of a message at most, its header included
	sent     uint64     // number of the last message sent
	spent    uint64     // bytes of all numbered messages sent
	allowed  uint64     // what spent may reach
	got      uint64     // number of the last message received
	queue    []message  // received and not consumed
	queued   int        // bytes of them
	consumed uint64     // bytes of all numbered messages consumed
	told     uint64     // what the peer knows of that
	ended    error      // why nothing more comes; nil while something may
	heard    time.Time  // when something last came
	counts   struct{ sent, received int64 }

	buf      []byte // of the frame being put together; for Recv
	skipping bool   // the rest of a frame that is too large; for Recv
}

// newConn returns this side of a session about to be opened.
func (n *Node) newConn(nc *nats.Conn, space string) (*conn, error) {
	c := &conn{
		node: n, nc: nc, inbox: subjectConn(space, nuid.Next()),
		opened: make(chan message, 1), ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
		dead: make(chan struct{}), closing: make(chan struct{}), heard: time.Now(),
	}
	sub, err := nc.Subscribe(c.inbox, c.handle)
	if err != nil {
		return nil, err
	}
	c.sub = sub
	return c, nil
}

// terms are what this side tells the peer.
func (c *conn) terms() terms {
	return terms{chunk: uint32(min(c.nc.MaxPayload(), maxChunk)), window: window}
}

// start begins the session with the peer at a subject.
func (c *conn) start(to string, t terms) {
	c.mu.Lock()
	c.to, c.grant, c.allowed = to, uint64(t.window), uint64(t.window)
	c.chunk = int(min(int64(t.chunk), int64(t.window)/2, c.nc.MaxPayload(), maxChunk))
	c.mu.Unlock()
	c.node.attend(c.nc, &c.done, c.dead, nil, c.probe, c.fail)
}

// probe pings a silent peer; it is an error if that has not answered for long.
func (c *conn) probe() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	silence := time.Since(c.heard)
	if silence >= c.node.opts.Heartbeat {
		c.post(kindPing, nil)
	}
	if silence >= 3*c.node.opts.Heartbeat {
		return fmt.Errorf("no answer for %v", silence.Round(time.Millisecond))
	}
	return nil
}

// post publishes a message. A ping names a subject for the answer, so that the
// server says at once when nobody listens. The caller holds mu.
func (c *conn) post(k kind, body []byte) {
	if c.to == "" {
		return
	}
	if k.numbered() {
		c.sent++
		c.spent += uint64(messageHeader + len(body))
	}
	m := message{kind: k, number: c.sent, consumed: c.consumed, body: body}
	c.told = c.consumed
	out := &nats.Msg{Subject: c.to, Data: m.bytes()}
	if k == kindPing {
		out.Reply = c.inbox
	}
	if err := c.nc.PublishMsg(out); err != nil {
		c.end(err)
	}
}

// handle takes what the subject is sent. It never waits.
func (c *conn) handle(in *nats.Msg) {
	if isNobody(in) {
		c.nobody()
		return
	}
	m, ok := parseMessage(in.Data)
	if !ok {
		c.node.foreign(in.Subject, in.Data)
		return
	}
	if m.kind <= kindRefuse {
		if in.Reply != "" || m.kind == kindRefuse {
			c.answered(m, in.Reply)
		}
		return
	}
	if err := c.take(m); err != nil {
		c.fail(err)
	}
}

// answered hands on the answer to a wish for a session, the peer's subject behind
// its terms.
func (c *conn) answered(m message, to string) {
	if m.kind == kindAccept {
		if len(m.body) < termsSize {
			return
		}
		m.body = append(m.body[:termsSize:termsSize], to...)
	}
	select {
	case c.opened <- m:
	default:
	}
}

// nobody is called when the server says that a message reached none.
func (c *conn) nobody() {
	c.answered(message{kind: kindOpen}, "")
	c.mu.Lock()
	running := c.to != ""
	c.mu.Unlock()
	if running {
		c.fail(errors.New("the peer is gone"))
	}
}

// take notes a message of the session.
func (c *conn) take(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil
	}
	c.heard = time.Now()
	if m.consumed > c.spent {
		return fmt.Errorf("the peer claims %d bytes of %d", m.consumed, c.spent)
	}
	if top := m.consumed + c.grant; top > c.allowed {
		c.allowed = top
		poke(c.room)
	}
	if !m.kind.numbered() {
		if m.number > c.got {
			return lost(c.got, m.number)
		}
		if m.kind == kindPing {
			c.post(kindPong, nil)
		}
		return nil
	}
	if m.number <= c.got {
		return nil // a second time
	}
	if m.number != c.got+1 {
		return lost(c.got, m.number-1)
	}
	c.got = m.number
	if m.kind == kindBye {
		c.end(errors.New("the peer has closed"))
		return nil
	}
	c.queued += messageHeader + len(m.body)
	if c.queued > window+slack {
		return errors.New("the peer sends more than it was allowed to")
	}
	c.queue = append(c.queue, m)
	poke(c.ready)
	return nil
}

func lost(got, number uint64) error {
	return fmt.Errorf("messages %d to %d were lost", got+1, number)
}

// fail ends the session and says so to the peer.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.post(kindBye, nil)
		c.end(err)
	}
}

// end notes why nothing more comes. The caller holds mu.
func (c *conn) end(err error) {
	if c.ended != nil {
		return
	}
	c.ended = err
	close(c.dead)
	poke(c.ready)
	_ = c.sub.Unsubscribe()
}

// Send implements transport.Conn.
func (c *conn) Send(ctx context.Context, f transport.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	encoded, err := c.node.codec.Encode(f)
	if err != nil {
		return err
	}
	most := c.chunk - messageHeader
	rest := encoded
	for len(rest) > most {
		if err := c.send(ctx, kindChunk, rest[:most], len(rest) < len(encoded)); err != nil {
			return err
		}
		rest = rest[most:]
	}
	if err := c.send(ctx, kindLast, rest, len(rest) < len(encoded)); err != nil {
		return err
	}
	c.mu.Lock()
	c.counts.sent += int64(len(encoded))
	c.mu.Unlock()
	return nil
}

// send waits for room and sends a message. When ctx ends before, a frame that was
// begun is taken back.
func (c *conn) send(ctx context.Context, k kind, body []byte, begun bool) error {
	for {
		c.mu.Lock()
		if c.ended != nil {
			err := c.ended
			c.mu.Unlock()
			return fmt.Errorf("send: %w: %w", transport.ErrClosed, err)
		}
		if c.spent+uint64(messageHeader+len(body)) <= c.allowed {
			c.post(k, body)
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.dead:
		case <-ctx.Done():
			c.mu.Lock()
			if begun && c.ended == nil {
				c.post(kindDrop, nil)
			}
			c.mu.Unlock()
			return fmt.Errorf("send: %w", ctx.Err())
		}
	}
}

// Recv implements transport.Conn.
func (c *conn) Recv(ctx context.Context) (transport.Frame, error) {
	for {
		m, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		encoded, err := c.add(m)
		if err != nil {
			return nil, err
		}
		if encoded == nil {
			continue
		}
		c.mu.Lock()
		c.counts.received += int64(len(encoded))
		c.mu.Unlock()
		return c.node.codec.Decode(encoded)
	}
}

// next waits for a message and counts it as consumed.
func (c *conn) next(ctx context.Context) (message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return message{}, err
		}
		select {
		case <-c.closing:
			return message{}, fmt.Errorf("receive: %w", transport.ErrClosed)
		default:
		}
		if m, ok, err := c.pop(); ok || err != nil {
			return m, err
		}
		select {
		case <-c.ready:
		case <-c.closing:
		case <-ctx.Done():
		}
	}
}

func (c *conn) pop() (m message, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		if c.ended != nil {
			err = fmt.Errorf("receive: %w: %w", transport.ErrClosed, c.ended)
		}
		return m, false, err
	}
	m, c.queue[0] = c.queue[0], message{}
	c.queue = c.queue[1:]
	cost := messageHeader + len(m.body)
	c.queued -= cost
	c.consumed += uint64(cost)
	if c.consumed-c.told >= window/4 && c.ended == nil {
		c.post(kindCredit, nil)
	}
	return m, true, nil
}

// add puts frames together; it returns nil until one is whole.
func (c *conn) add(m message) (encoded []byte, err error) {
	switch {
	case m.kind == kindDrop:
		c.buf, c.skipping = nil, false
		return nil, nil
	case c.skipping:
		c.skipping = m.kind != kindLast
		return nil, nil
	case len(c.buf)+len(m.body) > transport.MaxFrame:
		c.buf, c.skipping = nil, m.kind != kindLast
		return nil, fmt.Errorf("receive: %w: more than %d bytes", transport.ErrTooLarge, transport.MaxFrame)
	case m.kind == kindLast && len(c.buf) == 0:
		return m.body, nil
	}
	c.buf = append(c.buf, m.body...)
	if m.kind == kindChunk {
		return nil, nil
	}
	encoded, c.buf = c.buf, nil
	return encoded, nil
}

// Close implements transport.Conn. What was sent stands before the farewell on the
// way to the peer.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closing)
		c.fail(errors.New("closed here"))
		if c.nc.IsConnected() {
			_ = c.nc.FlushTimeout(flushTime)
		}
	})
	c.done.Wait()
	return nil
}

// Stats implements transport.Meter.
func (c *conn) Stats() (sent, received int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts.sent, c.counts.received
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isNobody reports whether the server says that a message reached none.
func isNobody(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
