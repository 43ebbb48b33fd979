package httplink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/godwitdb/godwit/transport"
)

const (
	subprotocol      = "godwit.1"
	probeProtocol    = "godwit.probe"
	defaultHeartbeat = 20 * time.Second
	closeGrace       = time.Second // what a peer gets to answer a close
	sendGrace        = time.Second // what a message that was begun gets to be finished
	keptBuffer       = 1 << 20     // bytes; a larger read buffer is not kept
)

// conn is a transport.Conn over a WebSocket.
type conn struct {
	ws        *websocket.Conn
	codec     *transport.Codec
	heartbeat time.Duration

	frames  chan received // from the reader, one ahead; closed when it ends, after err is set
	err     error         // why the reader ended
	spoken  chan struct{} // closed when the first message has come
	closing chan struct{} // closed by Close
	abort   func(error)   // breaks the connection off: reader, writer and close handshake end
	write   func(message []byte) error
	done    sync.WaitGroup // the reader, the ping of prove, and a beat that is due
	once    sync.Once

	pulse   sync.Mutex // guards what follows
	beat    *time.Timer
	stopped bool // no beat is due any more

	heard          atomic.Int64 // when something last came in, in nanoseconds since start
	waiting        atomic.Bool  // the reader waits for the session, not for the peer
	start          time.Time
	sent, received atomic.Int64
}

// received is one message, decoded or not decodable.
type received struct {
	frame transport.Frame
	err   error
}

func newConn(ws *websocket.Conn, codec *transport.Codec, heartbeat time.Duration) *conn {
	if heartbeat <= 0 {
		heartbeat = defaultHeartbeat
	}
	ws.SetReadLimit(transport.MaxFrame)
	ctx, abort := context.WithCancelCause(context.Background())
	c := &conn{
		ws: ws, codec: codec, heartbeat: heartbeat, abort: abort, start: time.Now(),
		write:  func(message []byte) error { return ws.Write(ctx, websocket.MessageBinary, message) },
		frames: make(chan received), spoken: make(chan struct{}), closing: make(chan struct{}),
	}
	c.done.Go(func() { c.read(ctx) })
	c.pulse.Lock()
	defer c.pulse.Unlock()
	c.done.Add(1)
	c.beat = time.AfterFunc(heartbeat, func() {
		defer c.done.Done()
		c.probe(ctx)
	})
	return c
}

// Rung returns RungWebSocket.
func (*conn) Rung() Rung { return RungWebSocket }

// Send implements transport.Conn. A WebSocket whose write is cancelled is broken,
// and a session that ends could not say why; so a message that was begun when ctx
// ends has sendGrace to be finished.
func (c *conn) Send(ctx context.Context, f transport.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	message, err := c.codec.Encode(f)
	if err != nil {
		return err
	}
	var over atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(sendGrace, func() {
			if !over.Load() {
				c.abort(nil)
			}
		})
	})
	err = c.write(message)
	over.Store(true)
	stop()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("send: %w", ctx.Err())
		}
		return fmt.Errorf("send: %w: %w", transport.ErrClosed, err)
	}
	c.sent.Add(int64(len(message)))
	return nil
}

// Recv implements transport.Conn.
func (c *conn) Recv(ctx context.Context) (transport.Frame, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-c.closing:
		return nil, fmt.Errorf("receive: %w", transport.ErrClosed)
	default:
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.closing:
		return nil, fmt.Errorf("receive: %w", transport.ErrClosed)
	case r, ok := <-c.frames:
		if !ok {
			return nil, c.err
		}
		return r.frame, r.err
	}
}

// Close implements transport.Conn: it says so to the peer, gives it closeGrace
// to answer, and breaks the connection off then.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closing)
		c.stopBeat()
		grace := time.AfterFunc(closeGrace, func() { c.abort(nil) })
		_ = c.ws.Close(websocket.StatusNormalClosure, "")
		grace.Stop()
		c.abort(nil)
	})
	c.done.Wait()
	return nil
}

// Stats implements transport.Meter.
func (c *conn) Stats() (sent, received int64) { return c.sent.Load(), c.received.Load() }

