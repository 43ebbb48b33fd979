package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godwitdb/godwit/transport"
)

const (
	// restAfterRate is how long a link rests after the peer has ended a session because too
	// much was sent: an Error frame names no time, and a hub's limits have room again by then.
	restAfterRate = 10 * time.Second

	lookEvery    = 10 * time.Second // at the wall clock: timers stand still while a machine sleeps
	probeTimeout = 10 * time.Second
)

// errHalted ends an attempt that may not go on. It counts as canceled.
var errHalted = fmt.Errorf("the link rests: %w", context.Canceled)

// appointment is when a connection makes its next attempt. The connection's mu guards it.
type appointment struct {
	idle     bool      // never, unless it is asked to
	due      time.Time // by the wall clock
	latest   time.Time // by the clock of timers, for when the other is set back
	failures int       // attempts that failed in a row
	failed   bool      // the last one did
}

// set makes an appointment.
func (a *appointment) set(now time.Time, wait time.Duration) {
	a.idle = false
	a.due, a.latest = now.Round(0).Add(wait), time.Now().Add(wait)
}

// left returns how long it is until then.
func (a *appointment) left(now time.Time) time.Duration {
	return min(a.due.Sub(now.Round(0)), time.Until(a.latest))
}

// after makes the appointment behind an attempt that began at a time.
func (c *Connection) after(began time.Time, up bool, err error) {
	now := c.r.opts.Now()
	defer c.r.stir()
	c.mu.Lock()
	defer c.mu.Unlock()
	plan := &c.terms.plan
	switch {
	case errors.Is(err, errHalted): // no fault of the peer's: as soon as it may
		c.set(now, 0)
		return
	case (err == nil || wellEnded(err)) && plan.onDemand:
		c.idle, c.failed = true, false
		return
	case (err == nil || wellEnded(err)) && plan.every > 0:
		c.failed = false
		c.set(now, min(plan.every, max(0, plan.every-now.Sub(began))))
		return
	}
	if up { // it got through: what ended it then is no failure to reach the peer
		c.failures = 0
	}
	wait := c.wait(err)
	c.failed = err != nil
	if !up && err != nil {
		c.failures++
	}
	c.set(now, wait)
	if plan.onDemand {
		c.idle = true // who asked was told
	}
	if err != nil {
		c.r.opts.Logger.Info("link is down", logLink, c.link.String(), logError, err.Error())
	}
}

// wait returns how long to wait after an attempt that failed. The caller holds mu.
func (c *Connection) wait(cause error) time.Duration {
	backoff := c.link.Backoff()
	if c.terms.plan.retry != nil {
		backoff = *c.terms.plan.retry
	}
	wait := backoff.Delay(c.failures, c.r.opts.Random)
	if c.failures == 0 && transport.CodeOf(cause) == transport.CodeExpired {
		wait = 0 // the link has a fresh token, or says CodeToken
	}
	var dial *transport.DialError
	if errors.As(cause, &dial) {
		wait = max(wait, dial.RetryAfter)
	} else if cause != nil && transport.CodeOf(cause) == transport.CodeRate {
		wait = max(wait, restAfterRate)
	}
	return wait
}

// await returns when the next attempt is to be made; false: none is any more.
func (c *Connection) await(ctx context.Context) bool {
	for ctx.Err() == nil && !c.r.draining.Load() {
		wait, timed := c.until()
		if timed && wait <= 0 {
			return true
		}
		every, probes := c.probes()
		if wait = min(wait, lookEvery); probes {
			wait = min(wait, every)
		}
		if c.sleep(ctx, wait, timed) && probes {
			c.probe(ctx)
		}
	}
	return false
}

// sleep waits until it is woken, or ctx ends, or the time is up: then it returns true.
func (c *Connection) sleep(ctx context.Context, wait time.Duration, timed bool) bool {
	var ring <-chan time.Time
	if timed {
		t := time.NewTimer(wait)
		defer t.Stop()
		ring = t.C
	}
	select {
	case <-ctx.Done():
	case <-c.wake:
	case <-ring:
		return true
	}
	return false
}

