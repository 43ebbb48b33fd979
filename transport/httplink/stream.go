package httplink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// What an end of a virtual connection holds, besides one message of any size
// each way.
const (
	maxQueued         = 1 << 20 // bytes not acknowledged, bytes not fetched by the session
	maxQueuedMessages = 256     // not fetched by the session
)

var (
	errGap   = errors.New("bytes before these are missing")
	errAhead = errors.New("acknowledges what was not sent")
)

// stream is one end of a virtual connection: a stream of bytes each way, each
// message in them behind its length in 4 bytes, big-endian. A byte is named by its
// position, so requests may be lost, cut short, repeated and overtaken: what comes
// again is passed over, what was not acknowledged can be sent again. It does the
// Send and Recv of a transport.Conn; who carries the bytes is not its business.
//
// Its methods are safe for concurrent use; those that say so want mu.
type stream struct {
	codec          *transport.Codec
	sent, received atomic.Int64 // bytes of messages

	mu      sync.Mutex    // guards what follows
	changed chan struct{} // closed at the next change; nil while nobody waits

	out  []byte // what the peer has not acknowledged; what is in it never changes, so that it may be read without mu
	base int64  // position of the first byte of out

	next int64 // position of the next byte to come in
	in   inbox

	busy   time.Time // when a byte last came in or was to go out
	closed bool      // by this side: nothing is sent or received any more
	gone   error     // why, if not closed by this side, nothing more comes in or goes out
}

// Send implements transport.Conn. A message is taken whole or not at all.
func (s *stream) Send(ctx context.Context, f transport.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	message, err := s.codec.Encode(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.over(); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if len(s.out) < maxQueued {
			break
		}
		if err := s.wait(ctx, nil); err != nil {
			return err
		}
	}
	s.out = append(binary.BigEndian.AppendUint32(s.out, uint32(len(message))), message...)
	s.busy = time.Now()
	s.sent.Add(int64(len(message)))
	s.signal()
	return nil
}

// Recv implements transport.Conn.
func (s *stream) Recv(ctx context.Context) (transport.Frame, error) {
	message, err := s.pop(ctx)
	if err != nil {
		return nil, err
	}
	s.received.Add(int64(len(message)))
	return s.codec.Decode(message)
}

func (s *stream) pop(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if message, ok := s.in.pop(); ok && !s.closed {
			s.signal()
			return message, nil
		}
		if err := s.over(); err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		if err := s.wait(ctx, nil); err != nil {
			return nil, err
		}
	}
}

// Stats implements transport.Meter.
func (s *stream) Stats() (sent, received int64) { return s.sent.Load(), s.received.Load() }

// over returns why the stream has ended, nil while it has not. The caller holds mu.
func (s *stream) over() error {
	if s.closed {
		return transport.ErrClosed
	}
	return s.gone
}

// wait releases mu until something has changed, the timer fires or ctx ends,
// which alone is an error. The caller holds mu.
func (s *stream) wait(ctx context.Context, timer <-chan time.Time) error {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-changed:
	case <-timer:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// signal wakes whoever waits. The caller holds mu.
func (s *stream) signal() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// accept takes bytes that begin at a position, and waits while the session is
// slow. An end that is closed takes them to drop them.
func (s *stream) accept(ctx context.Context, at int64, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if at > s.next {
			return errGap
		}
		known := min(s.next-at, int64(len(b)))
		at, b = at+known, b[known:]
		switch {
		case len(b) == 0:
			return nil
		case s.closed:
			s.next += int64(len(b))
			continue
		case s.gone != nil:
			return s.gone
		case s.in.full():
			if err := s.wait(ctx, nil); err != nil {
				return err
			}
			continue
		}
		n, err := s.in.take(b)
		s.next += int64(n)
		s.busy = time.Now()
		if err != nil {
			s.end(err)
			return err
		}
		s.signal()
	}
}

// end says why nothing more comes in or goes out, unless that was said before.
// What has come in can still be received. The caller holds mu.
func (s *stream) end(cause error) {
	if s.gone != nil {
		return
	}
	s.gone = transport.ErrClosed
	if cause != nil {
		s.gone = fmt.Errorf("%w: %w", transport.ErrClosed, cause)
	}
	s.signal()
}

// fail is end for who does not hold mu.
func (s *stream) fail(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(cause)
}

// acknowledge drops what the peer holds: all before a position. The caller holds mu.
func (s *stream) acknowledge(at int64) error {
	n := at - s.base
	switch {
	case n > int64(len(s.out)):
		return errAhead
	case n <= 0:
		return nil
	}
	s.base = at
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
	}
	s.signal()
	return nil
}

// from returns what there is to send from a position on, at most most bytes. The
// caller holds mu, and checked that the position is at base or behind it.
func (s *stream) from(at int64, most int) []byte {
	b := s.out[at-s.base:]
	return b[:min(len(b), most):min(len(b), most)]
}

// last returns the position after the last byte to send. The caller holds mu.
func (s *stream) last() int64 { return s.base + int64(len(s.out)) }

// reached returns the position up to which bytes have come in.
func (s *stream) reached() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// inbox puts messages together and keeps them until they are fetched.
type inbox struct {
	head    [4]byte // the length that is being read
	nHead   int
	part    []byte // the message that is being read, of which len is there
	want    int    // bytes of it
	whole   [][]byte
	waiting int // bytes of whole
}

// full reports whether the session is to fetch something first.
func (b *inbox) full() bool { return b.waiting >= maxQueued || len(b.whole) >= maxQueuedMessages }

func (b *inbox) pop() ([]byte, bool) {
	if len(b.whole) == 0 {
		return nil, false
	}
	message := b.whole[0]
	b.whole[0] = nil
	if b.whole = b.whole[1:]; len(b.whole) == 0 {
		b.whole = nil
	}
	b.waiting -= len(message)
	return message, true
}

// take reads on to the end of a message, or as far as p goes.
func (b *inbox) take(p []byte) (n int, err error) {
	if b.nHead < len(b.head) {
		n = copy(b.head[b.nHead:], p)
		if b.nHead += n; b.nHead < len(b.head) {
			return n, nil
		}
		size := binary.BigEndian.Uint32(b.head[:])
		if size > transport.MaxFrame {
			return n, fmt.Errorf("%w: a message of %d bytes, at most %d", transport.ErrTooLarge, size, transport.MaxFrame)
		}
		b.want = int(size)
	}
	more := min(len(p)-n, b.want-len(b.part))
	b.grow(more)
	b.part = append(b.part, p[n:n+more]...)
	n += more
	if len(b.part) == b.want {
		b.whole = append(b.whole, b.part)
		b.waiting += len(b.part)
		b.part, b.want, b.nHead = nil, 0, 0
	}
	return n, nil
}

// grow makes room for n more bytes of part: twice what is there, but never more
// than is announced, so that what is allocated has a share that has arrived.
func (b *inbox) grow(n int) {
	if need := len(b.part) + n; need > cap(b.part) {
		part := make([]byte, len(b.part), min(max(need, 2*cap(b.part)), b.want))
		copy(part, b.part)
		b.part = part
	}
}
