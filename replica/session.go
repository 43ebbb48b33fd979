package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Times of a session.
const (
	handshakeTimeout = 15 * time.Second
	tellTimeout      = time.Second      // for the peer to take in why the session ends
	resendAfter      = 30 * time.Second // without any ack for what was sent
	settleAfter      = time.Second      // of silence, until cursors are written down
)

// session speaks the protocol with one peer over one connection. Both sides run
// the same code:
//
//	hello, hello     who I am, where my log ends
//	ack, ack         how far I have durably read yours
//	changes, changes where I begin: there, or at 0 if that is not in my log
//	changes, ack...  until one side closes
//
// One goroutine, receive, parses frames. Workers do the rest: apply commits them, send
// is the only one that writes to the connection. None of the first two ever waits for
// the third, so two sides that both have much to send cannot block each other.
type session struct {
	r    *Replica
	conn transport.Conn
	terms
	peerID  int64           // row of the peer in the file
	them    transport.Hello // the peer's
	log     crdt.Cursor     // end of our log at the handshake
	head    crdt.LSN        // its position
	claimed crdt.Cursor     // how far the peer said that it had read, at the handshake
	out     *carry          // what we send
	inn     *carry          // what we take
	filter  crdt.Hash       // of what the peer sends

	wanting      bool // a record that was forgotten here is wanted back, or something was abandoned
	parkedBefore bool // something of the peer's waits since an earlier session
	hides        bool // there are records that nobody is shown

	stored crdt.Cursor // the peer's Read in the file, as this session last read or wrote it; for the writer goroutine

	carried, both string // what Carried of the peer is to be: out; and until both have compared, what it was too

	unpacker transport.Unpacker // of receive

	applies  worker         // see apply
	in       chan *delivery // from receive to apply
	underWay atomic.Int64   // deliveries that receive has and that are not applied yet
	sends    worker         // see sender
	poked    atomic.Bool    // since the sender last looked
	reconciler

	mu     sync.Mutex // guards what follows
	peer   persist.Peer
	at     crdt.Cursor // how far we have read the peer's log, durably
	acked  crdt.Cursor // how far the peer has read ours, durably
	flight []flight    // sent and not acked
	ended  bool        // this side has told the peer that it has sent all it had
	heard  time.Time   // when something was acknowledged, or sent with nothing in flight
	idle   bool        // the sender has nothing to do when an acknowledgement comes
	rewind bool        // the peer asked for a resend from acked
	acks
	wanted   crdt.LSN        // the peer is to be asked to acknowledge up to here at once; 0: it is not
	skipped  bool            // acked began at the end of a log that the peer has not read to there
	asked    crdt.LSN        // the highest that wanted ever was
	pong     *transport.Pong // to be sent
	peerDone bool            // the peer has sent all it had
	unequal  bool            // and said then that the two sides may differ
	mine     []span          // positions of our log that came from this session
	counts   Counts
	refusals []transport.Exception // ours, that the peer did not take; bounded
	refused  refused               // of earlier sessions too, under the rights of this one
	retried  []int64               // rows of refusals of what the peer has now

	leaves

	came came // for the worker that applies, but for doubt

	denied int // sets of the peer's, for lack of rights; for the writer goroutine
}

// flight is a frame that was sent.
type flight struct {
	through crdt.Cursor
	bytes   int
}

// span is a range of positions, both ends included.
type span struct{ from, to crdt.LSN }

// Counts say what a session moved.
type Counts struct {
	ChangesSent, ChangesReceived int
	BytesSent, BytesReceived     int64 // on the wire, as far as the link counts them
	Refused                      int   // changes of ours that the peer refused or parked
	Quarantined                  int   // changes of the peer's that we refused or parked
}

var errDone = errors.New("done")

// terms are what a session is held under.
type terms struct {
	link  string          // the path; "" when the peer has dialled
	once  bool            // end when both sides have everything
	grant transport.Grant // what the peer may do
	want  transport.Scope // what it is asked for
	push  transport.Scope // what it is sent, if it wants that
	aside bool            // no cursor in either file changes

	urgent []string // collections that go first, both ways

	verify   *VerifyResult // to be filled: this session only compares
	progress func(differing int)

	plan plan
	of   *Connection // that holds it; nil: none does
}

