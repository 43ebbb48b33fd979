package soak_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

var long = flag.Duration("soak", 0, "how long; 0: a moment, and nothing is held against the first minute")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	writers = 3
	records = 2000
	pace    = 10 * time.Millisecond // between two updates of a writer
	minute  = time.Minute           // what is measured at a time
	slack   = 32 << 20              // bytes by which memory may grow for no reason that is looked for
)

// world is a hub on a socket and who talks to it.
type world struct {
	url     string
	clients []*replica.Replica

	mu    sync.Mutex // guards took
	took  []time.Duration
	begun time.Time
}

func TestSoak(t *testing.T) {
	lasts := *long
	if lasts == 0 {
		lasts = 1500 * time.Millisecond
	}
	w := newWorld(t)
	running, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	work, ctx := errgroup.WithContext(running)
	for i, r := range w.clients[:writers] {
		work.Go(func() error { return w.write(ctx, r, uint64(i)) })
		work.Go(func() error { return stall(ctx, r) })
	}
	work.Go(func() error { return comeAndGo(ctx, w.clients[writers], w.url) })
	work.Go(func() error { return readNothing(ctx, w.url) })

	watching, unwatch := context.WithCancel(t.Context())
	watch, wctx := errgroup.WithContext(watching)
	seen := make([]atomic.Uint64, len(w.clients))
	for i, r := range w.clients {
		watch.Go(func() error { return follow(wctx, r, &seen[i]) })
	}
	w.measure(t, ctx)
	require.NoError(t, work.Wait())
	w.converge(t)
	for i, r := range w.clients {
		st, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Eventually(t, func() bool { return seen[i].Load() == uint64(st.Log.LSN) }, minute, time.Millisecond,
			"the watcher of replica %d", i)
	}
	unwatch()
	require.NoError(t, watch.Wait())
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	hub, err := replica.OpenHub(filepath.Join(dir, "hub"), nil)
	require.NoError(t, err)
	links := httplink.Handler(&httplink.ServerOptions{Accept: hub.Accept})
	server := httptest.NewServer(links)
	w := &world{url: server.URL + "/spaces/soak", begun: time.Now()}
	t.Cleanup(func() {
		for _, r := range w.clients {
			require.NoError(t, r.Close())
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, links.Close(ctx))
		server.Close()
		require.NoError(t, hub.Close())
	})
	for i := range writers + 1 {
		r, err := replica.Open(t.Context(), filepath.Join(dir, fmt.Sprintf("%d.db", i)), nil)
		require.NoError(t, err)
		w.clients = append(w.clients, r)
		if i < writers {
			_, err = r.Connect(w.link(t))
			require.NoError(t, err)
		}
	}
	return w
}

func (w *world) link(t *testing.T) transport.Link {
	l, err := httplink.New(w.url, nil)
	require.NoError(t, err)
	return l
}

// write edits records at the pace, and notes how long each update took.
func (w *world) write(ctx context.Context, r *replica.Replica, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 0))
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		k := crdt.Key{Collection: "soak", ID: strconv.Itoa(random.IntN(records))}
		start := time.Now()
		err := r.Update(context.WithoutCancel(ctx), func(tx *replica.Tx) error {
			if random.IntN(50) == 0 {
				return tx.Delete(k)
			}
			return tx.Put(k, map[string]any{"n": n, "by": int(seed), "text": crdt.Text(fmt.Sprintf("edit %d", n))})
		})
		if err != nil && !errors.Is(err, replica.ErrNotFound) { // what was to be deleted
			return fmt.Errorf("replica %d: %w", seed, err)
		}
		w.mu.Lock()
		w.took = append(w.took, time.Since(start))
		w.mu.Unlock()
	}
}

// follow watches all changes from the first, and notes where it is.
func follow(ctx context.Context, r *replica.Replica, at *atomic.Uint64) error {
	for e, err := range r.Watch(ctx, "soak", replica.From(replica.Position{})) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if last := at.Swap(uint64(e.LSN)); uint64(e.LSN) != last+1 {
			return fmt.Errorf("a watcher saw change %d after %d", e.LSN, last)
		}
	}
	return nil
}

// stall watches, and reads nothing after the first event.
func stall(ctx context.Context, r *replica.Replica) error {
	for range r.Watch(ctx, "soak") {
		<-ctx.Done()
		return nil
	}
	return nil
}

// comeAndGo connects a replica for a moment, again and again.
func comeAndGo(ctx context.Context, r *replica.Replica, url string) error {
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		c, err := r.Connect(link)
		if err != nil {
			return err
		}
		pause(ctx, 300*time.Millisecond)
		if err := c.Close(); err != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}

// readNothing opens sessions in which nobody reads.
func readNothing(ctx context.Context, url string) error {
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		conn, err := link.Dial(ctx)
		if err != nil {
			continue // its turn has not come, or the end
		}
		pause(ctx, 400*time.Millisecond)
		_ = conn.Close()
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// window is what was measured of a minute.
type window struct {
	heap, resident uint64 // bytes, at its end
	p99            time.Duration
	updates        int
}

// measure looks at memory and times until the context ends, and holds each minute
// against the first.
func (w *world) measure(t *testing.T, ctx context.Context) {
	var all []window
	for ctx.Err() == nil {
		pause(ctx, minute)
		if ctx.Err() != nil && len(all) > 0 {
			break // a minute that was cut short
		}
		now := w.window(t)
		all = append(all, now)
		t.Logf("%4.0fs: %d updates, p99 %v, heap %d MB, resident %d MB",
			time.Since(w.begun).Seconds(), now.updates, now.p99, now.heap>>20, now.resident>>20)
	}
	require.NotZero(t, all[0].updates)
	for i, now := range all {
		require.LessOrEqual(t, now.p99, 2*all[0].p99, "p99 of an update in minute %d", i+1)
		// What the first minute has not filled yet are caches, which have their bounds.
		from := all[min(1, len(all)-1)]
		if i > 1 {
			require.Less(t, now.heap, from.heap+slack, "Go's heap in minute %d", i+1)
			require.Less(t, now.resident, from.resident+slack, "resident memory in minute %d", i+1)
		}
	}
}

func (w *world) window(t *testing.T) (now window) {
	w.mu.Lock()
	took := w.took
	w.took = nil
	w.mu.Unlock()
	slices.Sort(took)
	now.updates = len(took)
	if len(took) > 0 {
		now.p99 = took[len(took)*99/100]
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	now.heap, now.resident = m.HeapAlloc, resident(t)
	return now
}

// resident returns the process's resident memory in bytes, 0 where the system does not
// say.
func resident(t *testing.T) uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kb, err := strconv.ParseUint(field, 10, 64)
	require.NoError(t, err)
	return kb << 10
}

// converge has all replicas exchange what is left, and proves them equal to the hub.
func (w *world) converge(t *testing.T) {
	for range 2 { // what the first has of later ones comes with the second
		for _, r := range w.clients {
			_, err := r.Sync(t.Context(), w.link(t))
			require.NoError(t, err)
		}
	}
	for i, r := range w.clients {
		v, err := r.Verify(t.Context(), w.link(t), nil)
		require.NoError(t, err)
		require.Zero(t, v.Differing, "records of replica %d that the hub has otherwise", i)
		require.NoError(t, r.Check(t.Context(), func(p replica.Problem) { t.Errorf("replica %d: %+v", i, p) }))
	}
}
