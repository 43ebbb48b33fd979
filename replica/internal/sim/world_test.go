package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// patience is how much of the bubble's time anything may take that cannot be
// disturbed.
const patience = 10 * time.Minute

// world is one run: the nodes, the network between them, and the model of what
// they must hold. It belongs to the goroutine that runs the schedule.
type world struct {
	rng   *rand.Rand
	dir   string
	net   *memlink.Network
	nodes []*node
	edges [][2]*node // who exchanges changes with whom
	star  bool
	model model
	stick *stick
	big   bool // a big set is still to come

	restricted bool // a node has taken rights from its peers, or exchanged a part
	began      time.Time
	trace      []string
}

// failure is what is wrong, thrown through the schedule.
type failure string

func failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// need fails the run on an error that nothing excuses.
func need(err error, format string, args ...any) {
	if err != nil {
		failf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// newWorld builds what the seed says; its files go into dir.
func newWorld(seed uint64, dir string) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 0)), dir: dir, net: memlink.New(seed), began: time.Now()}
	w.model.init()
	w.star = w.rng.IntN(3) > 0
	w.big = w.rng.IntN(10) == 0
	names := []string{"a", "b", "c"}
	if w.star {
		names = append(names, "hub")
	}
	cache := []int{1, 20_000, 0}[w.rng.IntN(3)] // bytes: nothing stays, some, all
	for i, name := range names {
		n := &node{w: w, name: name, cache: cache, rng: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		n.path = filepath.Join(dir, name+".0.db")
		full := transport.FullGrant()
		n.grant.Store(&full)
		w.nodes = append(w.nodes, n)
	}
	for i, n := range w.nodes[:3] {
		peer := w.nodes[(i+1)%3]
		if w.star {
			peer = w.nodes[3]
		}
		w.edges = append(w.edges, [2]*node{n, peer})
	}
	w.stick = newStick(w)
	return w
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3fs  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...)))
}

func (w *world) traceText() string { return strings.Join(w.trace, "\n") }

// run follows the schedule to its end and returns the first thing that is wrong.
func (w *world) run(steps int) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("%s", string(p))
		default:
			panic(p)
		}
	}()
	for _, n := range w.nodes {
		n.open()
	}
	for range steps {
		w.step()
		w.pause()
	}
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

