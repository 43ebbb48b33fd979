package httplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

const (
	ackAfter     = 256 << 10              // bytes of events that came down, until a request goes up to say so
	ackDelay     = 100 * time.Millisecond // for fewer of them
	firstPause   = 2 * time.Millisecond   // between POSTs that only ask, at first
	lastPause    = 2 * time.Second        // and after many that brought nothing
	answerTime   = 50 * time.Millisecond  // what the server gets to answer what a POST brought
	firstBackoff = 100 * time.Millisecond // after a request that failed
	lastBackoff  = 5 * time.Second
	quietTime    = 5 * time.Second // of silence at most, until a connection may be left for a better one
)

var errClimb = errors.New("a better path is open")

// carried is the client's end of a virtual connection: a transport.Conn whose
// bytes travel in requests. One goroutine sends what is to go up, one fetches what
// comes down, and unless the rung is pinned, one looks whether a higher rung has
// become possible.
type carried struct {
	stream
	l       *link
	id      string
	idle    time.Duration // after which the server gives up, and so does this end
	silence time.Duration // how long the server may be silent
	pinned  bool
	trip    time.Duration // what the first request took

	stop     context.CancelFunc // ends the goroutines
	uploaded chan struct{}      // closed when the one that sends has ended
	done     sync.WaitGroup
	once     sync.Once

	// guarded by mu:
	rung     Rung
	posted   time.Time // when the last request went up
	heard    time.Time // when the hub last answered
	acked    int64     // the position that the server knows to have come down
	urge     bool      // a request is to go up now, to see whether that works
	retry    bool      // higher rungs are to be tried
	held     bool      // an answer brought more than there was room for
	lost     bool      // the server does not know the connection, or nobody answers
	finished bool      // the server knows that this end has closed
}

// dialCarried opens a virtual connection on the highest rung below the WebSocket
// that gets through; failed are those that did not, above.
func (l *link) dialCarried(ctx context.Context, failed ...Rung) (*carried, error) {
	c, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	events, err := c.land(ctx, running, failed)
	if err != nil {
		c.leave()
		return nil, err
	}
	c.done.Go(func() { defer close(c.uploaded); c.up(running) })
	c.done.Go(func() { c.down(running, events) })
	if !c.pinned {
		c.done.Go(func() { c.climb(running) })
	}
	return c, nil
}

// open asks the server for a virtual connection.
func (l *link) open(ctx context.Context) (*carried, error) {
	start := time.Now()
	trial, cancel := context.WithTimeout(ctx, bodyTime)
	defer cancel()
	resp, err := l.request(trial, http.MethodPost, nil, http.Header{})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	id, idle := resp.Header.Get(headerLink), milliseconds(resp.Header, headerIdle, time.Hour)
	if resp.StatusCode != http.StatusCreated || id == "" || idle == 0 {
		return nil, l.answered(resp)
	}
	now := time.Now()
	return &carried{
		stream: stream{codec: l.codec}, l: l, id: id, idle: idle, silence: min(l.opts.Heartbeat, idle/3),
		pinned: l.opts.Rung != "", trip: now.Sub(start), uploaded: make(chan struct{}), posted: now, heard: now,
	}, nil
}

// land tries the rungs below the WebSocket from the top, or the one that is
// pinned. Events that came through are to be read on with running.
func (c *carried) land(ctx, running context.Context, failed []Rung) (*eventStream, error) {
	var last error
	for _, r := range Rungs()[1:] {
		if c.pinned && r != c.l.opts.Rung || !c.pinned && r != RungPost && !c.l.ladder.open(r) {
			continue
		}
		events, err := c.try(ctx, running, r)
		switch {
		case err == nil:
			c.rung = r
			c.l.ladder.landed(r, failed...)
			return events, nil
		case ctx.Err() != nil || !onTheWay(err):
			return nil, err
		}
		failed, last = append(failed, r), err
	}
	return nil, last
}

// try sees whether a rung gets through.
func (c *carried) try(ctx, running context.Context, r Rung) (*eventStream, error) {
	switch r {
	case RungEvents:
		return c.openEvents(ctx, running)
	case RungPoll:
		trial, cancel := context.WithTimeout(ctx, c.l.opts.Probe)
		defer cancel()
		_, err := c.poll(trial, 0)
		return nil, err
	}
	return nil, nil // it takes no more than what has opened the connection
}

