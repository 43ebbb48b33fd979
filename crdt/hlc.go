package crdt

import (
	"sync"
	"time"
)

// HLC is a hybrid logical clock in milliseconds: it follows the wall clock,
// never goes back, and is not before what it was shown (Kulkarni et al., "Logical
// Physical Clocks", 2014, without the logical part: operation ids order what
// shares a millisecond). It is safe for concurrent use.
type HLC struct {
	now      func() time.Time
	maxAhead int64

	mu   sync.Mutex // guards last
	last int64
}

// NewHLC returns a clock over now, nil for time.Now. Observed times drag it no
// further than maxAhead beyond the wall clock.
func NewHLC(now func() time.Time, maxAhead time.Duration) *HLC {
	if now == nil {
		now = time.Now
	}
	return &HLC{now: now, maxAhead: maxAhead.Milliseconds()}
}

// Now returns the time for a change set, in milliseconds since 1970: the wall
// clock, or the last time returned or observed if that is later. Two calls may
// return the same.
func (c *HLC) Now() int64 {
	wall := c.now().UnixMilli()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, wall)
	return c.last
}

// Observe takes notice of a time that a change came with, in milliseconds since
// 1970.
func (c *HLC) Observe(ms int64) {
	ms = min(ms, c.now().UnixMilli()+c.maxAhead)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, ms)
}