func (w *world) pause() {
	switch d := w.rng.IntN(10); {
	case d < 3: // none: the next step meets what this one set off
	case d < 8:
		synctest.Wait()
	default:
		time.Sleep(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
	}
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// step is one entry of the schedule.
type step struct {
	weight int
	do     func(*world)
}

var steps = []step{
	{34, (*world).edit},
	{5, (*world).burst},
	{4, (*world).abort},
	{6, (*world).connect},
	{3, (*world).disconnect},
	{10, (*world).sync},
	{5, (*world).weather},
	{4, (*world).partition},
	{4, (*world).heal},
	{4, (*world).cut},
	{5, (*world).crash},
	{2, (*world).restart},
	{4, (*world).backup},
	{4, (*world).restore},
	{3, (*world).skew},
	{3, (*world).policy},
	{5, (*world).plug},
	{4, (*world).observe},
	{3, (*world).restrict},
	{5, (*world).syncPart},
	{2, (*world).fetch},
}

func (w *world) step() {
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	at := w.rng.IntN(sum)
	for _, s := range steps {
		if at -= s.weight; at < 0 {
			s.do(w)
			return
		}
	}
}

// pair returns two nodes that exchange changes, in either order.
func (w *world) pair() (from, to *node) {
	e := pick(w.rng, w.edges)
	if w.chance(20) {
		return e[1], e[0]
	}
	return e[0], e[1]
}

func (w *world) connect() {
	from, to := w.pair()
	w.note("%s connects to %s", from, to)
	from.connect(to)
}

func (w *world) disconnect() {
	from, to := w.pair()
	w.note("%s disconnects from %s", from, to)
	from.disconnect(to)
}

// sync starts a one-shot exchange, which the schedule waits for or not.
func (w *world) sync() {
	from, to := w.pair()
	wait := w.chance(50)
	w.note("%s syncs with %s (waits: %v)", from, to, wait)
	done := from.sync(to)
	if wait {
		<-done
	}
}

func (w *world) weather() {
	var f memlink.Faults
	if w.chance(75) {
		worst := pick(w.rng, []float64{0.02, 0.1, 0.3})
		f = memlink.Faults{Drop: worst * w.rng.Float64(), Duplicate: worst * w.rng.Float64(), Reorder: worst * w.rng.Float64(),
			Delay: time.Duration(w.rng.IntN(300)) * time.Millisecond}
	}
	w.note("weather: drop %.2f, duplicate %.2f, reorder %.2f, delay %v", f.Drop, f.Duplicate, f.Reorder, f.Delay)
	w.net.SetFaults(f)
}

func (w *world) partition() {
	from, to := w.pair()
	w.note("partition between %s and %s", from, to)
	w.net.Partition(from.name, to.name)
}

func (w *world) heal() {
	if w.chance(50) {
		w.note("heal all")
		w.net.HealAll()
		return
	}
	from, to := w.pair()
	w.note("heal between %s and %s", from, to)
	w.net.Heal(from.name, to.name)
}

func (w *world) cut() {
	from, to := w.pair()
	w.note("cut connections between %s and %s", from, to)
	w.net.Cut(from.name, to.name)
}

// crash kills a node, often right after a commit that it had no time to send.
func (w *world) crash() {
	n := pick(w.rng, w.nodes)
	if w.chance(70) {
		n.update(n.randomEdits())
	}
	w.note("%s crashes", n)
	n.crash("")
	n.open()
}

func (w *world) restart() {
	n := pick(w.rng, w.nodes)
	w.note("%s restarts", n)
	n.stop()
	n.open()
}

func (w *world) backup() {
	n := pick(w.rng, w.nodes)
	n.saved = filepath.Join(w.dir, n.name+".backup.db")
	n.savedHead = n.copyTo(n.saved)
	w.note("%s is copied as a backup at %d", n, n.savedHead)
}

// restore puts an old copy in a node's place. What only that node held is gone;
// what anyone else holds must come back.
func (w *world) restore() {
	n := pick(w.rng, w.nodes)
	if n.saved == "" {
		return
	}
	before := n.head()
	w.note("%s is restored from its backup at %d, it was at %d", n, n.savedHead, before)
	n.crash(n.saved)
	n.open()
	w.stick.forgets(n)
	w.note("%d acknowledged sets are lost", w.model.forget(w))
	if w.chance(50) { // others' cursors come to lie within its log again, in another one
		for n.head() <= before {
			n.update(n.randomEdits())
		}
	}
	if from, to := w.pair(); w.chance(50) { // a session that may not come to its end
		from.sync(to)
		w.pause()
		w.net.Cut(from.name, to.name)
	}
}

func (w *world) skew() {
	n := pick(w.rng, w.nodes)
	d := time.Duration(w.rng.Int64N(int64(2*time.Hour))) - time.Hour
	if w.chance(10) {
		d *= 24 * 365
	}
	w.note("clock of %s is off by %v", n, d)
	n.off.Store(int64(d))
}

var collections = []string{"docs", "notes"}

func (w *world) policy() {
	n := pick(w.rng, w.nodes)
	w.setPolicy(n, pick(w.rng, collections), w.randomPolicy(crdt.Resolvers()))
}

func (w *world) randomPolicy(resolvers []string) crdt.Policy {
	p := crdt.Policy{Default: pick(w.rng, resolvers)}
	resolvers = slices.DeleteFunc(slices.Clone(resolvers), func(name string) bool {
		return slices.Contains([]string{crdt.ResolverWholeRecord, crdt.ResolverUpdateWins, crdt.ResolverDeleteWins}, name)
	})
	if w.chance(50) {
		p.Fields = []crdt.FieldPolicy{{Field: "f1", Resolver: pick(w.rng, resolvers)}, {Field: "nest.*", Resolver: pick(w.rng, resolvers)}}
	}
	return p
}

func (w *world) setPolicy(n *node, collection string, p crdt.Policy) {
	w.note("%s shows %s by %v", n, collection, p)
	need(n.r.SetPolicy(context.Background(), collection, p, nil), "%s sets a policy", n)
}

func (w *world) plug() {
	n := pick(w.rng, w.nodes)
	w.stick.author()
	if w.chance(70) {
		w.stick.deliver(n)
	}
}

func (w *world) observe() {
	w.note("observe")
	synctest.Wait()
	for _, n := range w.nodes {
		n.observe()
	}
	from, to := w.pair()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	if _, err := from.r.Verify(ctx, from.link(to), nil); err != nil && !excused(err) { // what it finds is no matter yet
		failf("%s verifies against %s: %v", from, to, err)
	}
}
