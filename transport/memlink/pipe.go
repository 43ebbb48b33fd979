package memlink

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// What a pipe holds before its sender has to wait: one message always, more up
// to these.
const (
	maxQueued      = 64      // messages
	maxQueuedBytes = 1 << 20 // bytes
)

// pipe is one direction of a connection: a bounded queue of messages, each with
// the time at which it arrives. It has one sender and one receiver.
type pipe struct {
	room  chan struct{} // one slot: the queue may have shrunk
	ready chan struct{} // one slot: the queue has grown
	gone  chan struct{} // closed by breakOff
	ended chan struct{} // closed by end or breakOff

	mu    sync.Mutex // guards what follows
	rand  *rand.Rand
	queue []message // by arrival
	bytes int
	last  time.Time // when the last message arrives that was not held back
}

type message struct {
	data []byte
	at   time.Time
}

func newPipe(seed uint64, p pair, number uint64) *pipe {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q", p.from, p.to)
	h.Write(binary.BigEndian.AppendUint64(nil, number))
	return &pipe{
		room: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		gone: make(chan struct{}), ended: make(chan struct{}),
		rand: rand.New(rand.NewPCG(seed, h.Sum64())),
	}
}

// push puts a message on its way, once there is room.
func (p *pipe) push(ctx context.Context, data []byte, f Faults, severed bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-p.ended:
			return closedError("send")
		default:
		}
		if p.tryPush(data, f, severed) {
			wake(p.ready)
			return nil
		}
		select {
		case <-p.room:
		case <-p.ended:
		case <-ctx.Done():
		}
	}
}

func (p *pipe) tryPush(data []byte, f Faults, severed bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 && (len(p.queue) >= maxQueued || p.bytes+len(data) > maxQueuedBytes) {
		return false
	}
	// All is drawn for every message, so that one fault does not shift the others.
	drop, twice, hold := p.rand.Float64() < f.Drop, p.rand.Float64() < f.Duplicate, p.rand.Float64() < f.Reorder
	delay, held := p.rand.Float64(), p.rand.Float64()
	if drop || severed {
		return true
	}
	at := time.Now().Add(time.Duration(delay * float64(f.Delay)))
	switch {
	case f.Delay > 0 && !at.After(p.last): // no two at the same moment: what comes of one is over when the next arrives
		at = p.last.Add(1)
	case at.Before(p.last):
		at = p.last
	}
	if hold {
		p.insert(data, at.Add(time.Duration(held*float64(max(4*f.Delay, 10*time.Millisecond)))))
	} else {
		p.insert(data, at)
		p.last = at
	}
	if twice {
		p.insert(data, at.Add(min(1, f.Delay)))
	}
	return true
}

// insert keeps the queue by arrival; of two at one time, the earlier sent first.
func (p *pipe) insert(data []byte, at time.Time) {
	i := len(p.queue)
	for i > 0 && p.queue[i-1].at.After(at) {
		i--
	}
	p.queue = slices.Insert(p.queue, i, message{data, at})
	p.bytes += len(data)
}

// pop returns the next message once it has arrived. After end it still returns
// what is queued, after breakOff nothing.
func (p *pipe) pop(ctx context.Context) ([]byte, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case <-p.gone:
			return nil, closedError("receive")
		default:
		}
		ended := isClosed(p.ended) // before the look: what was pushed before the end is then seen
		data, wait, empty := p.tryPop()
		switch {
		case data != nil:
			wake(p.room)
			return data, nil
		case empty && ended:
			return nil, closedError("receive")
		}
		p.await(ctx, wait, empty)
	}
}

// await returns when there may be something to pop.
func (p *pipe) await(ctx context.Context, wait time.Duration, empty bool) {
	var arrival <-chan time.Time
	ended := p.ended
	if !empty {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		arrival, ended = timer.C, nil
	}
	select {
	case <-p.ready:
	case <-arrival:
	case <-ended:
	case <-p.gone:
	case <-ctx.Done():
	}
}

func (p *pipe) tryPop() (data []byte, wait time.Duration, empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil, 0, true
	}
	if wait := time.Until(p.queue[0].at); wait > 0 {
		return nil, wait, false
	}
	data = p.queue[0].data
	p.queue = slices.Delete(p.queue, 0, 1)
	p.bytes -= len(data)
	return data, 0, false
}

// end lets the sender send no more.
func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isClosed(p.ended) {
		close(p.ended)
	}
}

// breakOff lets the receiver receive no more either.
func (p *pipe) breakOff() {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isClosed(p.gone) {
		close(p.gone)
	}
	p.queue, p.bytes = nil, 0
}

func closedError(verb string) error { return fmt.Errorf("%s: %w", verb, transport.ErrClosed) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