// run speaks with the peer until one side ends it or ctx does. It closes conn.
func (r *Replica) run(ctx context.Context, conn transport.Conn, t terms) (*session, error) {
	ctx, stop := r.scoped(ctx)
	defer stop()
	defer conn.Close()
	s := &session{r: r, conn: &metered{Conn: conn, c: r.counters}, terms: t, in: make(chan *delivery, 2), reconciler: newReconciler()}
	err := error(errDraining)
	if !r.draining.Load() {
		err = s.handshake(ctx)
	}
	if err != nil {
		err = s.told(ctx, err)
		s.tell(ctx, err)
		if s.peerID != 0 {
			s.finish(err)
		}
		r.counters.over(err)
		return s, s.name(err)
	}
	r.register(s, true)
	defer r.register(s, false)
	r.presence.join(s)
	defer r.presence.part(s)
	s.of.up(s)
	err = s.told(ctx, s.loops(ctx))
	s.lastAck(ctx, err)
	s.left = errors.Is(err, errLeft)
	if errors.Is(err, errDone) || s.left {
		err = nil
	}
	s.tell(ctx, err)
	s.finish(err)
	r.counters.over(err)
	return s, s.name(err)
}

// loops receives, beside the workers, and returns why the first of them ended.
func (s *session) loops(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	s.alarm(s.pause())
	s.applies.begin(ctx, &wg, s.apply, cancel)
	s.reconciles.begin(ctx, &wg, s.reconcile, cancel)
	sender := newSender(s)
	ear := s.r.tail.listen(s.poke, crdt.Key{}, false)
	s.sends.begin(ctx, &wg, sender.send, cancel)
	cancel(s.receive(ctx))
	s.r.tail.unlisten(ear)
	s.sends.end()
	s.applies.end()
	s.reconciles.end()
	wg.Wait()
	s.timer.Stop()
	sender.close()
	return context.Cause(ctx)
}

