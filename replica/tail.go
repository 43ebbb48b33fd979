package replica

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// tailBytes bounds what the tailer keeps of the log in memory, with rowOverhead for
// each row beside its data. It keeps pages as they were read, and joins small ones up
// to joinRows, since who comes for rows gets those of one page.
const (
	tailBytes   = 4 << 20
	rowOverhead = 256
	joinRows    = 256
)

// pageRows and pageBytes bound one read of the log.
const (
	pageRows  = 2000
	pageBytes = 512 << 10
)

// tailer reads each commit of the file once, whichever process made it, and
// wakes those it concerns. It keeps the end of the log for them; who is further
// behind reads the file and delays only itself. It runs, and the store polls for
// other processes, only while someone listens.
type tailer struct {
	store *persist.Store

	mu     sync.Mutex // guards what follows
	ears   ears
	pages  [][]persist.LogRow // whole sets, oldest first, without a gap
	size   int                // bytes of pages
	next   crdt.LSN           // the position after the last of pages
	view   int64              // the last view change
	failed bool               // the last look did: listeners are to look for themselves
	stale  int                // how often forget was called: what was read before is not kept
	cancel context.CancelFunc
	done   chan struct{} // closed when the running loop has ended; nil if none runs

	woken map[*ear]struct{} // of catchUp alone
}

func newTailer(s *persist.Store) *tailer {
	return &tailer{store: s, ears: ears{}, woken: map[*ear]struct{}{}}
}

// listen calls wake for rows from now on of what the key names, and if view is set for
// view changes.
func (t *tailer) listen(wake func(), what crdt.Key, view bool) *ear {
	e := &ear{wake: wake, what: what, view: view, known: math.MaxInt64}
	t.mu.Lock()
	defer t.mu.Unlock()
	first := len(t.ears) == 0
	t.ears.add(e)
	switch {
	case first:
		t.next = -1
		t.start()
	case t.next >= 0:
		e.known = t.next
	}
	return e
}

// unlisten ends what listen began.
func (t *tailer) unlisten(e *ear) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ears.remove(e)
	if len(t.ears) == 0 && t.cancel != nil {
		t.cancel()
		t.cancel = nil
	}
}

// skip returns the position behind the rows after pos that do not concern the ear, as
// far as is known without a look at them.
func (t *tailer) skip(e *ear, pos crdt.LSN) crdt.LSN {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case pos+1 < e.known:
		return pos
	case pos >= e.last: // it has seen all there was
		e.last = 0
		return max(pos, t.next-1)
	default:
		return max(pos, e.first-1)
	}
}

// start begins the loop after the one before it, if any, has ended. The caller
// holds mu.
func (t *tailer) start() {
	ctx, cancel := context.WithCancel(context.Background())
	before, done := t.done, make(chan struct{})
	t.cancel, t.done = cancel, done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		t.run(ctx)
	}()
}

// close ends the loop and waits for it.
func (t *tailer) close() {
	t.mu.Lock()
	if t.cancel != nil {
		t.cancel()
		t.cancel = nil
	}
	done := t.done
	t.mu.Unlock()
	if done != nil {
		<-done
	}
}

func (t *tailer) run(ctx context.Context) {
	sub := t.store.Subscribe()
	defer sub.Close()
	t.mu.Lock()
	t.pages, t.size, t.next = nil, 0, -1
	t.mu.Unlock()
	for {
		t.catchUp(ctx)
		select {
		case <-ctx.Done():
			return
		case <-sub.C():
		}
	}
}

