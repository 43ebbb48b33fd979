package natslink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of a session with a stream.
const (
	batchBytes   = 256 << 10   // of sets in a frame; a larger one has a frame of its own
	batchSets    = 2000        // in a frame
	advanceAfter = time.Second // of silence, until a position is told that brings no sets
	gatherBytes  = 64 << 10    // of sets, for which a frame waits while more is under way
	gatherTime   = 5 * time.Millisecond
)

// streamConn is a transport.Conn to a stream: it speaks for it. What is sent is
// published, and acknowledged when the server has done so; what the stream holds is
// received, its sequence numbers being the positions of its log.
//
// It answers a session as a peer would (see package replica): hello, hello; ack, ack;
// changes, changes; then change sets both ways.
type streamConn struct {
	link   *streamLink
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	id     crdt.ReplicaID
	epoch  uint64
	origin string // marks what this connection publishes
	chunk  int    // bytes of a message's body at most

	ready   chan struct{} // something to receive; one slot
	room    chan struct{} // the batch was fetched; one slot
	check   chan struct{} // look after the stream; one slot
	dead    chan struct{} // closed when the session has ended
	cancel  func()        // ends requests that look after the stream
	closing chan struct{} // closed by Close
	once    sync.Once
	done    sync.WaitGroup
	settle  chan *published

	out publisher // of Send

	mu       sync.Mutex // guards what follows
	us       *transport.Hello
	begun    bool              // the handshake's ack has come
	replies  []transport.Frame // to be received before the batch
	consumer jetstream.ConsumeContext
	notes    *nats.Subscription // of presence; nil: none
	in       intake
	batch    *transport.Changes // to be received; nil: none
	size     int                // bytes of it
	since    time.Time          // of its first message
	more     bool               // the stream has more behind it
	ended    error
	counts   struct{ sent, received int64 }
}

func newStreamConn(l *streamLink, nc *nats.Conn, js jetstream.JetStream, s jetstream.Stream) *streamConn {
	c := &streamConn{
		link: l, nc: nc, js: js, stream: s, origin: nuid.Next(),
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1), check: make(chan struct{}, 1),
		dead: make(chan struct{}), closing: make(chan struct{}), settle: make(chan *published, maxFrames),
	}
	info := s.CachedInfo()
	c.id, c.epoch = carrier(info)
	c.chunk = int(min(nc.MaxPayload(), maxChunk)) - headerRoom
	if most := int(info.Config.MaxMsgSize); most > headerRoom+minChunk {
		c.chunk = min(c.chunk, most-headerRoom)
	}
	c.replies = []transport.Frame{&transport.Hello{
		Protocol: transport.ProtocolVersion, Space: l.space, Replica: c.id, Epoch: c.epoch,
		Log: crdt.Cursor{Epoch: c.epoch, LSN: crdt.LSN(info.State.LastSeq)}, Want: transport.Everything(), Carrier: true,
		Knows: []string{transport.KnowsPresence},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	l.node.attend(nc, &c.done, c.dead, c.check, func() error { return c.look(ctx) }, c.fail)
	c.done.Go(c.acknowledge)
	l.up(true)
	return c
}

// look looks after the stream: that it is the same and has lost nothing.
func (c *streamConn) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	info, err := c.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look after the stream %s: %w", StreamName(c.link.space), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, epoch := carrier(info); epoch != c.epoch {
		return errors.New("the stream was deleted and created again")
	}
	if info.State.LastSeq < c.in.last {
		return fmt.Errorf("the stream was set back from %d to %d", c.in.last, info.State.LastSeq)
	}
	return nil
}

// fail ends the session.
func (c *streamConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = err
		close(c.dead)
		c.cancel()
		poke(c.ready)
	}
}

// open reports whether the session has not ended.
func (c *streamConn) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended == nil
}

