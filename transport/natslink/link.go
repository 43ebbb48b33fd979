package natslink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/godwitdb/godwit/transport"
)

// ErrNobody says that no peer of the space is there.
var ErrNobody = errors.New("nobody else is in this space now")

// link is a transport.Link to any peer of a space.
type link struct {
	node  *Node
	space string
}

// Peer returns a link to a peer of the space, over core NATS: a hub, any of them,
// if there is one, else any other member. An error of Dial wraps ErrNobody when
// there is none.
func (n *Node) Peer(space string) (transport.Link, error) {
	if err := checkSpace(space); err != nil {
		return nil, err
	}
	return &link{node: n, space: space}, nil
}

func checkSpace(space string) error {
	if !transport.ValidSpace(space) {
		return fmt.Errorf("space %q: want 1 to 64 of a-z, 0-9 and ._-", space)
	}
	return nil
}

// String implements transport.Link.
func (l *link) String() string { return l.node.name + "/" + l.space }

// Backoff implements transport.Link.
func (l *link) Backoff() transport.Backoff { return l.node.opts.Backoff }

// Dial implements transport.Link.
func (l *link) Dial(ctx context.Context) (transport.Conn, error) {
	nc, err := l.node.connect(ctx)
	if err != nil {
		return nil, err
	}
	if !l.node.opts.Hub { // it could be handed its own wish
		c, err := l.open(ctx, nc, subjectHub(l.space))
		if !errors.Is(err, ErrNobody) {
			return c, err
		}
	}
	all, err := l.node.members(ctx, nc, l.space)
	if err != nil {
		return nil, l.refused(codeOf(err), err)
	}
	if len(all) == 0 {
		return nil, l.refused(transport.CodeClosed, ErrNobody)
	}
	return l.open(ctx, nc, subjectDial(l.space, all[rand.IntN(len(all))].ID))
}

func (l *link) refused(code string, err error) error {
	return &transport.DialError{Peer: l.String(), Code: code, Err: err}
}

// open asks on a subject for a session.
func (l *link) open(ctx context.Context, nc *nats.Conn, subject string) (transport.Conn, error) {
	denied, stop := l.node.watchDenials()
	defer stop()
	c, err := l.node.newConn(nc, l.space)
	if err != nil {
		return nil, l.refused(codeOf(err), err)
	}
	wish := message{kind: kindOpen, body: c.terms().bytes()}
	if err := nc.PublishRequest(subject, c.inbox, wish.bytes()); err != nil {
		_ = c.Close()
		return nil, l.refused(transport.CodeClosed, err)
	}
	if err := l.await(ctx, c, subject, denied); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// await waits for the answer.
func (l *link) await(ctx context.Context, c *conn, subject string, denied <-chan error) error {
	patience := time.NewTimer(requestTimeout)
	defer patience.Stop()
	for {
		select {
		case m := <-c.opened:
			return l.answered(c, m)
		case err := <-denied:
			if denies(err, subject, c.inbox) {
				return l.refused(transport.CodeAuth, fmt.Errorf("the NATS server does not allow it: %w", err))
			}
		case <-ctx.Done():
			return l.refused(transport.CodeClosed, ctx.Err())
		case <-patience.C:
			return l.refused(transport.CodeTimeout, fmt.Errorf("no answer on %s for %v", subject, requestTimeout))
		}
	}
}

func (l *link) answered(c *conn, m message) error {
	switch m.kind {
	case kindAccept:
		t, err := parseTerms(m.body)
		if err != nil {
			return l.refused(transport.CodeOf(err), err)
		}
		c.start(string(m.body[termsSize:]), t)
		return nil
	case kindRefuse:
		f, err := l.node.codec.Decode(m.body)
		if no, ok := f.(*transport.Error); err == nil && ok {
			return &transport.DialError{Peer: l.String(), Code: no.Code, Err: errors.New(no.Message)}
		}
		return l.refused(transport.CodeProtocol, errors.New("refused for a reason that is not understood"))
	default:
		return l.refused(transport.CodeClosed, ErrNobody)
	}
}
