package sim_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// watcher follows one life of a node and checks that it is told of each change
// once and in log order, but for what was withdrawn before it came to it, and that it never sees part of a set.
type watcher struct {
	n    *node
	done chan struct{}

	mu   sync.Mutex // guards what follows
	last crdt.LSN
	seen map[crdt.LSN]crdt.Hash // zero: it was told of a later one
}

func startWatcher(n *node) *watcher {
	st, err := n.r.Status(context.Background())
	need(err, "status of %s", n)
	w := &watcher{n: n, done: make(chan struct{}), last: st.Log.LSN, seen: map[crdt.LSN]crdt.Hash{}}
	events, r := n.r.Watch(n.ctx, ""), n.r
	go func() {
		defer close(w.done)
		for ev, err := range events {
			if err != nil {
				n.complain("watch: %v", err)
				return
			}
			w.take(r, ev)
		}
	}()
	return w
}

func (w *watcher) join() { <-w.done }

func (w *watcher) take(r *replica.Replica, ev replica.Event) {
	if ev.LSN%16 == 0 && strings.HasPrefix(ev.Key.Collection, setsPrefix) {
		if err := wholeSets(r, ev.Key.Collection); err != nil {
			w.n.complain("after change %d: %v", ev.LSN, err)
		}
	}
	if ev.Kind == replica.EventView {
		return // tells of a policy, not of a change
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n.fuse.blown() { // nobody was told
		return
	}
	if ev.LSN <= w.last {
		w.n.complain("watcher was told of change %d after %d", ev.LSN, w.last)
	}
	for w.last++; w.last < ev.LSN; w.last++ {
		w.seen[w.last] = crdt.Hash{} // not there any more: checkLog looks
	}
	w.last = ev.LSN
	w.seen[ev.LSN] = ev.Hash
}

// withdrawn reports whether nothing is in a part of the log any more: who comes to it now is
// not told of it.
func (n *node) withdrawn(after, upTo crdt.LSN) bool {
	rows := n.readLog(after, upTo)
	return len(rows) > 0 && !slices.ContainsFunc(rows, func(r persist.LogRow) bool { return !r.Withdrawn() })
}

// setsPrefix begins the collections to which sets write members that tell
// whether they are whole: with ids set.member.members.
const setsPrefix = "sets"

// setsPerCollection keeps these collections below one page of a listing, which
// is one snapshot.
const setsPerCollection = 32

// wholeSets checks that a snapshot of a collection shows all or nothing of each
// set.
func wholeSets(r *replica.Replica, collection string) error {
	shown, want := map[int]int{}, map[int]int{}
	for it, err := range r.List(context.Background(), collection, 0) {
		if err != nil {
			return fmt.Errorf("list %s: %w", collection, err)
		}
		var set, i, of int
		if _, err := fmt.Sscanf(it.Key.ID, "%d.%d.%d", &set, &i, &of); err != nil {
			return fmt.Errorf("id of %s: %w", it.Key, err)
		}
		shown[set]++
		want[set] = of
	}
	for set, n := range shown {
		if n != want[set] {
			return fmt.Errorf("set %d shows %d of its %d records", set, n, want[set])
		}
	}
	return nil
}

// observe checks a node at a moment when nothing happens.
func (n *node) observe() {
	ctx := context.Background()
	st, err := n.r.Status(ctx)
	need(err, "status of %s", n)
	n.watch.mu.Lock()
	last := n.watch.last
	n.watch.mu.Unlock()
	if last != st.Log.LSN && !n.withdrawn(last, st.Log.LSN) {
		n.complain("the log ends at %d, the watcher was told up to %d", st.Log.LSN, last)
	}
	if st.Quarantined > n.forged {
		n.complain("%d changes are in quarantine", st.Quarantined)
	}
	names, err := n.r.Collections(ctx)
	need(err, "collections of %s", n)
	for _, name := range names {
		if strings.HasPrefix(name, setsPrefix) {
			if err := wholeSets(n.r, name); err != nil {
				n.complain("%v", err)
			}
		}
	}
	for to, c := range n.conns {
		if err := c.Err(); err != nil {
			n.complain("the connection to %s ended for good: %v", to, err)
		}
	}
	n.errMu.Lock()
	defer n.errMu.Unlock()
	if len(n.errs) > 0 {
		failf("%s: %s", n, strings.Join(n.errs, "\n"))
	}
}
