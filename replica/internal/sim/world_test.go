package sim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// patience is how much of the bubble's time anything may take that cannot be
// disturbed.
const patience = 10 * time.Minute

// maxNodes bounds a cluster, clones included.
const maxNodes = 8

// world is one run: the nodes, the network between them, and the model of what
// they must hold. It belongs to the goroutine that runs the schedule.
type world struct {
	plan    plan
	rng     *rand.Rand // of the step that goes on
	dir     string
	outside *outside
	net     *memlink.Network
	nodes   []*node
	edges   [][2]*node // who exchanges changes with whom
	model   model
	stick   *stick
	tally   tally
	frames  atomic.Int64 // that arrived

	big        bool // a big set is still to come
	cache      int  // bytes, of each node
	every      time.Duration
	restricted bool // a node has taken rights from its peers, or exchanged a part
	began      time.Time
	trace      []string
	rec        *recording
}

// failure is what is wrong, thrown through the schedule.
type failure struct{ kind, text string }

func (f failure) Error() string { return f.text }

func failf(format string, args ...any) { panic(failure{format, fmt.Sprintf(format, args...)}) }

// sameFailure reports whether two runs fail in the same way.
func sameFailure(a, b error) bool {
	fa, okA := a.(failure)
	fb, okB := b.(failure)
	return okA && okB && fa.kind == fb.kind
}

// need fails the run on an error that nothing excuses.
func need(err error, format string, args ...any) {
	if err != nil {
		panic(failure{format, fmt.Sprintf("%s: %v", fmt.Sprintf(format, args...), err)})
	}
}

// newWorld builds what the seed says; its files go into dir.
func newWorld(p plan, dir string, out *outside, rec *recording) *world {
	w := &world{plan: p, rng: p.source(drawShape), dir: dir, outside: out, net: memlink.New(p.seed), began: time.Now(), rec: rec}
	w.rng.IntN(p.of) // see crashAt
	w.model.init()
	w.big = w.rng.IntN(30) == 0
	w.cache = pick(w.rng, []int{1, 20_000, 0, 0}) // bytes: nothing stays, some, all
	w.every = pick(w.rng, []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute})
	w.shape()
	w.stick = newStick(w)
	w.calm()
	return w
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3fs  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...)))
}

func (w *world) traceText() string { return strings.Join(w.trace, "\n") }

// run follows the schedule to its end and returns the first thing that is wrong.
func (w *world) run() (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p
		default:
			panic(p)
		}
	}()
	for _, n := range w.nodes {
		n.open()
	}
	for _, i := range w.plan.steps {
		w.rng = w.plan.source(i)
		w.take(i)
		w.pause()
	}
	w.rng = w.plan.source(drawEnd)
	w.converge()
	w.checkEnd()
	return nil
}

// close stops everything, after a failure too.
func (w *world) close() {
	for _, n := range w.nodes {
		n.stop()
	}
	_ = w.net.Close()
	_ = w.stick.net.Close()
	_ = os.RemoveAll(w.dir)
}

// pause lets what a step set off go on for a while: not at all, until nothing more
// happens, or for a time.
func (w *world) pause() {
	d := w.rng.IntN(10)
	if w.plan.loose {
		switch {
		case d < 3:
		case d < 8:
			synctest.Wait()
		default:
			time.Sleep(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
		}
		return
	}
	switch {
	case d < 4: // a few frames arrive
		time.Sleep(time.Duration(w.rng.IntN(int(3 * hop))))
	case d < 8: // all do, in good weather
		time.Sleep(50 * hop)
	default:
		time.Sleep(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
	}
	synctest.Wait()
}

// settle waits for what goes on within the nodes, so that it is over in each run of the
// seed; frames are under way still.
func (w *world) settle() {
	if !w.plan.loose {
		synctest.Wait()
	}
}

// hop is about how long a frame takes in good weather. It takes some time always and no
// two arrive at the same moment, so that all that comes of one is done before the next:
// that is what makes a run come again.
const hop = time.Millisecond

// calm has the network lose and disturb nothing.
func (w *world) calm() { w.setWeather(memlink.Faults{}) }

func (w *world) setWeather(f memlink.Faults) {
	if !w.plan.loose {
		f.Delay = max(f.Delay, hop)
	}
	w.net.SetFaults(f)
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// shape draws the nodes, and who exchanges changes with whom.
func (w *world) shape() {
	n := pick(w.rng, []int{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 6, 7})
	join := func(i, j int) { w.edges = append(w.edges, [2]*node{w.nodes[i], w.nodes[j]}) }
	hubs := 0
	form := pick(w.rng, []string{"ring", "ring", "star", "star", "star", "line", "tree", "mesh", "two hubs"})
	switch form {
	case "star":
		hubs = 1
	case "two hubs":
		hubs = 2
	}
	for i := range n {
		w.add(string(rune('a'+i)), false)
	}
	for i := range min(hubs, maxNodes-n) {
		w.add(fmt.Sprint("hub", i+1), true)
	}
	switch form {
	case "ring":
		for i := range n {
			join(i, (i+1)%n)
		}
	case "star":
		for i := range n {
			join(i, n)
		}
	case "two hubs":
		for i := range n {
			join(i, n+i%(len(w.nodes)-n))
		}
		if len(w.nodes) > n+1 {
			join(n, n+1)
		}
	case "line":
		for i := range n - 1 {
			join(i, i+1)
		}
	case "tree":
		for i := range n - 1 {
			join(i+1, w.rng.IntN(i+1))
		}
	case "mesh":
		for i := range n {
			for j := range i {
				join(i, j)
			}
		}
	}
	if hubs == 0 {
		w.nodes[0].keeper = true
	}
	w.note("%d nodes: %s; cache of %d bytes; reconciled every %v", len(w.nodes), form, w.cache, w.every)
}

// add puts another node into the world.
func (w *world) add(name string, hub bool) *node {
	n := &node{w: w, name: name, hub: hub, keeper: hub, number: len(w.nodes)}
	n.path = n.pathOf(0)
	full := transport.FullGrant()
	n.grant.Store(&full)
	w.nodes = append(w.nodes, n)
	return n
}

// pair returns two nodes that exchange changes, in either order.
func (w *world) pair() (from, to *node) {
	e := pick(w.rng, w.edges)
	if w.chance(20) {
		return e[1], e[0]
	}
	return e[0], e[1]
}
