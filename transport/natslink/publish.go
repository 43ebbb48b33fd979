package natslink

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Headers of messages in a stream, beside that of the message's id.
const (
	headerOrigin = "Godwit-Origin" // the connection that published it
	headerPart   = "Godwit-Part"   // NAME NUMBER COUNT, of what takes several
)

// Bounds of publishing.
const (
	headerRoom     = 512  // bytes of a message's headers, at most
	maxUnacked     = 4000 // messages
	maxFrames      = 64   // frames whose sets the server has not acknowledged
	publishTimeout = 10 * time.Second
)

// publisher is what Send keeps.
type publisher struct {
	part   transport.Set // of a set that spans frames
	size   int           // bytes of it
	shaken bool          // the handshake's changes have come
}

// published is a frame that was published.
type published struct {
	through crdt.Cursor
	acks    []jetstream.PubAckFuture
}

// onChanges publishes what is the replica's to publish.
func (c *streamConn) onChanges(ctx context.Context, f *transport.Changes) error {
	if !c.out.shaken {
		c.out.shaken = true
		return nil
	}
	sets := f.Sets
	if f.More || f.Part > 0 {
		var err error
		if sets, err = c.out.join(f); err != nil || f.More {
			return err
		}
	}
	p := &published{through: f.Through}
	if err := c.publishAll(ctx, sets, p); err != nil {
		c.fail(err)
		return fmt.Errorf("send: %w: %w", transport.ErrClosed, err)
	}
	select {
	case c.settle <- p:
		return nil
	case <-c.dead:
		return fmt.Errorf("send: %w", transport.ErrClosed)
	case <-ctx.Done(): // the frame was half sent
		c.fail(ctx.Err())
		return ctx.Err()
	}
}

// join puts the parts of a set together.
func (p *publisher) join(f *transport.Changes) ([]transport.Set, error) {
	if f.Part == 0 {
		p.part, p.size = transport.Set{}, 0
	}
	for _, s := range f.Sets {
		p.size += s.Size()
		p.part.Members = append(p.part.Members, s.Members...)
	}
	if p.size > transport.MaxPayload {
		return nil, fmt.Errorf("send: %w: a set of %d bytes", transport.ErrTooLarge, p.size)
	}
	return []transport.Set{p.part}, nil
}

// publishAll sends those of the sets that are this replica's to publish.
func (c *streamConn) publishAll(ctx context.Context, sets []transport.Set, p *published) error {
	parcels, err := c.parcels(sets)
	if err != nil {
		return err
	}
	for _, m := range parcels {
		if err := c.publish(ctx, &m, p); err != nil {
			return err
		}
	}
	return nil
}

// publish sends a parcel, in several messages if it is too large for one.
func (c *streamConn) publish(ctx context.Context, parcel *parcel, p *published) error {
	body, err := c.link.node.codec.Encode(&transport.Changes{Sets: parcel.sets})
	if err != nil {
		return err
	}
	id := parcel.name()
	count := (len(body) + c.chunk - 1) / c.chunk
	for i := range count {
		m := &nats.Msg{Subject: subjectSets(c.link.space), Data: body[i*c.chunk : min((i+1)*c.chunk, len(body))], Header: nats.Header{}}
		m.Header.Set(headerOrigin, c.origin)
		m.Header.Set(jetstream.MsgIDHeader, id)
		if count > 1 {
			m.Header.Set(headerPart, fmt.Sprint(id, " ", i, " ", count))
			m.Header.Set(jetstream.MsgIDHeader, fmt.Sprint(id, "/", i))
		}
		ack, err := c.js.PublishMsgAsync(m)
		for errors.Is(err, jetstream.ErrTooManyStalledMsgs) && ctx.Err() == nil && c.open() {
			ack, err = c.js.PublishMsgAsync(m) // it has waited for a while
		}
		if err != nil {
			return fmt.Errorf("publish change sets: %w", err)
		}
		p.acks = append(p.acks, ack)
	}
	c.mu.Lock()
	c.counts.sent += int64(len(body))
	c.mu.Unlock()
	return nil
}

// parcel is what a message carries: change sets, one after another.
type parcel struct {
	sets []transport.Set
	ids  []byte // of them, one behind another
}

// parcelSets is how many sets a parcel holds on average, if so many are to be published
// at once.
const parcelSets = 64

// parcels makes parcels of those sets that this replica is to publish: what it wrote,
// and for a hub everything. An ID says that a parcel ends with its set. So two who
// publish the same sets in the same order make the same parcels, wherever they begin,
// and the server drops those that come twice.
func (c *streamConn) parcels(sets []transport.Set) (all []parcel, err error) {
	var p parcel
	for _, set := range sets {
		id, own, err := c.idOf(set)
		if err != nil {
			return nil, err
		}
		if !own && !c.link.node.opts.Hub {
			continue
		}
		p.sets, p.ids = append(p.sets, set), append(p.ids, id[:]...)
		if id[0]%parcelSets == 0 {
			all, p = append(all, p), parcel{}
		}
	}
	if len(p.sets) > 0 {
		all = append(all, p)
	}
	return all, nil
}

// name returns the ID of the set, if it is one, else a digest of the IDs.
func (p *parcel) name() string {
	var id crdt.SetID
	if len(p.sets) > 1 {
		sum := sha256.Sum256(p.ids)
		copy(id[:], sum[:])
	} else {
		copy(id[:], p.ids)
	}
	return id.String()
}

// idOf returns the set's ID, and whether this replica wrote any of it.
func (c *streamConn) idOf(set transport.Set) (id crdt.SetID, own bool, err error) {
	members := make([]crdt.Member, len(set.Members))
	for i, m := range set.Members {
		change, err := crdt.ParseChange(m.Data)
		if err != nil {
			return id, false, fmt.Errorf("publish a change of %s/%s: %w", m.Collection, m.ID, err)
		}
		members[i] = crdt.Member{Key: crdt.Key{Collection: m.Collection, ID: m.ID}, Change: change}
		own = own || strings.HasPrefix(string(change.Actor()), string(c.us.Replica[:]))
	}
	return crdt.SetIDOf(members), own, nil
}

// acknowledge tells the replica what the server has acknowledged.
func (c *streamConn) acknowledge() {
	for {
		select {
		case <-c.dead:
			return
		case p := <-c.settle:
			if err := c.wait(p); err != nil {
				c.fail(err)
				return
			}
			c.reply(&transport.Ack{Through: p.through})
		}
	}
}

func (c *streamConn) wait(p *published) error {
	for _, ack := range p.acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return fmt.Errorf("publish change sets: %w", err)
		case <-c.dead:
			return errors.New("the session has ended")
		}
	}
	return nil
}

// partOf parses headerPart.
func partOf(h string) (name string, number, count int, ok bool) {
	fields := strings.Fields(h)
	if len(fields) != 3 || len(fields[0]) != 2*len(crdt.SetID{}) {
		return "", 0, 0, false
	}
	number, err1 := strconv.Atoi(fields[1])
	count, err2 := strconv.Atoi(fields[2])
	return fields[0], number, count, err1 == nil && err2 == nil && number >= 0 && number < count && count <= maxParts
}
