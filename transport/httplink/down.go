package httplink

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/godwitdb/godwit/transport"
)

const (
	maxStrikes = 3                      // failures in a row that show a rung to be blocked
	minHold    = 500 * time.Millisecond // to which a poll is shortened that something cuts off
)

// down fetches what comes down until the connection ends, on the rung that gets
// through.
func (c *carried) down(ctx context.Context, events *eventStream) {
	hold, strikes := c.silence, 0
	var since time.Time // of the first strike
	defer func() {
		if events != nil {
			events.close()
		}
	}()
	for c.running(ctx) {
		before, start := c.reached(), time.Now()
		var err error
		reading := events != nil
		switch rung := c.Rung(); {
		case reading:
			err = c.read(ctx, events)
			events = nil
		case rung == RungEvents:
			if events, err = c.openEvents(ctx, ctx); err == nil {
				continue
			}
		case c.higher():
			events = c.rise(ctx)
			continue
		case rung == RungPoll:
			_, err = c.poll(ctx, hold)
		default:
			c.rest(ctx)
			continue
		}
		switch {
		case err == nil:
			strikes = 0
			continue
		case c.reached() > before || reading && time.Since(start) > c.silence:
			strikes = 0 // it got somewhere, or lasted: go on at once
			continue
		case strikes == 0:
			since = start
		}
		strikes++
		hold = max(hold/2, min(hold, minHold))
		c.urgeUp()
		if !c.again(ctx, err, strikes) {
			return
		}
		if strikes >= maxStrikes && c.descend(since) {
			strikes, hold = 0, c.silence
		}
	}
}

func (c *carried) running(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ctx.Err() == nil && c.over() == nil
}

// known reports whether there is still somebody to send requests to.
func (c *carried) known(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ctx.Err() == nil && !c.lost
}

// urgeUp lets a POST go up now: whether that gets through tells a rung that is
// blocked from a hub that is away.
func (c *carried) urgeUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.urge = true
	c.signal()
}

// higher reports that higher rungs are to be tried.
func (c *carried) higher() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retry
}

// rest waits for something else to do than what the lowest rung's POSTs do.
func (c *carried) rest(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rung == RungPost && !c.retry && c.over() == nil {
		_ = c.wait(ctx, nil)
	}
}

// rise tries the rungs above the one in use, which rests meanwhile.
func (c *carried) rise(ctx context.Context) *eventStream {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.retry = false
	}()
	for _, r := range []Rung{RungEvents, RungPoll} {
		if r == c.Rung() {
			return nil
		}
		if events, err := c.try(ctx, ctx, r); err == nil {
			c.setRung(r)
			return events
		}
	}
	return nil
}

// descend goes down a rung, if the hub has answered a POST since the rung failed.
func (c *carried) descend(since time.Time) bool {
	c.mu.Lock()
	heard := c.heard.After(since)
	rung := c.rung
	c.mu.Unlock()
	if !heard || c.pinned {
		return false
	}
	switch rung {
	case RungEvents:
		c.setRung(RungPoll, rung)
	case RungPoll:
		c.setRung(RungPost, rung)
	}
	return true
}

// get sends a request that fetches what comes down.
func (c *carried) get(ctx context.Context, accept string, hold time.Duration) (*http.Response, error) {
	h, at := http.Header{headerLink: {c.id}, "Accept": {accept}}, c.reached()
	setInt(h, headerLast, at)
	setInt(h, headerWait, hold.Milliseconds())
	resp, err := c.l.request(ctx, http.MethodGet, nil, h)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), accept) || resp.Header.Get(headerOffset) == "" {
		defer resp.Body.Close()
		return nil, c.refusal(resp)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard, c.posted, c.acked = time.Now(), time.Now(), max(c.acked, at)
	return resp, nil
}

// poll fetches what comes down within hold, once.
func (c *carried) poll(ctx context.Context, hold time.Duration) (taken int64, err error) {
	ctx, slow, cancel := within(ctx)
	defer cancel()
	timer := time.AfterFunc(min(hold+bodyTime, c.idle), slow)
	resp, err := c.get(ctx, mediaBytes, hold)
	timer.Stop()
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return c.takeBody(ctx, ctx, slow, resp)
}

// eventStream is an answer that brings events.
type eventStream struct {
	resp   *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (e *eventStream) close() {
	e.cancel()
	_ = e.resp.Body.Close()
}

// openEvents asks for events, and waits for the first line: if it does not come
// in time, something on the way keeps the answer until it is whole. The stream
// lives on with running.
func (c *carried) openEvents(ctx, running context.Context) (*eventStream, error) {
	running, slow, cancel := within(running)
	defer context.AfterFunc(ctx, cancel)()
	timer := time.AfterFunc(min(c.l.opts.Probe, 2*time.Second+4*c.trip), slow)
	defer timer.Stop()
	resp, err := c.get(running, mediaEvents, c.silence)
	if err != nil {
		cancel()
		return nil, err
	}
	e := &eventStream{resp, bufio.NewReaderSize(&patient{resp.Body, 2 * c.silence, slow}, 2*maxEvent), cancel}
	if _, err := e.lines.Peek(1); err != nil || running.Err() != nil {
		e.close()
		return nil, c.l.wayError(ctx, fmt.Errorf("server-sent events do not get through: %w", cmp.Or(context.Cause(running), err)))
	}
	return e, nil
}

// read takes events until their stream breaks off.
func (c *carried) read(ctx context.Context, e *eventStream) error {
	defer e.close()
	var v event
	for {
		line, err := e.lines.ReadSlice('\n')
		if err != nil {
			return c.l.wayError(ctx, fmt.Errorf("the events broke off: %w", err))
		}
		c.answered()
		whole, err := v.add(bytes.TrimRight(line, "\r\n"))
		switch {
		case err != nil:
			return c.odd(err)
		case !whole:
			continue
		case v.name == "end":
			c.fail(nil)
			return nil
		}
		if err := c.accept(ctx, v.id-int64(len(v.data)), v.data); err != nil {
			return c.odd(err)
		}
		v = event{data: v.data[:0]}
	}
}

// event is one of the HTML standard's server-sent events: the position after the
// bytes it carries is its id.
type event struct {
	id   int64
	name string
	data []byte
}

// add takes a line; whole says that it was the blank one which ends the event.
func (v *event) add(line []byte) (whole bool, err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch {
	case len(line) == 0:
		return v.name != "" || len(v.data) > 0, nil
	case string(name) == "id":
		v.id, err = strconv.ParseInt(string(value), 10, 64)
	case string(name) == "event":
		v.name = string(value)
	case string(name) == "data":
		v.data, err = base64.StdEncoding.AppendDecode(v.data, value)
	}
	return false, err // other fields, and comments, mean nothing
}

// odd is the error for what a hub does not send: the stream is fetched again from
// where it was good.
func (c *carried) odd(err error) error {
	if errors.Is(err, transport.ErrClosed) || errors.Is(err, context.Canceled) {
		return err
	}
	return &wayError{c.l.refused(transport.CodeProtocol, fmt.Errorf("what comes down is odd: %w", err))}
}
