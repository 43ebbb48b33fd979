package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Reconciliation: see "Reconciliation" in doc.go.

// knowsRanges is the capability of a Hello whose sender answers Digest and Need.
const knowsRanges = "ranges"

// keepsAll is the capability of a Hello whose sender is a keeper.
const keepsAll = "keeps"

const (
	requestTimeout = 30 * time.Second
	maxSilence     = 4 // requests in a row that were not answered
	maxAsks        = 8 // frames that wait for the reconciler
)

// reconciler is what a session does about reconciliation.
type reconciler struct {
	asks    chan transport.Frame // the peer's, in order behind the change sets that went before them
	drained chan struct{}        // one slot: replies is empty
	start   chan struct{}        // one slot: make a run now
	timeout chan struct{}        // one slot: the time is up

	reconciles worker // see reconcile

	// For the worker.
	timer   *time.Timer // signals timeout
	current *run        // that goes on; nil: none

	lost    bool     // the peer may have lost what this side once sent it or had from it
	unsure  bool     // what came from the peer in earlier sessions may be lost to it, and is streamed
	strange bool     // the peer's Read is not where its log was read: not to be stored; for the writer goroutine
	reach   crdt.LSN // the peer's log reached so far when it answered a Need, at least; for the reconciler

	// Guarded by the session's mu.
	replies   []transport.Frame   // to be sent
	turned    map[crdt.Key]string // records of which one side refused a change, and why; bounded
	arrived   map[uint64]uint64   // frames of loose sets that were applied, by the Need that they went before
	gained    crdt.LSN            // the last position of this side's log that came from this session
	due       bool                // a run has to be made before this side has sent all
	begun     bool                // that run goes on
	concluded bool                // the comparison that this session is for has come to its end
	failed    error               // why the last run came to no end
	more      bool                // another run is wanted after this one
	lacking   int                 // sets that were parked here, and may be so still
	owing     int                 // the same at the peer
	differ    int                 // records that the last run left different, with a reason
}

