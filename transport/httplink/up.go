package httplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// parcel is what a POST carries up.
type parcel struct {
	at    int64 // position of the first byte of body
	body  []byte
	ack   int64         // position up to which bytes have come down
	end   bool          // nothing more goes up
	fetch bool          // the answer is to carry what goes down
	hold  time.Duration // how long the server may wait for that
}

// up sends what is to go up until the connection ends. On the lowest rung the
// answers bring what comes down.
func (c *carried) up(ctx context.Context) {
	size, pause, failures := newSizer(), firstPause, 0
	for {
		p, ok := c.parcel(ctx, size.now, pause)
		if !ok {
			return
		}
		moved, err := c.post(ctx, p)
		var refused *transport.DialError
		switch {
		case err == nil && p.end:
			return
		case moved: // even if the answer was cut short
			size.grow()
			pause, failures = firstPause, 0
		case err == nil && len(p.body) > 0: // the session over there is slow, or the server is odd
			if !c.pause(ctx, firstBackoff) {
				return
			}
		case err == nil:
			pause, failures = min(2*pause, lastPause), 0
		case !c.again(ctx, err, failures):
			return
		default:
			failures++
			size.shrink(errors.As(err, &refused) && refused.Code == transport.CodeTooLarge)
		}
	}
}

// sizer says how many bytes of the stream a body may hold: half as many when one
// did not get through, twice as many after some that did, as far as none that
// large was refused for its size.
type sizer struct{ now, most, good int }

func newSizer() sizer { return sizer{now: maxBody, most: maxBody} }

func (s *sizer) grow() {
	if s.good++; s.good%16 == 0 {
		s.now = min(2*s.now, s.most)
	}
}

func (s *sizer) shrink(forGood bool) {
	s.now, s.good = max(s.now/2, minBody), 0
	if forGood {
		s.most = s.now
	}
}

// parcel waits for a reason to send a POST: bytes that go up, bytes that came
// down and are to be acknowledged, the end, or time.
func (c *carried) parcel(ctx context.Context, size int, pause time.Duration) (parcel, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		asks := c.rung == RungPost
		left := time.Until(c.due(pause))
		switch {
		case c.lost || ctx.Err() != nil:
			return parcel{}, false
		case len(c.out) > 0 || c.over() != nil || c.next-c.acked >= ackAfter || c.urge || left <= 0 || c.held && !c.in.full():
			c.urge, c.held, c.posted = false, false, time.Now()
			p := parcel{at: c.base, ack: c.next, fetch: asks && c.over() == nil && !c.in.full(), hold: min(pause, answerTime)}
			if c.gone == nil {
				p.body = c.from(c.base, size)
			}
			switch {
			case len(p.body) == 0:
			case len(p.body) < len(c.out):
				p.hold = 0
			default:
				p.hold = answerTime
			}
			p.end = c.over() != nil && p.at+int64(len(p.body)) == c.last() || c.gone != nil
			return p, true
		}
		timer := time.NewTimer(left)
		_ = c.wait(ctx, timer.C)
		timer.Stop()
	}
}

// due returns when the next POST goes up if nothing else is to go up: to ask, to
// acknowledge events, or to be heard. The caller holds mu.
func (c *carried) due(pause time.Duration) time.Time {
	switch {
	case c.rung == RungPost:
		return c.posted.Add(pause)
	case c.rung == RungEvents && c.next > c.acked:
		return c.busy.Add(ackDelay)
	}
	return c.posted.Add(c.silence)
}

// post sends a parcel, and takes what the answer brings. moved says that bytes
// got through in either direction.
func (c *carried) post(ctx context.Context, p parcel) (moved bool, err error) {
	h := http.Header{headerLink: {c.id}}
	setInt(h, headerOffset, p.at)
	setInt(h, headerAck, p.ack)
	if p.fetch {
		setInt(h, headerWait, p.hold.Milliseconds())
	}
	if p.end {
		h.Set(headerEnd, "1")
	}
	ctx, slow, cancel := within(ctx)
	defer cancel()
	timer := time.AfterFunc(min(bodyTime+takeTime, c.idle), slow)
	resp, err := c.l.request(ctx, http.MethodPost, p.body, h)
	timer.Stop()
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	ack, err := position(resp.Header, headerAck)
	if resp.StatusCode != http.StatusOK || err != nil {
		return false, c.refusal(resp)
	}
	if err := c.confirm(ack, p); err != nil {
		return false, err
	}
	room, cancelRoom := context.WithTimeout(ctx, answerTime)
	defer cancelRoom()
	down, err := c.takeBody(ctx, room, slow, resp)
	return down > 0 || ack > p.at, err
}

// confirm notes what the server has, and what it knows that has come down.
func (c *carried) confirm(ack int64, p parcel) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.heard, c.posted, c.acked = now, now, max(c.acked, p.ack)
	c.finished = c.finished || p.end
	if err := c.acknowledge(ack); err != nil {
		return fmt.Errorf("%w: it %w", errUnknown, err)
	}
	return nil
}

// takeBody takes bytes of the stream that an answer carries down. Those for which
// the session makes no room before room ends are left, to be fetched again.
func (c *carried) takeBody(ctx, room context.Context, slow func(), resp *http.Response) (taken int64, err error) {
	at, err := position(resp.Header, headerOffset)
	if err != nil {
		return 0, c.refusal(resp)
	}
	start, body := at, &patient{resp.Body, min(bodyTime, c.idle), slow}
	chunk := make([]byte, chunkSize)
	for {
		n, err := body.Read(chunk)
		switch wrong := c.accept(room, at, chunk[:n]); {
		case wrong != nil && room.Err() != nil && ctx.Err() == nil:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.held = true
			return at - start, nil
		case wrong != nil:
			return at - start, c.odd(wrong)
		}
		at += int64(n)
		if n > 0 {
			c.answered()
		}
		switch {
		case err == io.EOF && resp.Header.Get(headerEnd) != "":
			c.fail(nil)
			return at - start, nil
		case err == io.EOF:
			return at - start, nil
		case err != nil:
			return at - start, c.l.unanswered(ctx, err)
		}
	}
}

// answered notes that the hub was heard.
func (c *carried) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
}

var errUnknown = errors.New("the hub does not know the connection any more")

// refusal turns an answer that is not the wanted one into an error.
func (c *carried) refusal(resp *http.Response) error {
	err := c.l.answered(resp)
	if (resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusConflict) && !onTheWay(err) {
		return c.l.refused(transport.CodeClosed, fmt.Errorf("%w: %w", errUnknown, err))
	}
	return err
}