// request sends a request of this link and returns what was answered, whatever it is.
func (l *link) request(ctx context.Context, method string, body []byte, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.url, bytes.NewReader(body))
	if err != nil {
		return nil, l.refused(transport.CodeProtocol, err)
	}
	if req.Header, err = l.header(ctx); err != nil {
		return nil, err
	}
	for name, values := range h {
		req.Header[name] = values
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", mediaBytes)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, l.unanswered(ctx, err)
	}
	return resp, nil
}

// Rung returns the rung that is in use.
func (c *carried) Rung() Rung {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rung
}

func (c *carried) setRung(r Rung, failed ...Rung) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rung = r
	c.signal()
	c.l.ladder.landed(r, failed...)
}

// Close implements transport.Conn: what was sent has closeGrace to get there.
func (c *carried) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		c.closed, c.in = true, inbox{}
		c.signal()
		c.mu.Unlock()
		grace := time.NewTimer(closeGrace)
		defer grace.Stop()
		select {
		case <-c.uploaded:
		case <-grace.C:
		}
		c.leave()
	})
	c.done.Wait()
	return nil
}

// leave ends the goroutines, and tells the server if it does not know.
func (c *carried) leave() {
	c.stop()
	c.mu.Lock()
	told, p := c.finished || c.lost, parcel{at: c.base, ack: c.next, end: true}
	c.mu.Unlock()
	if !told {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace/2)
		defer cancel()
		_, _ = c.post(ctx, p)
	}
}

// lose ends the connection without a word to the server.
func (c *carried) lose(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	c.signal()
	c.end(cause)
}

// again reports whether a request that failed is to be sent again, and waits
// before it says so. A refusal that is the hub's ends the connection, and so does
// silence that is too long.
func (c *carried) again(ctx context.Context, err error, failures int) bool {
	if !c.known(ctx) {
		return false
	}
	wait := min(firstBackoff<<min(failures, 10), lastBackoff)
	var refused *transport.DialError
	if errors.As(err, &refused) && !onTheWay(err) {
		switch refused.Code {
		case transport.CodeBusy, transport.CodeRate:
			wait = max(wait, refused.RetryAfter)
		case transport.CodeClosed, transport.CodeExpired, transport.CodeInternal, transport.CodeTooLarge, transport.CodeTimeout:
		default:
			c.lose(err)
			return false
		}
	}
	c.mu.Lock()
	silent := time.Since(c.heard)
	c.mu.Unlock()
	switch {
	case errors.Is(err, errUnknown):
		c.lose(err)
	case silent+wait >= c.idle: // what was on the way does not count as the hub's word
		c.lose(fmt.Errorf("no answer for %v: %v", silent.Round(time.Millisecond), err))
	default:
		return c.pause(ctx, wait)
	}
	return false
}

// pause waits, and reports whether the connection lasted.
func (c *carried) pause(ctx context.Context, d time.Duration) bool {
	deadline := time.Now().Add(d) // before the timer begins, as in fetch
	timer := time.NewTimer(d)
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for time.Now().Before(deadline) && !c.lost {
		if c.wait(ctx, timer.C) != nil {
			return false
		}
	}
	return !c.lost
}

// climb looks, now and then, whether a higher rung has become possible: events
// and polls take over in place, for a WebSocket the connection ends when it is
// quiet, and the session dials again.
func (c *carried) climb(ctx context.Context) {
	for sleep(ctx, c.l.ladder.climb) {
		if c.l.probeWebSocket(ctx) == nil {
			if c.quiet(ctx) {
				c.l.ladder.forget()
				c.fail(errClimb)
			}
			return
		}
		c.mu.Lock()
		c.retry = true
		c.signal()
		c.mu.Unlock()
	}
}

// quiet waits until nothing was to be carried for a while.
func (c *carried) quiet(ctx context.Context) bool {
	enough := min(quietTime, c.l.ladder.climb)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		left := enough - time.Since(c.busy)
		if left <= 0 && len(c.out) == 0 && len(c.in.whole) == 0 {
			return true
		}
		timer := time.NewTimer(max(left, enough/10))
		err := c.wait(ctx, timer.C)
		timer.Stop()
		if err != nil {
			return false
		}
	}
}

// errSlow ends a request that took too long, which may be the fault of the way.
var errSlow = errors.New("no answer in time")

// within returns a context for a request, and what ends it with errSlow.
func within(ctx context.Context) (_ context.Context, slow func(), cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	return ctx, func() { end(errSlow) }, func() { end(nil) }
}

// patient reads from a body, and calls slow when a single read takes longer than most.
type patient struct {
	body io.Reader
	most time.Duration
	slow func()
}

func (p *patient) Read(b []byte) (int, error) {
	defer time.AfterFunc(p.most, p.slow).Stop()
	return p.body.Read(b)
}
