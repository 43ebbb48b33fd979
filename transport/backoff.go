package transport

import "time"

// Backoff is an exponential or a linear backoff with full jitter (Marc Brooker,
// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). The zero Backoff
// means the defaults.
type Backoff struct {
	Min  time.Duration // the first delay is below this; 0 means 250 ms
	Max  time.Duration // no delay is above this; 0 means 30 s
	Step time.Duration // by which the bound grows with each attempt; 0: it doubles instead
}

// Delay returns how long to wait before attempt number attempt, counted from 0
// since the last success: a uniformly random part of Min doubled attempt times, or
// of Min and attempt times Step, at most Max. random returns numbers in [0,1), as
// rand.Float64 does.
func (b Backoff) Delay(attempt int, random func() float64) time.Duration {
	ceiling, top := b.Min, b.Max
	if ceiling <= 0 {
		ceiling = 250 * time.Millisecond
	}
	if top <= 0 {
		top = 30 * time.Second
	}
	for ; attempt > 0 && ceiling < top; attempt-- {
		step := ceiling
		if b.Step > 0 {
			step = b.Step
		}
		ceiling += min(step, top-ceiling)
	}
	return time.Duration(random() * float64(min(ceiling, top)))
}
