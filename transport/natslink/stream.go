package natslink

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Times of a stream.
const (
	streamTimeout = 10 * time.Second // for a request
	withoutStream = time.Minute      // until one is looked for again that cannot be had
	dedupWindow   = 2 * time.Minute
)

// streamLink is a transport.Link to the stream of a space.
type streamLink struct {
	node  *Node
	space string
	gap   func()        // called when the stream lost what was not read
	up    func(on bool) // called when a session begins and ends
}

// Stream returns a link to the stream of the space, which is created if there is
// none. Whoever it is connected to says hello as a carrier: it hands on change
// sets, and keeps nothing for good.
func (n *Node) Stream(space string) (transport.Link, error) {
	if err := checkSpace(space); err != nil {
		return nil, err
	}
	return &streamLink{node: n, space: space, gap: func() {}, up: func(bool) {}}, nil
}

// String implements transport.Link.
func (l *streamLink) String() string { return l.node.name + "/" + l.space + " (stream)" }

// Backoff implements transport.Link.
func (l *streamLink) Backoff() transport.Backoff { return l.node.opts.Backoff }

// Dial implements transport.Link.
func (l *streamLink) Dial(ctx context.Context) (transport.Conn, error) {
	nc, err := l.node.connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, streamTimeout, fmt.Errorf("JetStream does not answer within %v", streamTimeout))
	defer cancel()
	ctx, stop := l.node.untilDenied(ctx, "$JS.", "_INBOX.")
	defer stop()
	c, err := l.open(ctx, nc)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, nats.ErrNoResponders) {
		err = jetstream.ErrJetStreamNotEnabled
	}
	// No reason to give up for good: a fleet can do without.
	return nil, &transport.DialError{Peer: l.String(), Code: transport.CodeClosed, RetryAfter: withoutStream, Err: err}
}

func (l *streamLink) open(ctx context.Context, nc *nats.Conn) (*streamConn, error) {
	js, err := l.node.jetStream(nc)
	if err != nil {
		return nil, err
	}
	s, err := l.stream(ctx, js)
	if err != nil {
		return nil, err
	}
	return newStreamConn(l, nc, js, s), nil
}

// stream finds the stream, or creates it.
func (l *streamLink) stream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, StreamName(l.space))
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return s, err
	}
	config := defaultStream(l.space)
	if l.node.opts.Stream != nil {
		l.node.opts.Stream(&config)
	}
	s, err = js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by another member, just now
		return js.Stream(ctx, StreamName(l.space))
	}
	return s, err
}

// defaultStream keeps change sets in files for 30 days, and 1 GiB of them at most: a
// member that was away for longer gets what it lacks from a peer.
func defaultStream(space string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: StreamName(space), Subjects: []string{subjectSets(space)}, Description: "change sets of the godwit space " + space,
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld, MaxAge: 30 * 24 * time.Hour, MaxBytes: 1 << 30, Duplicates: dedupWindow,
	}
}

// carrier names the stream as a peer: by what it is called and when it was
// created. One that was deleted and created again is another one.
func carrier(info *jetstream.StreamInfo) (id crdt.ReplicaID, epoch uint64) {
	sum := sha256.Sum256([]byte("godwit stream\x00" + info.Config.Name))
	copy(id[:], sum[:])
	return id, uint64(info.Created.UnixNano())
}

// chainOf proves that a position means the same message: the first 16 bytes of
// SHA-256 over its sequence number, its time and its id. A stream that was set back
// gives the number to another one.
func chainOf(seq uint64, at time.Time, id string) (c crdt.Chain) {
	b := binary.BigEndian.AppendUint64(nil, seq)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixNano()))
	sum := sha256.Sum256(append(b, id...))
	copy(c[:], sum[:])
	return c
}

// verify reports whether the message that a cursor means is the one in the stream.
func verify(ctx context.Context, s jetstream.Stream, at crdt.Cursor) (bool, error) {
	state := s.CachedInfo().State
	if at.LSN <= 0 || uint64(at.LSN) < state.FirstSeq || uint64(at.LSN) > state.LastSeq {
		return at.LSN == 0, nil
	}
	m, err := s.GetMsg(ctx, uint64(at.LSN))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return chainOf(m.Sequence, m.Time, m.Header.Get(jetstream.MsgIDHeader)) == at.Chain, nil
}