func newReconciler() reconciler {
	return reconciler{
		asks: make(chan transport.Frame, maxAsks), drained: make(chan struct{}, 1), start: make(chan struct{}, 1), timeout: make(chan struct{}, 1),
		arrived: map[uint64]uint64{}, turned: map[crdt.Key]string{},
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ranges reports whether the peer can reconcile.
func (s *session) ranges() bool { return slices.Contains(s.them.Knows, knowsRanges) }

// waits reports whether the sender has to wait for reconciliation before it says
// that it has sent all. It begins when nothing is under way. The caller holds mu.
func (r *reconciler) waits(idle bool) bool {
	if r.due && !r.begun && idle {
		r.begun = true
		r.soon()
	}
	return r.due
}

// ask hands a frame of the peer's to the reconciler. An honest peer has one or two
// under way; more are dropped.
func (r *reconciler) ask(f transport.Frame) {
	select {
	case r.asks <- f:
		r.reconciles.wake()
	default:
	}
}

// say has frames sent, when those before have been.
func (s *session) say(ctx context.Context, frames ...transport.Frame) error {
	for {
		s.mu.Lock()
		room := len(s.replies) == 0
		if room {
			s.replies = frames
		}
		s.mu.Unlock()
		if room {
			s.poke()
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.drained:
		}
	}
}

// reply takes the next frame of the reconciler's. The caller holds mu.
func (s *session) reply() transport.Frame {
	if len(s.replies) == 0 {
		return nil
	}
	f := s.replies[0]
	if s.replies = s.replies[1:]; len(s.replies) == 0 {
		s.replies = nil
		signal(s.drained)
	}
	return f
}

// loose returns the frames that carry what a supply gathered, cut where they are too
// large for one.
func loose(u *supply, id uint64) (frames []transport.Frame) {
	for _, f := range looseFrames(u.sets, id) {
		for _, part := range split(f) {
			frames = append(frames, part)
		}
	}
	return frames
}

// reconcile answers what the peer asks, and makes runs of this side's own.
func (s *session) reconcile(ctx context.Context) error {
	for {
		current := s.current
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
			return nil
		case f := <-s.asks:
			if answer, ok := answerTo(f); !ok {
				err = s.answer(ctx, f)
			} else if current != nil && answer == current.id {
				err = current.take(ctx, f)
				s.alarm(requestTimeout)
			}
		case <-s.start:
			if current == nil && s.ranges() {
				current, err = s.begins(ctx)
				s.alarm(requestTimeout)
			}
		case <-s.timeout:
			if current == nil {
				signal(s.start)
			} else {
				err = current.again(ctx)
			}
			s.alarm(requestTimeout)
		}
		if err != nil {
			return err
		}
		if current != nil && current.over {
			if err := s.ends(ctx, current); err != nil {
				return err
			}
			current = nil
			s.alarm(s.pause())
		}
		s.current = current
	}
}

// soon has a run made.
func (r *reconciler) soon() {
	signal(r.start)
	r.reconciles.wake()
}

// alarm has the reconciler look after some time, and not at the time set before.
func (r *reconciler) alarm(after time.Duration) {
	if r.timer == nil {
		r.timer = time.AfterFunc(after, func() {
			signal(r.timeout)
			r.reconciles.wake()
		})
		return
	}
	r.timer.Reset(after)
	select {
	case <-r.timeout:
	default:
	}
}

// pause is the time until the next run.
func (s *session) pause() time.Duration {
	every := s.r.opts.ReconcileEvery
	if s.compares() {
		every = requestTimeout
	}
	return every*3/4 + time.Duration(float64(every/2)*s.r.opts.Random())
}

// answerTo returns which request the frame answers.
func answerTo(f transport.Frame) (id uint64, ok bool) {
	switch f := f.(type) {
	case *transport.Digest:
		return f.ID, f.Answer
	case *transport.Need:
		return f.ID, f.Answer
	}
	return 0, false
}

// answer answers a request of the peer's. Nothing is kept of it.
func (s *session) answer(ctx context.Context, f transport.Frame) error {
	switch f := f.(type) {
	case *transport.Digest:
		return s.answerDigest(ctx, f)
	case *transport.Need:
		if !s.allArrived(f) {
			return s.say(ctx, &transport.Need{ID: f.ID, Answer: true})
		}
		u, err := s.supply(ctx, s.sendScope(), f)
		if err != nil {
			return err
		}
		frames := loose(u, f.ID)
		s.sentLoose(u)
		answer := &transport.Need{ID: f.ID, Answer: true, Loose: wholes(frames), Log: u.log, Behind: u.through, Haves: u.haves}
		return s.say(ctx, append(frames, answer)...)
	}
	return nil
}

func (s *session) answerDigest(ctx context.Context, f *transport.Digest) error {
	asked, err := carryOf(f.Scopes...)
	if err != nil {
		return protocolErrorf(transport.CodeProtocol, "asks for a comparison: %v", err)
	}
	of := asked
	if !asked.within(s.sendScope()) {
		of = asked.and(s.sendScope())
	}
	if len(of.scopes) > transport.MaxScopes {
		return protocolErrorf(transport.CodeTooLarge, "asks for a comparison of too many scopes")
	}
	answer := &transport.Digest{ID: f.ID, Answer: true, Scopes: of.wire()}
	if of == asked {
		err = s.r.digest(ctx, of, func(v *digestView) error {
			out, err := v.compare(f.Ranges, true)
			answer.Ranges = out.ranges
			return err
		})
	}
	if err != nil {
		return err
	}
	return s.say(ctx, answer)
}

func (s *session) sentLoose(u *supply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, set := range u.sets {
		s.counts.ChangesSent += len(set.Members)
		s.r.counters.changesSent.Add(int64(len(set.Members)))
	}
}

// ends writes down what a run came to. When this side has got all that the peer
// had, and the peer what it lacked, the cursor may be stored again.
func (s *session) ends(ctx context.Context, run *run) error {
	var err error
	if !s.compares() {
		err = s.noteStubs(ctx, run.stubs)
	}
	if err == nil && run.complete() && !s.compares() && !s.aside {
		err = s.settled(ctx)
	}
	s.mu.Lock()
	s.due, s.begun, s.failed, s.differ = false, false, run.failure(), run.differing-run.forgotten
	s.compared(run.complete() && run.differing == 0)
	s.absolve(run)
	s.mu.Unlock()
	s.r.counters.reconciled(run)
	if failed := run.failure(); failed != nil {
		s.r.opts.Logger.Warn("reconcile", logPeer, s.them.Replica, logError, failed)
	}
	if s.verify != nil && err == nil {
		run.verdict(s.verify)
		err = errDone
	}
	s.poke()
	return err
}

// settled stores the cursor at which the peer's log is read in this session.
func (s *session) settled(ctx context.Context) error {
	return s.r.commit(ctx, 0, func(b *batch) error {
		stored, err := b.tx.PeerByID(s.peerID)
		if err != nil {
			return err
		}
		p := s.row()
		p.ReadFilter = s.readFilter()
		p.Doubt = stored.Read != s.stored || stored.Doubt && p.Read.LSN < s.reach ||
			s.lost && !s.out.all() // the rest of it is for a session that carries all
		before, strange := s.stored, s.strange
		s.stored, s.strange = p.Read, false
		b.tx.OnRollback(func() { s.stored, s.strange = before, strange })
		return b.tx.PutPeer(&p)
	})
}

// unreconciled is why the replicas may differ after the last run, for a one-shot
// exchange. The caller holds mu, or the session is over.
func (s *session) unreconciled() error {
	switch {
	case s.failed != nil:
		return fmt.Errorf("not known to be equal: %w", s.failed)
	case s.differ > 0:
		return fmt.Errorf("not equal: %d records stay different (see verify)", s.differ)
	}
	return nil
}
