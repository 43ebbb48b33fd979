package natslink

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what waits for its other parts.
const (
	maxParts     = transport.MaxFrame / (minChunk / 2)
	partialBytes = 2 * transport.MaxFrame
	partialAge   = time.Minute // in the stream's time
	pullMessages = 512         // under way to this side
	inactive     = time.Minute // until the server forgets a consumer
)

// intake is how far the stream was read.
type intake struct {
	last     uint64      // sequence number of the last message seen
	at       crdt.Cursor // of it
	told     crdt.Cursor // the Through of the last frame
	partials []*partial  // oldest first
	size     int         // bytes of them
}

// partial is a parcel of which not all messages have come.
type partial struct {
	name   string
	before crdt.Cursor // the position before the first of them: there a new session has to begin
	since  time.Time   // when that was stored
	parts  map[int][]byte
	count  int
	size   int
}

// consume has the stream delivered from behind a position.
func (c *streamConn) consume(ctx context.Context, from crdt.Cursor) error {
	c.mu.Lock()
	c.in.last, c.in.at, c.in.told = uint64(from.LSN), from, from
	c.mu.Unlock()
	consumer, err := c.js.OrderedConsumer(ctx, c.stream.CachedInfo().Config.Name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(from.LSN) + 1, InactiveThreshold: inactive,
	})
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	running, err := consumer.Consume(c.handle, jetstream.PullMaxMessages(pullMessages),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { poke(c.check) }))
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	c.mu.Lock()
	c.consumer = running
	c.mu.Unlock()
	if info := consumer.CachedInfo(); info.NumPending == 0 {
		c.mu.Lock()
		c.collect().End = true
		c.mu.Unlock()
		poke(c.ready)
	}
	return nil
}

// handle takes one message, and waits while the replica is slow.
func (c *streamConn) handle(m jetstream.Msg) {
	md, err := m.Metadata()
	if err != nil {
		c.fail(fmt.Errorf("read the stream: %w", err))
		return
	}
	for !c.hasRoom() {
		select {
		case <-c.room:
		case <-c.dead:
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := md.Sequence.Stream
	if c.ended != nil || seq <= c.in.last {
		return
	}
	if seq != c.in.last+1 && c.in.last > 0 {
		c.lost(fmt.Sprintf("%d to %d", c.in.last+1, seq-1))
	}
	before := c.in.at
	c.in.last = seq
	c.in.at = crdt.Cursor{Epoch: c.epoch, LSN: crdt.LSN(seq), Chain: chainOf(seq, md.Timestamp, m.Headers().Get(jetstream.MsgIDHeader))}
	sets := c.setsOf(m, md.Timestamp, before)
	b := c.collect()
	for _, set := range sets {
		b.Sets = append(b.Sets, set)
		c.size += set.Size()
	}
	c.more = md.NumPending > 0
	b.End = b.End || !c.more
	poke(c.ready)
}

func (c *streamConn) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.batch == nil || c.size < batchBytes && len(c.batch.Sets) < batchSets
}

// collect returns the batch, up to the position that is safe to begin at again. The
// caller holds mu.
func (c *streamConn) collect() *transport.Changes {
	if c.batch == nil {
		c.batch, c.since = &transport.Changes{From: c.in.told}, time.Now()
	}
	through := c.in.at
	if len(c.in.partials) > 0 {
		through = c.in.partials[0].before
	}
	if through.LSN >= c.in.told.LSN {
		c.in.told = through
	}
	c.batch.Through = c.in.told
	return c.batch
}

// setsOf returns the sets that a message holds or completes, and the replica wants. The
// caller holds mu.
func (c *streamConn) setsOf(m jetstream.Msg, at time.Time, before crdt.Cursor) []transport.Set {
	h := m.Headers()
	if h.Get(headerOrigin) == c.origin {
		return nil
	}
	c.counts.received += int64(len(m.Data()))
	body, id := m.Data(), h.Get(jetstream.MsgIDHeader)
	if part := h.Get(headerPart); part != "" {
		var whole, ok bool
		if body, id, whole, ok = c.in.add(part, body, at, before); !ok {
			c.link.node.foreign(m.Subject(), m.Data())
		}
		c.expire(at)
		if !whole {
			return nil
		}
	}
	f, err := c.link.node.codec.Decode(body)
	changes, ok := f.(*transport.Changes)
	if err != nil || !ok || len(changes.Sets) == 0 || id == "" {
		c.link.node.foreign(m.Subject(), m.Data())
		return nil
	}
	return c.wanted(changes.Sets)
}

// wanted leaves out what the replica does not want.
func (c *streamConn) wanted(sets []transport.Set) (wanted []transport.Set) {
	if c.us.Want.All {
		return sets
	}
	for _, set := range sets {
		var some transport.Set
		for _, m := range set.Members {
			if c.us.Want.Covers(crdt.Key{Collection: m.Collection, ID: m.ID}) {
				some.Members = append(some.Members, m)
			}
		}
		if len(some.Members) > 0 {
			wanted = append(wanted, some)
		}
	}
	return wanted
}

// add keeps a part of a parcel, and returns the whole when it was the last one.
func (in *intake) add(header string, body []byte, at time.Time, before crdt.Cursor) (all []byte, name string, whole, ok bool) {
	name, number, count, ok := partOf(header)
	if !ok {
		return nil, "", false, false
	}
	i := 0
	for i < len(in.partials) && in.partials[i].name != name {
		i++
	}
	if i == len(in.partials) {
		in.partials = append(in.partials, &partial{name: name, before: before, since: at, parts: map[int][]byte{}, count: count})
	}
	p := in.partials[i]
	if count != p.count {
		return nil, "", false, false
	}
	if p.parts[number] == nil {
		p.parts[number] = body
		p.size += len(body)
		in.size += len(body)
	}
	if len(p.parts) < count {
		return nil, "", false, true
	}
	in.drop(i)
	for number := range count {
		all = append(all, p.parts[number]...)
	}
	return all, name, true, true
}

func (in *intake) drop(i int) {
	in.size -= in.partials[i].size
	in.partials = append(in.partials[:i], in.partials[i+1:]...)
}

// expire gives up what nobody will complete: a peer has it. The caller holds
// mu.
func (c *streamConn) expire(now time.Time) {
	for len(c.in.partials) > 0 {
		p := c.in.partials[0]
		if c.in.size <= partialBytes && len(c.in.partials) <= pullMessages && now.Sub(p.since) < partialAge {
			return
		}
		c.in.drop(0)
		c.lost(fmt.Sprintf("parts of %s, whose first is behind %d", p.name, p.before.LSN))
	}
}
