package replica

import (
	"context"
	"errors"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// An acknowledgement is held back when one has just been sent, and then stands for all
// that was applied meanwhile, for as long as TCP holds back its own at most (RFC 9293,
// section 3.8.6.3). A change that comes alone is acknowledged at once; where changes keep coming, a
// hub of a thousand sessions would otherwise spend a third of its time on hearing how
// far each of them is.
const (
	ackEvery  = 500 * time.Millisecond // the least time between two; nobody sees a receipt that is later by that
	ackFrames = maxFlight / 4          // applied and not acknowledged: then it does not wait, so that the
	ackBytes  = windowBytes / 4        // peer's window is open again in time
)

// ackPace is how far acknowledgements are apart. The zero value has sent none.
type ackPace struct {
	last          time.Time // when one was sent
	frames, bytes int       // applied since
}

// wait returns how long an acknowledgement is to be held back; 0: it is not.
func (p *ackPace) wait(now time.Time) time.Duration {
	if p.frames >= ackFrames || p.bytes >= ackBytes {
		return 0
	}
	return max(0, ackEvery-now.Sub(p.last))
}

// applied notes a frame that the next acknowledgement stands for.
func (p *ackPace) applied(bytes int) {
	p.frames++
	p.bytes += bytes
}

// sent notes that one goes out.
func (p *ackPace) sent(now time.Time) { *p = ackPace{last: now} }

// acks is what a session is to acknowledge, and when.
type acks struct {
	ack   *transport.Ack // to be sent; nil: nothing is
	hasty bool           // at once
	pace  ackPace
	waker *time.Timer // when it is time for one that is held back; nil: none ever was
}

// ackFor queues what is to be told of deliveries. Only what a peer sends live is held
// back: what it has sent so far is all it had, and it has not just said that, which one
// that is about to hang up does. Nor is it when somebody there waits for it. The caller
// holds mu.
func (s *session) ackFor(all []*delivery, ack *transport.Ack, end bool) {
	for _, d := range all {
		s.pace.applied(d.bytes)
		s.hasty = s.hasty || d.prompt
	}
	s.hasty = s.hasty || ack.Resend || len(ack.Exceptions) > 0 || end || !s.peerDone
	s.queueAck(ack)
}

// dueAck takes the acknowledgement that waits, if its time has come. The caller holds mu.
func (s *session) dueAck() *transport.Ack {
	ack := s.ack
	if ack == nil || s.holds() {
		return nil
	}
	ack.Bare = s.packs() && !ack.Resend
	s.ack, s.hasty = nil, false
	s.pace.sent(time.Now())
	if bug(bugSkipAck) && ack.Through.LSN%8 == 0 {
		return nil
	}
	return ack
}

// lastAck sends the acknowledgement that is held back when this side hangs up.
func (s *session) lastAck(ctx context.Context, cause error) {
	s.mu.Lock()
	s.hasty = true
	ack := s.dueAck()
	if s.waker != nil {
		s.waker.Stop()
	}
	s.mu.Unlock()
	if ack == nil || !errors.Is(cause, context.Canceled) && !errors.Is(cause, ErrClosed) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	_ = s.conn.Send(ctx, ack)
}

// holds reports whether there is an acknowledgement, and it is held back: then the sender
// is woken in time. The caller holds mu.
func (s *session) holds() bool {
	if s.ack == nil || s.hasty || s.once || s.r.draining.Load() || s.leaving.Load() || oneShot(s.conn) {
		return false
	}
	wait := s.pace.wait(time.Now())
	if wait == 0 {
		return false
	}
	if s.waker == nil {
		s.waker = time.AfterFunc(wait, s.poke)
	} else {
		s.waker.Reset(wait)
	}
	return true
}

// maxExceptionBytes bounds the exceptions of an ack, which has to fit a frame.
const maxExceptionBytes = 4 << 20

// queueAck replaces the ack that waits to be sent, keeping its exceptions, the
// newest if they are too many. The caller holds mu.
func (s *session) queueAck(ack *transport.Ack) {
	if s.ack != nil {
		ack.Exceptions = append(s.ack.Exceptions, ack.Exceptions...)
		ack.Resend = ack.Resend || s.ack.Resend
	}
	from, size := len(ack.Exceptions), 0
	for ; from > 0 && len(ack.Exceptions)-from < transport.MaxExceptions; from-- {
		x := &ack.Exceptions[from-1]
		if size += 64 + len(x.Collection) + len(x.ID) + len(x.Code) + len(x.Detail); size > maxExceptionBytes {
			break
		}
	}
	ack.Exceptions = ack.Exceptions[from:]
	s.ack = ack
}