// read hands frames to Recv, and drains the connection once it is closing.
func (c *conn) read(ctx context.Context) {
	defer close(c.frames)
	defer c.abort(nil)
	defer c.ws.CloseNow() // unblocks a Send
	var buf []byte
	for first := true; ; first = false {
		var r received
		var err error
		if buf, r, err = c.next(ctx, buf[:0]); err != nil {
			c.err = fmt.Errorf("receive: %w: %w", closedOr(err), cmp.Or(context.Cause(ctx), err))
			return
		}
		if first {
			close(c.spoken)
		}
		c.waiting.Store(true)
		select {
		case c.frames <- r:
		case <-c.closing:
		}
		c.waiting.Store(false)
		c.heard.Store(int64(time.Since(c.start)))
		if cap(buf) > keptBuffer {
			buf = nil
		}
	}
}

// next reads a message. Its error ends the connection; that of a message which
// is no frame is in r.
func (c *conn) next(ctx context.Context, buf []byte) (_ []byte, r received, err error) {
	typ, body, err := c.ws.Reader(ctx)
	if err != nil {
		return buf, r, err
	}
	if buf, err = appendAll(buf, body); err != nil {
		return buf, r, err
	}
	c.heard.Store(int64(time.Since(c.start)))
	c.received.Add(int64(len(buf)))
	if typ != websocket.MessageBinary {
		r.err = fmt.Errorf("receive: %w: a text message", transport.ErrMalformed)
		return buf, r, nil
	}
	r.frame, r.err = c.codec.Decode(buf)
	return buf, r, nil
}

func appendAll(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(512, len(buf)))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// echoProbe answers the probe of a client that wants to know whether a WebSocket
// would get through, and hangs up.
func echoProbe(ctx context.Context, ws *websocket.Conn) {
	defer ws.CloseNow()
	ctx, cancel := context.WithTimeout(ctx, defaultProbe)
	defer cancel()
	ws.SetReadLimit(probeSize)
	if typ, message, err := ws.Read(ctx); err == nil && ws.Write(ctx, typ, message) == nil {
		_, _, _ = ws.Read(ctx) // until the client has hung up
	}
}

// closedOr returns the sentinel for the end of a connection.
func closedOr(err error) error {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return fmt.Errorf("%w: %w", transport.ErrClosed, transport.ErrTooLarge)
	}
	return transport.ErrClosed
}

// prove waits until the peer has answered a ping, or said something by itself:
// behind that the answer waits until the session fetches it. The ping is not given
// up then, since that could break the connection.
func (c *conn) prove(ctx context.Context) error {
	pinged := make(chan error, 1)
	c.done.Go(func() { pinged <- c.ws.Ping(context.WithoutCancel(ctx)) })
	select {
	case <-c.spoken:
		return nil
	case err := <-pinged:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probe pings a silent connection, so that one whose other end is gone without a
// word is noticed, and proxies see traffic. A timer calls it, so that an idle
// connection needs no goroutine for it.
func (c *conn) probe(ctx context.Context) {
	if c.silence() >= c.heartbeat {
		ping, cancel := context.WithTimeout(ctx, c.heartbeat)
		err := c.ws.Ping(ping)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			c.heard.Store(int64(time.Since(c.start)))
		case c.silence() >= 2*c.heartbeat:
			c.abort(fmt.Errorf("no answer for %v", c.silence().Round(time.Millisecond)))
			return
		}
	}
	c.pulse.Lock()
	defer c.pulse.Unlock()
	if !c.stopped {
		c.done.Add(1)
		c.beat.Reset(c.heartbeat)
	}
}

func (c *conn) stopBeat() {
	c.pulse.Lock()
	defer c.pulse.Unlock()
	c.stopped = true
	if c.beat.Stop() {
		c.done.Done()
	}
}

// silence returns for how long the peer has not been heard, though listened to.
func (c *conn) silence() time.Duration {
	if c.waiting.Load() {
		return 0
	}
	return time.Since(c.start) - time.Duration(c.heard.Load())
}
