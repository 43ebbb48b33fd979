package natslink

import (
	"context"
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
	headerPart   = "Godwit-Part"   // SET NUMBER COUNT, of a set that takes several
)

// Bounds of publishing.
const (
	headerRoom     = 512 // bytes of a message's headers, at most
	maxUnacked     = 4000
	maxFrames      = 64 // frames whose sets the server has not acknowledged
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
	for _, set := range sets {
		if err := c.publish(ctx, set, p); err != nil {
			c.fail(err)
			return fmt.Errorf("send: %w: %w", transport.ErrClosed, err)
		}
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

// publish sends the messages of a set, unless that is for others to do: whoever
// wrote it, or a hub.
func (c *streamConn) publish(ctx context.Context, set transport.Set, p *published) error {
	id, own, err := c.nameOf(set)
	if err != nil {
		return err
	}
	if !own && !c.link.node.opts.Hub {
		return nil
	}
	body, err := c.link.node.codec.Encode(&transport.Changes{Sets: []transport.Set{set}})
	if err != nil {
		return err
	}
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
			return fmt.Errorf("publish a change set: %w", err)
		}
		p.acks = append(p.acks, ack)
	}
	c.mu.Lock()
	c.counts.sent += int64(len(body))
	c.mu.Unlock()
	return nil
}

// nameOf returns the set's id, and whether this replica wrote any of it.
func (c *streamConn) nameOf(set transport.Set) (id string, own bool, err error) {
	members := make([]crdt.Member, len(set.Members))
	for i, m := range set.Members {
		change, err := crdt.ParseChange(m.Data)
		if err != nil {
			return "", false, fmt.Errorf("publish a change of %s/%s: %w", m.Collection, m.ID, err)
		}
		members[i] = crdt.Member{Key: crdt.Key{Collection: m.Collection, ID: m.ID}, Change: change}
		own = own || strings.HasPrefix(string(change.Actor()), string(c.us.Replica[:]))
	}
	return crdt.SetIDOf(members).String(), own, nil
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
			return fmt.Errorf("publish a change set: %w", err)
		case <-c.dead:
			return errors.New("the session has ended")
		}
	}
	return nil
}

// partOf parses headerPart.
func partOf(h string) (set string, number, count int, ok bool) {
	fields := strings.Fields(h)
	if len(fields) != 3 || len(fields[0]) != 2*len(crdt.SetID{}) {
		return "", 0, 0, false
	}
	number, err1 := strconv.Atoi(fields[1])
	count, err2 := strconv.Atoi(fields[2])
	return fields[0], number, count, err1 == nil && err2 == nil && number >= 0 && number < count && count <= maxParts
}