// until returns how long to wait, and whether there is anything to wait for but a word.
func (c *Connection) until() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.rests() != nil:
		return 0, false
	case len(c.asks) > 0:
		return 0, true
	case c.idle:
		return 0, false
	}
	return c.left(c.r.opts.Now()), true
}

// probes reports whether the peer is to be probed while the link waits, and how often.
func (c *Connection) probes() (every time.Duration, yes bool) {
	if every = c.terms.plan.probe; every == 0 {
		every = defaultProbe
	}
	_, able := c.link.(transport.Prober)
	c.mu.Lock()
	defer c.mu.Unlock()
	return every, able && every > 0 && c.failed && !c.idle && c.rests() == nil
}

// probe asks the peer whether it can be reached; if so, the next attempt is made at once.
func (c *Connection) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c.mu.Lock()
	c.probing, c.cut = true, func(error) { cancel() }
	c.mu.Unlock()
	err := c.link.(transport.Prober).Probe(ctx)
	c.mu.Lock()
	c.probing, c.cut = false, nil
	c.mu.Unlock()
	if err == nil {
		c.back()
	}
}

// back cuts the waiting short: there is a path again. It may ask for no attempt that the
// schedule does not.
func (c *Connection) back() {
	c.mu.Lock()
	if c.failed || c.terms.plan.live() {
		c.failures = 0
		if !c.idle {
			c.set(c.r.opts.Now(), 0)
		}
	}
	if c.probing {
		c.cut(nil)
	}
	c.mu.Unlock()
	signal(c.wake)
}

// halts returns why no attempt may go on, not even one that was asked for. The caller
// holds mu.
func (c *Connection) halts() error {
	if c.held || c.apart {
		return ErrPaused
	}
	return c.r.control.rests()
}

// rests returns why none may go on now. The caller holds mu.
func (c *Connection) rests() error {
	if err := c.halts(); err != nil {
		return err
	}
	if c.r.control.isMetered() && !c.terms.plan.metered && len(c.asks)+len(c.serving) == 0 {
		return errMetered
	}
	return nil
}

// errMetered says that the link rests while the network is metered.
var errMetered = errors.New("the network is metered")

// obey has the link take notice of what may go on now: it ends what may not, softly if
// it is to end in good order, and goes on with what may.
func (c *Connection) obey(softly bool) {
	c.mu.Lock()
	why, none := c.rests(), c.halts()
	cut, s := c.cut, c.session
	if none != nil {
		c.answer(none)
	}
	c.mu.Unlock()
	switch {
	case why == nil:
		c.back()
	case cut == nil:
	case softly && s != nil:
		s.leave()
		time.AfterFunc(leaveWithin, func() { cut(errHalted) })
	default:
		cut(errHalted)
	}
	signal(c.wake)
	c.r.control.changed()
}

// leaveWithin bounds how long a session takes to end in good order.
const leaveWithin = 2 * time.Second

// Pause ends the session in good order and has the link rest until Resume, whatever its
// schedule says. It does not wait.
func (c *Connection) Pause() { c.hold(&c.held, true, true) }

// Resume ends what Pause began; what was missed is made up for at once.
func (c *Connection) Resume() { c.hold(&c.held, false, true) }

// Disconnect cuts the link as a lost network would, and keeps it cut until Reconnect.
// It is for tests of an application.
func (c *Connection) Disconnect() { c.hold(&c.apart, true, false) }

// Reconnect has the path that Disconnect cut return.
func (c *Connection) Reconnect() { c.hold(&c.apart, false, false) }

func (c *Connection) hold(what *bool, on, softly bool) {
	c.mu.Lock()
	*what = on
	c.mu.Unlock()
	c.obey(softly)
}