// Send implements transport.Conn.
func (c *streamConn) Send(ctx context.Context, f transport.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended != nil {
		return fmt.Errorf("send: %w: %w", transport.ErrClosed, ended)
	}
	switch f := f.(type) {
	case *transport.Hello:
		c.mu.Lock()
		c.us = f
		c.mu.Unlock()
	case *transport.Ack:
		return c.onAck(ctx, f)
	case *transport.Changes:
		return c.onChanges(ctx, f)
	case *transport.Presence:
		return c.spread(f)
	case *transport.Ping:
		c.reply(&transport.Pong{Nonce: f.Nonce})
	}
	return nil // nobody is there to hear of anything else
}

func (c *streamConn) reply(frames ...transport.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replies = append(c.replies, frames...)
	poke(c.ready)
}

// onAck begins to read where the replica stands, or at the beginning if the stream
// does not know that position. Later acks matter to nobody: a position is the
// replica's to keep.
func (c *streamConn) onAck(ctx context.Context, ack *transport.Ack) error {
	if c.us == nil || c.begun {
		if ack.Resend {
			err := errors.New("the replica asks to begin again")
			c.fail(err)
		}
		return nil
	}
	c.begun = true
	start := ack.Through
	if start.Epoch != c.epoch {
		start = crdt.Cursor{Epoch: c.epoch}
	}
	known, err := verify(ctx, c.stream, start)
	if err != nil {
		c.fail(err)
		return fmt.Errorf("send: %w: read the stream at %d: %w", transport.ErrClosed, start.LSN, err)
	}
	first := c.stream.CachedInfo().State.FirstSeq
	if !known || uint64(start.LSN)+1 < first {
		c.lost(fmt.Sprintf("it begins at %d and does not know position %d", first, start.LSN))
	}
	if !known {
		start = crdt.Cursor{Epoch: c.epoch}
	}
	c.reply(&transport.Ack{}, &transport.Changes{From: start, Through: start, Filter: c.us.Want.Hash()})
	c.hear()
	if err := c.consume(ctx, start); err != nil {
		c.fail(err)
		return fmt.Errorf("send: %w: %w", transport.ErrClosed, err)
	}
	return nil
}

// lost is called when the stream does not hold what was to be read.
func (c *streamConn) lost(what string) {
	c.link.node.opts.Logger.Warn("the stream has lost messages: a peer is asked", logStream, StreamName(c.link.space), logError, what)
	c.link.gap()
}

// Recv implements transport.Conn.
func (c *streamConn) Recv(ctx context.Context) (transport.Frame, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case <-c.closing:
			return nil, fmt.Errorf("receive: %w", transport.ErrClosed)
		default:
		}
		f, later, err := c.fetch()
		if f != nil || err != nil {
			return f, err
		}
		wait := time.NewTimer(cmp.Or(later, time.Hour))
		select {
		case <-c.ready:
		case <-c.closing:
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// fetch returns what there is to receive; or when to come back, if there is
// something that may wait.
func (c *streamConn) fetch() (f transport.Frame, later time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.replies) > 0 {
		f, c.replies = c.replies[0], c.replies[1:]
		return f, 0, nil
	}
	if b := c.batch; b != nil {
		wait := advanceAfter
		switch {
		case b.End || c.size >= gatherBytes || len(b.Sets) > 0 && !c.more:
			wait = 0
		case len(b.Sets) > 0: // a commit costs as much for one set as for many
			wait = gatherTime
		}
		later = wait - time.Since(c.since)
		if later <= 0 {
			c.batch, c.size = nil, 0
			poke(c.room)
			return b, 0, nil
		}
		return nil, later, nil
	}
	if c.ended != nil {
		return nil, 0, fmt.Errorf("receive: %w: %w", transport.ErrClosed, c.ended)
	}
	return nil, 0, nil
}

// Close implements transport.Conn.
func (c *streamConn) Close() error {
	c.once.Do(func() {
		close(c.closing)
		c.fail(errors.New("closed here"))
		c.mu.Lock()
		consumer, notes := c.consumer, c.notes
		c.mu.Unlock()
		if notes != nil {
			_ = notes.Unsubscribe() // the connection may be closed
		}
		if consumer != nil {
			consumer.Stop()
			<-consumer.Closed()
		}
		c.link.up(false)
	})
	c.done.Wait()
	return nil
}

// Stats implements transport.Meter.
func (c *streamConn) Stats() (sent, received int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts.sent, c.counts.received
}
