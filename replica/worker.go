package replica

import (
	"context"
	"sync"
)

// worker does a part of a session's work on a goroutine that it has only while there
// is some. Of a thousand sessions most are idle, and what they cost is goroutines.
type worker struct {
	mu    sync.Mutex // guards what follows
	start func()     // the goroutine; nil before the session's loops run, and after
	busy  bool       // it runs
	again bool       // there may be something to do
}

// begin has the worker work from now on, on goroutines that wg waits for: work does
// all there is to do, and fail is told why it could not.
func (w *worker) begin(ctx context.Context, wg *sync.WaitGroup, work func(context.Context) error, fail func(error)) {
	w.mu.Lock()
	w.start = func() {
		wg.Go(func() {
			for w.more() {
				if err := work(ctx); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	w.mu.Unlock()
	w.wake()
}

// wake says that there is something to do.
func (w *worker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again = true
	if !w.busy && w.start != nil {
		w.busy = true
		w.start()
	}
}

// more reports whether there is; if not, the goroutine ends.
func (w *worker) more() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy, w.again = w.again, false
	return w.busy
}

// end has no goroutine begin any more.
func (w *worker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start = nil
}
