package sim_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/memlink"
)

// step is a kind of entries of the schedule.
type step struct {
	weight int
	do     func(*world)
}

// steps are all kinds. A seed means another run when this changes.
func steps() []step {
	return []step{
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
		{1, (*world).clone},
		{4, (*world).skew},
		{3, (*world).policy},
		{1, (*world).spacePolicy},
		{2, (*world).index},
		{5, (*world).plug},
		{2, (*world).forge},
		{4, (*world).observe},
		{3, (*world).restrict},
		{5, (*world).syncPart},
		{2, (*world).fetch},
		{3, (*world).forget},
		{3, (*world).abandon},
		{1, (*world).purge},
		{1, (*world).compact},
	}
}

// take does the i-th step of the schedule.
func (w *world) take(i int) {
	if i == w.plan.crashAt() {
		w.crash()
		return
	}
	all := steps()
	sum := 0
	for _, s := range all {
		sum += s.weight
	}
	at := w.rng.IntN(sum)
	for _, s := range all {
		if at -= s.weight; at < 0 {
			s.do(w)
			return
		}
	}
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
	w.setWeather(f)
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

// skew puts a clock wrong: by up to an hour, or by up to ten years.
func (w *world) skew() {
	n := pick(w.rng, w.nodes)
	most := pick(w.rng, []time.Duration{time.Hour, 10 * 365 * 24 * time.Hour})
	d := time.Duration(w.rng.Int64N(int64(2*most))) - most
	w.note("clock of %s is off by %v", n, d)
	n.setClock(d)
	w.tally.jumps++
}

func collections() []string { return []string{"docs", "notes"} }

func (w *world) policy() {
	n := pick(w.rng, w.nodes)
	c := pick(w.rng, collections())
	if w.chance(20) {
		w.note("%s shows %s as the space says", n, c)
		need(n.r.ClearPolicy(context.Background(), c, nil), "%s clears a policy", n)
		return
	}
	w.setPolicy(n, c, w.randomPolicy(crdt.Resolvers()))
}

// spacePolicy changes how all nodes show a collection that have no policy of their own.
func (w *world) spacePolicy() {
	n, c, p := pick(w.rng, w.nodes), pick(w.rng, collections()), w.randomPolicy(crdt.Resolvers())
	w.note("%s has the space show %s by %v", n, c, p)
	w.model.keys[crdt.Key{Collection: "_godwit", ID: "policy-" + c}] = true
	need(n.r.SetSpacePolicy(context.Background(), c, p, nil), "%s sets the space's policy", n)
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

// index declares an index, or drops it.
func (w *world) index() {
	n, c, f := pick(w.rng, w.nodes), pick(w.rng, collections()), pick(w.rng, []string{"f0", "f1", "nest.a"})
	ctx := context.Background()
	if w.chance(30) {
		w.note("%s has no index on %s of %s", n, f, c)
		need(n.r.DropIndex(ctx, c, f), "%s drops an index", n)
		return
	}
	w.note("%s has an index on %s of %s", n, f, c)
	need(n.r.EnsureIndex(ctx, c, f), "%s declares an index", n)
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

// forget has a node forget records that a keeper holds.
func (w *world) forget() {
	from, to := w.pair()
	if from.keeper {
		from, to = to, from
	}
	if from.keeper || !to.keeper {
		return
	}
	var keys []crdt.Key
	for range 1 + w.rng.IntN(3) {
		keys = append(keys, crdt.Key{Collection: pick(w.rng, collections()), ID: idOf(w.rng)})
	}
	ctx, stop := context.WithTimeout(from.ctx, time.Minute)
	defer stop()
	f, err := from.r.Forget(ctx, from.link(to), keys)
	w.note("%s forgets %v, which %s holds: %d forgotten, %v (%v)", from, keys, to, f.Forgotten, f.Kept, err)
	if err != nil && !w.excuses(err) && !strings.Contains(err.Error(), "no keeper") && !strings.Contains(err.Error(), "sync first") {
		from.complain("forget: %v", err)
	}
	w.tally.forgotten += f.Forgotten
}

// abandon has a node give up something that a peer refused.
func (w *world) abandon() {
	synctest.Wait()
	var refused []replica.Refusal
	n := w.nodes[0]
	for _, i := range w.rng.Perm(len(w.nodes)) {
		n = w.nodes[i]
		var err error
		refused, err = n.r.Refusals(context.Background())
		need(err, "refusals of %s", n)
		if len(refused) > 0 {
			break
		}
	}
	if len(refused) == 0 {
		return
	}
	k := pick(w.rng, refused).Key
	done, err := n.r.Abandon(context.Background(), []crdt.Key{k}, nil)
	w.note("%s abandons what was refused of %s: %d changes of %v (%v)", n, k, done.Changes, done.Records, err)
	var held *replica.HeldError
	if errors.As(err, &held) || errors.Is(err, replica.ErrForgotten) || errors.Is(err, replica.ErrNotRefused) {
		return
	}
	need(err, "%s abandons %s", n, k)
	n.actor = "" // it may write no more
	w.stick.forgets(n)
	w.tally.abandoned += done.Changes
	w.note("%d acknowledged sets are gone with that", w.model.forget(w))
}

// purge has a node remove a record for good, everywhere.
func (w *world) purge() {
	n, k := pick(w.rng, w.nodes), crdt.Key{Collection: pick(w.rng, collections()), ID: idOf(w.rng)}
	done, err := n.r.Purge(context.Background(), k)
	w.note("%s purges %s: %+v (%v)", n, k, done, err)
	need(err, "%s purges %s", n, k)
	name := crdt.Hash(sha256.Sum256([]byte(k.String())))
	marker := crdt.Key{Collection: "_godwit", ID: "purged-" + name.String()}
	w.model.keys[k], w.model.keys[marker], w.model.purged[k] = true, true, true
	w.tally.purged++
	if done.Already > 0 {
		return
	}
	a := &acked{name: "the purge of " + k.String(), purge: k}
	for _, row := range n.readLog(n.head()-1, math.MaxInt64) {
		a.members = append(a.members, member{row.Key, row.Hash})
	}
	if len(a.members) != 1 || a.members[0].key != marker {
		failf("%s: %s was purged, and its marker is not the last of the log", n, k)
	}
	w.model.acks = append(w.model.acks, a)
}

// recall brings back what was forgotten, as far as somebody has it.
func (w *world) recall() {
	for _, n := range w.nodes {
		var keys []crdt.Key
		for _, k := range w.model.sorted() {
			if _, err := n.r.Get(context.Background(), k); errors.Is(err, replica.ErrForgotten) {
				keys = append(keys, k)
			}
		}
		if len(keys) == 0 {
			continue
		}
		for _, m := range n.peers() {
			ctx, stop := context.WithTimeout(context.Background(), patience)
			c, err := n.r.Fetch(ctx, n.link(m), keys...)
			stop()
			w.note("%s fetches %v back from %s: %d changes (%v)", n, keys, m, c.ChangesReceived, err)
			if err == nil {
				break
			}
		}
	}
}

// compact has another process compact a node's file, which is open meanwhile.
func (w *world) compact() {
	n := pick(w.rng, w.nodes)
	synctest.Wait()
	done, err := w.outside.compact(n.path)
	w.note("%s is compacted: %d of %d records (%v)", n, done.Compacted, done.Records, err)
	need(err, "compact %s", n)
}
