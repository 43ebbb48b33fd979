package natslink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/godwitdb/godwit/transport"
)

// ServeOptions say what a node serves. Accept is required.
type ServeOptions struct {
	// Space is the one served; "" means all, which takes a node with Options.Hub.
	Space string
	// Accept runs the session of one connection. The connection is closed when it
	// returns; its error is dropped (the session reports it). The context ends when
	// serving does.
	Accept func(ctx context.Context, space string, c transport.Conn, g transport.Grant) error
	// Grant says what peers may do in a space; nil grants everything. Who may send
	// to a subject of the space is the NATS server's business.
	Grant func(space string) transport.Grant
	// MaxSessions bounds the sessions at a time; more are refused with CodeBusy.
	// 0 means 10,000.
	MaxSessions int
}

const defaultMaxSessions = 10_000

// server is one call of Serve.
type server struct {
	node *Node
	opts ServeOptions
	done sync.WaitGroup // sessions

	mu    sync.Mutex // guards count
	count int
}

// Serve answers those who look for peers, and runs their sessions, until ctx ends:
// then it ends the sessions, waits for them and returns nil. A server that cannot be
// reached is tried again; one that refuses this node ends it with an error.
func (n *Node) Serve(ctx context.Context, opts *ServeOptions) error {
	if opts.Space == "" && !n.opts.Hub {
		return errors.New("serve: only a hub serves all spaces")
	}
	if opts.Space != "" {
		if err := checkSpace(opts.Space); err != nil {
			return fmt.Errorf("serve: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &server{node: n, opts: *opts}
	if s.opts.MaxSessions <= 0 {
		s.opts.MaxSessions = defaultMaxSessions
	}
	defer s.done.Wait()
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := s.listen(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if transport.CodeOf(err) == transport.CodeAuth {
			return fmt.Errorf("serve: %w", err)
		}
		n.opts.Logger.Warn("not to be found by peers", logError, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(n.opts.Backoff.Delay(attempt, rand.Float64)):
		}
	}
}

// listen subscribes, and returns when the connection is lost for good.
func (s *server) listen(ctx context.Context) error {
	nc, err := s.node.connect(ctx)
	if err != nil {
		return err
	}
	denied, stop := s.node.watchDenials()
	defer stop()
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	subs, err := s.subscribe(ctx, nc)
	defer func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe()
		}
	}()
	if err != nil {
		return s.node.refused(codeOf(err), err)
	}
	s.announce(nc)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-denied:
			if denies(err, s.subjects()...) {
				return s.node.refused(transport.CodeAuth, fmt.Errorf("the NATS server does not allow it: %w", err))
			}
		case now, ok := <-status:
			if !ok || now == nats.CLOSED {
				return s.node.refused(transport.CodeClosed, errors.New("the connection to the NATS server was closed"))
			}
			s.announce(nc)
		}
	}
}

// space is what to subscribe to.
func (s *server) space() string {
	if s.opts.Space == "" {
		return everySpace
	}
	return s.opts.Space
}

func (s *server) subjects() []string {
	return []string{subjectWho(s.space()), subjectDial(s.space(), s.node.opts.ID), subjectHub(s.space())}
}

func (s *server) subscribe(ctx context.Context, nc *nats.Conn) (subs []*nats.Subscription, err error) {
	open := func(m *nats.Msg) { s.onOpen(ctx, m) }
	add := func(sub *nats.Subscription, err2 error) {
		if err2 == nil {
			subs = append(subs, sub)
		}
		err = errors.Join(err, err2)
	}
	add(nc.Subscribe(subjectWho(s.space()), s.onWho))
	add(nc.Subscribe(subjectDial(s.space(), s.node.opts.ID), open))
	if s.node.opts.Hub {
		add(nc.QueueSubscribe(subjectHub(s.space()), hubQueue, open))
	}
	return subs, err
}

// announce tells those who wait for a peer.
func (s *server) announce(nc *nats.Conn) {
	subject := subjectHere(s.opts.Space)
	if s.opts.Space == "" {
		subject = subjectHere(noSpace)
	}
	_ = nc.Publish(subject, s.node.self()) // it is asked for as well
}

func (s *server) onWho(m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	_ = m.Respond(s.node.self())
}

// onOpen answers a wish for a session.
func (s *server) onOpen(ctx context.Context, m *nats.Msg) {
	wish, ok := parseMessage(m.Data)
	space, named := untoken(m.Subject)
	if !ok || !named || wish.kind != kindOpen || m.Reply == "" {
		s.node.foreign(m.Subject, m.Data)
		return
	}
	t, err := parseTerms(wish.body)
	if err == nil {
		err = s.enter(ctx)
	}
	if err != nil {
		s.refuse(m, err)
		return
	}
	c, err := s.accept(m, space, t)
	if err != nil {
		s.leave()
		s.refuse(m, err)
		return
	}
	go func() {
		defer s.leave()
		defer c.Close()
		grant := transport.FullGrant()
		if s.opts.Grant != nil {
			grant = s.opts.Grant(space)
		}
		_ = s.opts.Accept(ctx, space, c, grant)
	}()
}

func (s *server) accept(m *nats.Msg, space string, t terms) (*conn, error) {
	nc := s.node.current()
	if nc == nil {
		return nil, errors.New("not connected")
	}
	c, err := s.node.newConn(nc, space)
	if err != nil {
		return nil, err
	}
	c.start(m.Reply, t)
	yes := message{kind: kindAccept, body: c.terms().bytes()}
	if err := nc.PublishRequest(m.Reply, c.inbox, yes.bytes()); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// refuse tells the peer why there will be no session.
func (s *server) refuse(m *nats.Msg, err error) {
	var told *transport.Error
	if !errors.As(err, &told) {
		told = &transport.Error{Code: transport.CodeInternal, Message: "no session could be opened"}
		s.node.opts.Logger.Warn("could not open a session", logError, err)
	}
	body, err := s.node.codec.Encode(told)
	if err != nil {
		return
	}
	no := message{kind: kindRefuse, body: body}
	_ = m.Respond(no.bytes())
}

func (s *server) enter(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return &transport.Error{Code: transport.CodeClosed, Message: "the peer is shutting down"}
	case s.count >= s.opts.MaxSessions:
		return &transport.Error{Code: transport.CodeBusy, Message: "no room for another session, come back later"}
	}
	s.count++
	s.done.Add(1)
	return nil
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	s.done.Done()
}
