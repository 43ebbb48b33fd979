package sim_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing/synctest"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// crash kills a node: between two updates, often right after a commit that it had no time
// to send, or within a call of its store.
func (w *world) crash() {
	n := pick(w.rng, w.nodes)
	w.tally.crashes++
	if w.chance(40) {
		if w.chance(70) {
			n.update(n.randomEdits())
			w.settle()
		}
		w.note("%s crashes", n)
		n.crash()
		n.open()
		return
	}
	calls := 1 + w.rng.IntN(25)
	what := w.doomed(n)
	where := n.crashWithin(calls, what)
	w.note("%s crashes within that, before call %d of its store: %s", n, calls, where)
	n.open()
	w.tally.within++
}

// doomed returns what a node is to do while it is killed.
func (w *world) doomed(n *node) func() {
	ctx := context.Background()
	switch w.rng.IntN(5) {
	case 0:
		c, p := pick(w.rng, collections()), w.randomPolicy(crdt.Resolvers())
		return func() {
			w.note("%s shows %s by %v", n, c, p)
			_ = n.r.SetPolicy(ctx, c, p, nil)
		}
	case 1:
		peers := n.peers()
		if len(peers) > 0 {
			to := pick(w.rng, peers)
			return func() {
				w.note("%s syncs with %s", n, to)
				<-n.sync(to)
			}
		}
	case 2:
		d := time.Duration(w.rng.IntN(5000)) * time.Millisecond
		return func() {
			w.note("%s does what its peers have it do, for %v", n, d)
			time.Sleep(d)
			synctest.Wait()
		}
	}
	var all []*script
	for range 1 + w.rng.IntN(4) {
		all = append(all, n.randomEdits())
	}
	return func() {
		for _, s := range all {
			n.update(s)
			w.settle()
		}
	}
}

func (w *world) restart() {
	n := pick(w.rng, w.nodes)
	w.note("%s restarts", n)
	n.stop()
	n.join()
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
	w.tally.copies++
	before := n.head()
	w.note("%s is restored from its backup at %d, it was at %d", n, n.savedHead, before)
	n.replace(n.saved)
	n.open()
	w.stick.forgets(n)
	w.note("%d acknowledged sets are lost", w.model.forget(w))
	if w.chance(50) { // others' cursors come to lie within its log again, in another one
		for i := crdt.LSN(0); n.head() <= before && i < 2*before; i++ {
			n.update(n.randomEdits())
		}
	}
	if from, to := w.pair(); w.chance(50) { // a session that may not come to its end
		from.sync(to)
		w.pause()
		w.net.Cut(from.name, to.name)
	}
}

// clone copies a node's file, or its backup, and opens the copy beside it.
func (w *world) clone() {
	if len(w.nodes) == maxNodes {
		return
	}
	n := pick(w.rng, w.nodes)
	if n.hub {
		return
	}
	w.tally.copies++
	m := w.add(fmt.Sprintf("%s'%d", n.name, len(w.nodes)), false)
	from := "its file"
	if m.most, m.seen = n.most, map[crdt.LSN]crdt.Hash{}; n.saved != "" && w.chance(30) {
		from = "its backup"
		need(copyFiles(n.saved, m.path), "clone %s", n)
	} else {
		n.copyTo(m.path)
	}
	m.forged = n.forged
	m.setClock(time.Duration(n.off.Load()))
	with := []*node{pick(w.rng, n.peers())}
	if w.chance(30) {
		with = append(with, n)
	}
	w.note("%s is a clone of %s, by %s, and exchanges changes with %v", m, n, from, with)
	for _, p := range with {
		w.edges = append(w.edges, [2]*node{m, p})
	}
	m.open()
}
