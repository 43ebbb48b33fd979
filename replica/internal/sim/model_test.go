package sim_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// model is what the cluster must hold in the end.
type model struct {
	updates int // begun so far
	keys    map[crdt.Key]bool
	acks    []*acked
	aborted map[string]bool   // messages of changes that must be nowhere
	purged  map[crdt.Key]bool // at some time, by somebody
}

// acked is a set whose writer was told that it is committed.
type acked struct {
	name    string
	members []member
	lost    bool     // with the only replica that held it
	purge   crdt.Key // it is the marker of, if any
}

type member struct {
	key  crdt.Key
	hash crdt.Hash
}

// sorted returns the records in an order that each run of a seed has.
func (m *model) sorted() []crdt.Key {
	return slices.SortedFunc(maps.Keys(m.keys), func(a, b crdt.Key) int { return strings.Compare(a.String(), b.String()) })
}

func (m *model) init() {
	m.keys, m.aborted, m.purged = map[crdt.Key]bool{}, map[string]bool{}, map[crdt.Key]bool{}
}

// holdings are the changes of a node.
type holdings map[member][]byte

func (n *node) holdings() holdings {
	held := holdings{}
	for _, row := range n.wholeLog() {
		if !row.Withdrawn() && len(row.Data) > 0 { // else it was forgotten or abandoned
			held[member{row.Key, row.Hash}] = row.Data
		}
	}
	return held
}

// forget gives up the sets that nobody holds since a node was restored.
func (m *model) forget(w *world) (lost int) {
	synctest.Wait()
	var all []holdings
	for _, n := range w.nodes {
		all = append(all, n.holdings())
	}
	for _, a := range m.acks {
		held := !slices.ContainsFunc(a.members, func(m member) bool { // nobody need hold them all
			return !w.model.purged[m.key] && !slices.ContainsFunc(all, func(h holdings) bool { _, ok := h[m]; return ok })
		})
		if !held && !a.lost {
			a.lost = true
			lost++
		}
	}
	return lost
}

// converge ends all disturbances and waits until the nodes are equal.
func (w *world) converge() {
	w.note("calm; heal all")
	w.calm()
	w.net.HealAll()
	w.allow()
	for _, n := range w.nodes {
		n.syncs.Wait()
	}
	w.recall()
	w.stick.deliverAll()
	for _, c := range collections() {
		p := w.randomPolicy([]string{crdt.ResolverAutomerge, crdt.ResolverLWW, crdt.ResolverFWW})
		for _, n := range w.nodes {
			w.setPolicy(n, c, p)
		}
	}
	if w.chance(50) {
		w.convergeLive()
	} else {
		w.convergeOnce()
	}
}

// convergeLive leaves it to connections.
func (w *world) convergeLive() {
	w.note("converge by connections")
	for _, e := range w.edges {
		e[0].connect(e[1])
	}
	for wait, left := time.Second, min(patience, 3*time.Minute+6*w.every); left > 0; wait, left = 2*wait, left-wait {
		time.Sleep(wait)
		synctest.Wait()
		if w.equal() == "" {
			return
		}
	}
	for _, n := range w.nodes {
		n.noteLinks()
	}
	failf("the connected replicas did not converge: %s", w.equal())
}

// noteLinks adds to the trace what the node knows of its peers.
func (n *node) noteLinks() {
	st, err := n.r.Status(context.Background())
	need(err, "status of %s", n)
	n.w.note("%s is %s, its log ends at %d", n, st.Replica, st.Log.LSN)
	for _, p := range st.Peers {
		n.w.note("    peer %s is %s, has read to %d, is read to %d; %s", p.Replica, p.State, p.Acked.LSN, p.Read.LSN, p.LastError)
	}
	for to, c := range n.conns {
		n.w.note("    connection to %s: %+v", to, c.Status())
	}
}

// convergeOnce exchanges one to one until nothing is left to be exchanged.
func (w *world) convergeOnce() {
	w.note("converge by syncs")
	for _, n := range w.nodes {
		for _, m := range w.nodes {
			n.disconnect(m)
		}
	}
	for range 2 * len(w.nodes) {
		moved := 0
		for _, e := range w.edges {
			ctx, stop := context.WithTimeout(context.Background(), patience)
			c, err := e[0].r.Sync(ctx, e[0].link(e[1]))
			stop()
			need(err, "undisturbed sync of %s and %s", e[0], e[1])
			w.note("%s syncs with %s: %d sent, %d received", e[0], e[1], c.ChangesSent, c.ChangesReceived)
			moved += c.ChangesSent + c.ChangesReceived
		}
		if moved == 0 {
			return
		}
	}
	failf("the replicas still exchange changes after %d rounds", 2*len(w.nodes))
}

// equal says in what the nodes differ, "" if they do not.
func (w *world) equal() string {
	for _, k := range w.model.sorted() {
		want := w.nodes[0].show(k)
		for _, n := range w.nodes[1:] {
			if got := n.show(k); got != want {
				return fmt.Sprintf("%s is\n%s on %s, and\n%s on %s", k, want, w.nodes[0], got, n)
			}
		}
	}
	return ""
}

// hides reports whether a node keeps the record from all others, since it was made and
// deleted before anybody was shown it.
func (w *world) hides(k crdt.Key) bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.hides(k) })
}