// tell sends the peer the reason for the end, if it is for its eyes.
func (s *session) tell(ctx context.Context, err error) {
	var own *protocolError
	code, message := "", ""
	switch {
	case errors.As(err, &own):
		code, message = own.code, own.message
	case errors.Is(err, transport.ErrMalformed), errors.Is(err, transport.ErrTooLarge), errors.Is(err, transport.ErrUnknownFrame):
		code, message = transport.CodeOf(err), err.Error()
	case errors.Is(err, ErrDiskFull):
		code, message = transport.CodeInternal, "the disk of this replica is full: it goes on when there is space"
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	_ = s.conn.Send(ctx, &transport.Error{Code: code, Message: message})
}

// told returns what the peer said before it hung up, if sending was the first to notice
// that; else err.
func (s *session) told(ctx context.Context, err error) error {
	if !errors.Is(err, transport.ErrClosed) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	for {
		f, next := s.conn.Recv(ctx)
		if next != nil {
			return err
		}
		if e, ok := f.(*transport.Error); ok {
			return e
		}
	}
}

// protocolError is the peer's fault, and is told to it.
type protocolError struct{ code, message string }

func (e *protocolError) Error() string { return e.code + ": " + e.message }

func protocolErrorf(code, format string, args ...any) error {
	return &protocolError{code, fmt.Sprintf(format, args...)}
}

// name adds the peer to an error.
func (s *session) name(err error) error {
	if err == nil {
		return nil
	}
	peer := "an unknown peer"
	if s.them.Replica != (crdt.ReplicaID{}) {
		peer = "replica " + s.them.Replica.String()
	}
	return &Error{Op: "session", Peer: peer, Err: err}
}

// handshake agrees on who speaks and where both sides begin.
func (s *session) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout,
		protocolErrorf(transport.CodeTimeout, "the peer did not finish the handshake within %v", handshakeTimeout))
	defer cancel()
	err := s.shake(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (s *session) shake(ctx context.Context) error {
	if err := s.greet(ctx); err != nil || s.compares() {
		return err
	}
	if err := s.conn.Send(ctx, &transport.Ack{Through: s.at}); err != nil {
		return err
	}
	ack, err := expect(ctx, s.conn, func(*transport.Ack) bool { return true })
	if err != nil {
		return err
	}
	if s.them.Carrier { // it remembers nothing: this file does
		ack.Through = s.peer.Acked
	}
	s.claimed = ack.Through
	begin, err := s.begin(ctx, ack.Through)
	if err != nil {
		return err
	}
	s.acked, s.skipped = begin, begin != ack.Through && begin.LSN > 0
	if err := s.conn.Send(ctx, &transport.Changes{From: begin, Through: begin, Filter: s.sendScope().hash()}); err != nil {
		return err
	}
	first, err := expect(ctx, s.conn, func(f *transport.Changes) bool {
		return len(f.Sets)+len(f.Packed) == 0 && f.Loose == 0 && !f.End && f.From == f.Through && (f.From == s.at || f.From.LSN == 0 || s.ranges() && f.From == s.them.Log)
	})
	if err != nil {
		return err
	}
	s.filter = first.Filter
	s.place(first)
	return nil
}

// greet exchanges hellos and finds the peer's row.
func (s *session) greet(ctx context.Context) error {
	hello := &transport.Hello{Protocol: transport.ProtocolVersion, Replica: s.r.id, Epoch: s.r.epoch,
		Want: s.want, Rights: s.grant.Rights(), Volatile: s.aside, Knows: []string{transport.KnowsPack, knowsRanges, knowsAhead, transport.KnowsPresence}, First: s.urgent, Compare: s.verify != nil}
	err := s.r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		hello.Log = rd.Head()
		if hello.Space, err = rd.Space(); err != nil || !s.r.opts.Keeper {
			return err
		}
		n, err := rd.CountForgotten()
		if n == 0 {
			hello.Knows = append(hello.Knows, keepsAll)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := s.conn.Send(ctx, hello); err != nil {
		return err
	}
	them, err := expect(ctx, s.conn, func(*transport.Hello) bool { return true })
	if err != nil {
		return err
	}
	s.log, s.head, s.them = hello.Log, hello.Log.LSN, *them
	if err := checkHello(hello, them); err != nil {
		return err
	}
	if err := s.agree(); err != nil {
		return err
	}
	if s.compares() {
		return s.comparable(hello)
	}
	return s.meet(ctx, hello.Space == "")
}

func checkHello(us, them *transport.Hello) error {
	switch {
	case them.Protocol != transport.ProtocolVersion:
		return protocolErrorf(transport.CodeProtocol, "speaks protocol version %d, this side speaks %d: update the older one",
			them.Protocol, transport.ProtocolVersion)
	case len(them.Requires) > 0:
		return protocolErrorf(transport.CodeProtocol, "requires %q, which this side does not know", them.Requires)
	case us.Space != "" && them.Space != "" && us.Space != them.Space:
		return protocolErrorf(transport.CodeSpace, "one side holds the space %q, the other %q", them.Space, us.Space)
	}
	return nil
}

// meet finds or creates the peer's row, and takes over the peer's space if this
// replica has none yet.
func (s *session) meet(ctx context.Context, adopt bool) error {
	err := s.r.commit(ctx, 0, func(b *batch) error {
		p, err := b.tx.Peer(s.them.Replica, s.them.Epoch)
		if err != nil {
			return err
		}
		if p == nil {
			p = &persist.Peer{Replica: s.them.Replica, Epoch: s.them.Epoch}
		}
		if err := s.known(b.tx, p); err != nil {
			return err
		}
		p.State, p.LastError, p.Attempts, p.Seen = StateConnected, "", 0, s.r.opts.Now().UnixMilli()
		if s.link != "" {
			p.Name = s.link
		}
		p.Carrier = s.them.Carrier
		if adopt && s.them.Space != "" {
			if err := b.tx.SetSpace(s.them.Space); err != nil {
				return err
			}
		}
		s.peer, s.stored = *p, p.Read
		if err := s.carries(p); err != nil {
			return err
		}
		if err := b.tx.PutPeer(&s.peer); err != nil {
			return err
		}
		if s.wanting, err = wants(&b.tx.Reader); err != nil {
			return err
		}
		if !s.wanting { // a peer that had it from here holds for certain that this side has it
			if s.wanting, err = b.tx.AnyRetired(); err != nil {
				return err
			}
		}
		if s.parkedBefore, err = b.tx.HasParked(s.peer.ID); err != nil {
			return err
		}
		if s.hides, err = b.tx.AnyUnseen(); err != nil {
			return err
		}
		return s.recall(b.tx)
	})
	if err != nil {
		return err
	}
	s.peerID, s.at, s.acked = s.peer.ID, s.peer.Read, s.peer.Acked
	if s.aside {
		s.at = s.elsewhere()
	}
	s.at.Epoch = s.them.Epoch
	return nil
}

// begin returns where sending begins: at the peer's cursor if it is one of this log;
// if not, at the end, since the peer will reconcile, or at 0 if it cannot, or has read
// nothing yet.
func (s *session) begin(ctx context.Context, c crdt.Cursor) (crdt.Cursor, error) {
	begin := crdt.Cursor{Epoch: s.r.epoch}
	if c.LSN <= 0 {
		return begin, nil
	}
	if s.ranges() {
		begin = s.log
	}
	if c.Epoch != s.r.epoch {
		return begin, nil
	}
	err := s.r.store.Read(ctx, func(rd *persist.Reader) error {
		if at, ok := rd.CursorAt(c.LSN); ok && (at == c || bug(bugBlindCursor)) {
			begin = c
		}
		return nil
	})
	return begin, err
}

// expect receives the frame that the handshake calls for. Others are passed
// over: a carrier that repeats frames or changes their order is no reason to
// give up, and one that lost the right one is found out by the timeout.
func expect[F transport.Frame](ctx context.Context, conn transport.Conn, right func(F) bool) (F, error) {
	for {
		f, err := conn.Recv(ctx)
		if err == nil {
			if e, ok := f.(*transport.Error); ok {
				err = e
			}
		}
		if err != nil {
			var none F
			return none, err
		}
		if f, ok := f.(F); ok && right(f) {
			return f, nil
		}
	}
}

// finish writes down how the session ended.
func (s *session) finish(cause error) {
	s.sayDenied()
	s.mu.Lock()
	s.peer.State = StateDisconnected
	if cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, errDraining) && !errors.Is(cause, transport.ErrClosed) {
		s.peer.LastError = cause.Error()
	}
	s.mu.Unlock()
	if err := s.save(context.WithoutCancel(s.r.ctx), true); err != nil && !errors.Is(err, ErrClosed) {
		s.r.opts.Logger.Error("write down the end of a session", logPeer, s.them.Replica, logError, err)
	}
	if c, ok := s.conn.(interface{ Stats() (sent, received int64) }); ok {
		s.mu.Lock() // who asked for a run may look still
		defer s.mu.Unlock()
		s.counts.BytesSent, s.counts.BytesReceived = c.Stats()
	}
}

// save writes the peer's row; last says that this side is done with the peer, which may
// have been shown all of the log.
func (s *session) save(ctx context.Context, last bool) error {
	if s.compares() {
		return nil
	}
	return s.r.commit(ctx, 0, func(b *batch) error {
		stored, err := b.tx.PeerByID(s.peerID)
		if err == nil {
			err = s.forgetRetried(b.tx)
		}
		if err == nil && last {
			err = b.tx.Show()
		}
		if err != nil {
			return err
		}
		p := s.row()
		p.Read, p.ReadFilter, p.Doubt = stored.Read, stored.ReadFilter, stored.Doubt // advance alone writes these
		return b.tx.PutPeer(&p)
	})
}

// row returns the peer's row as it is to be written.
func (s *session) row() persist.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peer.Read, s.peer.Seen = s.at, s.r.opts.Now().UnixMilli()
	if !s.aside && !s.them.Volatile && !s.out.none {
		s.peer.Acked, s.peer.Carried = s.acked, s.carried
		if !s.peerDone || s.unequal || s.due { // what it lacks it gets by reconciliation; until then it is not known to have it
			s.peer.Carried = s.both
			if s.skipped {
				s.peer.Acked = crdt.Cursor{Epoch: s.r.epoch}
			}
		}
	}
	return s.peer
}

// poke has the sender look for something to send.
func (s *session) poke() {
	s.poked.Store(true)
	s.sends.wake()
}