// catchUp reads to the end of the log. An error is not reported here: the
// listeners are woken and meet it when they read.
func (t *tailer) catchUp(ctx context.Context) {
	for more := true; more; {
		var rows []persist.LogRow
		var head crdt.LSN
		t.mu.Lock()
		next, viewed, stale := t.next, t.view, t.stale
		t.mu.Unlock()
		err := t.store.Read(ctx, func(rd *persist.Reader) (err error) {
			if viewed, err = rd.LastView(); err != nil {
				return err
			}
			if head = rd.Head().LSN; next < 0 { // the first look: begin at the end
				t.begin(ctx, head)
				return nil
			}
			rows, err = rd.Log(next-1, pageRows, pageBytes)
			return err
		})
		t.mu.Lock()
		if ctx.Err() != nil { // who listens now is looked after by the loop behind this one
			t.mu.Unlock()
			return
		}
		if t.stale != stale {
			t.mu.Unlock()
			continue
		}
		t.keep(rows)
		next = t.next
		t.ears.note(rows, t.woken)
		if len(rows) > 0 && bug(bugLostWakeUp) && rows[0].LSN%32 == 0 {
			clear(t.woken)
		}
		if err != nil || viewed != t.view {
			for e := range t.ears.all() {
				if err != nil || e.view {
					t.woken[e] = struct{}{}
				}
			}
		}
		t.view, t.failed = viewed, err != nil
		t.mu.Unlock()
		for e := range t.woken { // unlocked: they come for the rows at once
			e.wake()
		}
		clear(t.woken)
		more = err == nil && len(rows) > 0 && next <= head // what is committed later makes run come again
	}
}

// begin sets the position, and wakes everyone once, since what was committed
// between listen and now is not seen otherwise.
func (t *tailer) begin(ctx context.Context, head crdt.LSN) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	t.next = head + 1
	for e := range t.ears.all() {
		e.known = t.next
		e.wake()
	}
}

// viewed reports whether a listener that was told of view changes up to the given one
// will be woken for the next.
func (t *tailer) viewed(last int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view == last && !t.failed
}

// end returns the position of the end of the log, as far as it was read.
func (t *tailer) end() crdt.LSN {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next - 1
}

// forget drops the rows in memory, because some have changed in the file.
func (t *tailer) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages, t.size = nil, 0
	t.stale++
}

// keep adds rows, of whole sets, and drops the oldest beyond the bound. The caller
// holds mu.
func (t *tailer) keep(rows []persist.LogRow) {
	if len(rows) == 0 {
		return
	}
	if slices.ContainsFunc(rows, func(l persist.LogRow) bool { return l.Unseen }) { // earlier ones do not say so
		t.pages, t.size = nil, 0
	}
	if last := len(t.pages) - 1; last >= 0 && len(t.pages[last])+len(rows) <= joinRows {
		t.pages[last] = append(t.pages[last], rows...)
	} else {
		t.pages = append(t.pages, rows)
	}
	t.size += sizeOf(rows)
	drop := 0
	for ; t.size > tailBytes; drop++ {
		t.size -= sizeOf(t.pages[drop])
	}
	t.pages = slices.Delete(t.pages, 0, drop)
	t.next = rows[len(rows)-1].LSN + 1
}

func sizeOf(rows []persist.LogRow) (size int) {
	for i := range rows {
		size += len(rows[i].Data) + rowOverhead
	}
	return size
}

// after returns the rows behind a position, up to about pageBytes and in whole
// sets, from memory if it reaches back that far, else from the file. The rows
// are shared: not to be modified.
//
// live says that the caller listens, and that it is enough for it to learn of a row
// when it is woken: then the file is not asked for what may just have been committed.
func (t *tailer) after(ctx context.Context, lsn crdt.LSN, live bool) ([]persist.LogRow, error) {
	if rows, ok := t.recent(lsn, live); ok {
		return rows, nil
	}
	var rows []persist.LogRow
	err := t.store.Read(ctx, func(rd *persist.Reader) (err error) {
		rows, err = rd.Log(lsn, pageRows, pageBytes)
		return err
	})
	return rows, translate(err)
}

func (t *tailer) recent(lsn crdt.LSN, live bool) ([]persist.LogRow, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if live && lsn+1 == t.next && !t.failed {
		return nil, true
	}
	at := slices.IndexFunc(t.pages, func(p []persist.LogRow) bool { return lsn < p[len(p)-1].LSN })
	if at < 0 || lsn+1 < t.pages[at][0].LSN {
		return nil, false
	}
	rows := t.pages[at][lsn+1-t.pages[at][0].LSN:]
	size, n := 0, 0
	for n < len(rows) && (size < pageBytes && n < pageRows || rows[n].Set == rows[n-1].Set) {
		size += len(rows[n].Data)
		n++
	}
	return rows[:n:n], true
}