func (n *node) hides(k crdt.Key) (yes bool) {
	need(n.store.Read(context.Background(), func(r *persist.Reader) (err error) {
		yes, err = r.UnseenKey(k)
		return err
	}), "look for %s on %s", k, n)
	return yes
}

// show returns the heads and the value of a record.
func (n *node) show(k crdt.Key) string {
	ctx := context.Background()
	if n.hides(k) {
		return "never heard of"
	}
	heads, err := n.r.Heads(ctx, k)
	if errors.Is(err, replica.ErrNotFound) || err == nil && len(heads) == 0 { // nothing is left of it
		return "never heard of"
	}
	need(err, "%s: heads of %s", n, k)
	value, err := n.r.Get(ctx, k)
	switch {
	case errors.Is(err, replica.ErrNotFound):
		value, err = []byte("deleted"), nil
	case errors.Is(err, replica.ErrForgotten):
		value, err = []byte("forgotten"), nil
	}
	need(err, "%s: value of %s", n, k)
	return fmt.Sprint(heads, string(value))
}

// checkEnd holds the nodes against each other and against the model.
func (w *world) checkEnd() {
	w.note("check")
	w.observe()
	if diff := w.equal(); diff != "" {
		failf("converged replicas differ: %s", diff)
	}
	w.rec.end(w)
	w.verify()
	for i, n := range w.nodes {
		n.checkEnd(i%2 == w.rng.IntN(2))
		n.join()
		n.checkLog()
	}
}

// checkEnd holds a node against the model; whole has it walk through the file, which takes
// longer.
func (n *node) checkEnd(whole bool) {
	ctx := context.Background()
	if whole {
		need(n.r.Check(ctx, func(p replica.Problem) { n.complain("check: %v", p) }), "check %s", n)
	}
	st, err := n.r.Status(ctx)
	need(err, "status of %s", n)
	lost := slices.ContainsFunc(n.w.model.acks, func(a *acked) bool { return a.lost })
	if st.Parked > 0 && !lost {
		failf("%s: %d sets still wait for a dependency", n, st.Parked)
	}
	n.observe()
}

// verify has the nodes say themselves that they are equal.
func (w *world) verify() {
	for _, e := range w.edges {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		v, err := e[0].r.Verify(ctx, e[0].link(e[1]), nil)
		stop()
		need(err, "%s verifies against %s", e[0], e[1])
		if !v.Equal() {
			failf("%s and %s are equal, and verify says that they are not: %+v", e[0], e[1], v)
		}
	}
}

// checkLog holds the file's log, which Check held against its records, against
// the model and what watchers were told.
func (n *node) checkLog() {
	held := holdings{}
	end := crdt.LSN(0)
	log := n.wholeLog()
	n.checkTimes(log)
	for _, row := range log {
		end = row.LSN
		if !row.Withdrawn() && len(row.Data) > 0 {
			held[member{row.Key, row.Hash}] = row.Data
		}
		seen, ok := n.seen[row.LSN]
		if ok && seen == (crdt.Hash{}) && row.Withdrawn() {
			continue
		}
		if ok && seen != row.Hash {
			failf("%s: watchers were told of %s at %d, the log has %s", n, seen, row.LSN, row.Hash)
		}
	}
	for lsn := range n.seen {
		if lsn > end {
			failf("%s: watchers were told of change %d, the log ends at %d", n, lsn, end)
		}
	}
	for _, a := range n.w.model.acks {
		if a.purge != (crdt.Key{}) && !a.lost {
			n.checkPurged(a.purge, held)
		}
		for _, m := range a.members {
			if held[m] == nil && !n.w.model.purged[m.key] && !a.lost && !n.w.hides(m.key) {
				failf("%s lacks %s of %s, which was acknowledged as part of %s", n, m.hash, m.key, a.name)
			}
		}
	}
	for m, data := range held {
		c, err := crdt.ParseChange(data)
		need(err, "%s: parse %s of %s", n, m.hash, m.key)
		if n.w.model.aborted[c.Message()] {
			failf("%s holds %s of %s, which belongs to the aborted update %s", n, m.hash, m.key, c.Message())
		}
	}
}

// checkPurged makes sure that nothing of a record is left.
func (n *node) checkPurged(k crdt.Key, held holdings) {
	if _, err := n.r.Get(context.Background(), k); !errors.Is(err, replica.ErrPurged) {
		failf("%s: %s was purged, and reading it gives %v", n, k, err)
	}
	for m := range held {
		if m.key == k {
			failf("%s: %s was purged, and change %s of it is there", n, k, m.hash)
		}
	}
}

// wholeLog reads the log, past the replica.
func (n *node) wholeLog() []persist.LogRow { return n.readLog(0, math.MaxInt64) }

// readLog reads the log behind one position and up to another.
func (n *node) readLog(after, upTo crdt.LSN) (all []persist.LogRow) {
	need(n.store.Read(context.Background(), func(r *persist.Reader) error {
		for at, more := max(after, 0), true; more && at < upTo; {
			rows, err := r.Log(at, 1000, 1<<20)
			if err != nil {
				return err
			}
			if more = len(rows) > 0; more {
				at = rows[len(rows)-1].LSN
			}
			all = append(all, rows...)
		}
		return nil
	}), "log of %s", n)
	return slices.DeleteFunc(all, func(row persist.LogRow) bool { return row.LSN > upTo })
}
