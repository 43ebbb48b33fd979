package sim_test

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// Nodes take rights from each other and give them back, and exchange parts of what they
// hold. None of that may keep them from converging when all are allowed everything.

// scope returns some of the records. A set of the simulation is within one collection,
// or of records that nobody expects to be together.
func (w *world) scope() transport.Scope {
	if w.chance(20) {
		return transport.Everything()
	}
	var s transport.Scope
	for range w.rng.IntN(3) {
		sel := transport.Selector{Collection: pick(w.rng, collections())}
		if w.chance(30) {
			sel.Where = []transport.Equal{{Field: "f1", Value: pick(w.rng, []string{"1", "2", `"x"`, "null"})}}
		}
		s.Only = append(s.Only, sel)
	}
	return s
}

// restrict changes what a node allows its peers, from their next session on.
func (w *world) restrict() {
	n := pick(w.rng, w.nodes)
	g := transport.FullGrant()
	if w.chance(70) {
		g = transport.Grant{Read: w.scope(), Write: w.scope(), Relay: w.chance(50), Admin: w.chance(50)}
	}
	w.note("%s allows %+v", n, g)
	n.grant.Store(&g)
	w.restricted = true
	if w.chance(50) {
		w.net.CutNode(n.name)
	}
}

// allow gives all rights back.
func (w *world) allow() {
	full := transport.FullGrant()
	for _, n := range w.nodes {
		n.grant.Store(&full)
		w.net.CutNode(n.name)
	}
}

// syncPart exchanges less than everything.
func (w *world) syncPart() {
	from, to := w.pair()
	var opts []replica.LinkOption
	what := w.scope()
	switch w.rng.IntN(4) {
	case 0:
		opts = append(opts, replica.PushOnly())
	case 1:
		opts = append(opts, replica.PullOnly())
	}
	if len(opts) == 0 || w.chance(50) {
		if what.None() {
			what = transport.Scope{Only: []transport.Selector{{Collection: "docs"}}}
		}
		opts = append(opts, replica.Only(what))
	}
	wait := w.chance(50)
	w.note("%s syncs a part with %s: %d options, %+v (waits: %v)", from, to, len(opts), what, wait)
	w.restricted = true
	done := from.sync(to, opts...)
	if wait {
		<-done
	}
}

// fetch gets a record.
func (w *world) fetch() {
	from, to := w.pair()
	k := crdt.Key{Collection: pick(w.rng, collections()), ID: "1"}
	for key := range w.model.keys {
		if key.Collection == "docs" && (k.ID == "1" || key.ID < k.ID) { // the same in each run of the seed
			k = key
		}
	}
	w.note("%s fetches %s from %s", from, k, to)
	ctx, stop := context.WithTimeout(from.ctx, time.Minute)
	defer stop()
	if _, err := from.r.Fetch(ctx, from.link(to), k); err != nil && !errors.Is(err, replica.ErrPurged) && !w.excuses(err) {
		from.complain("fetch from %s: %v", to, err)
	}
}

// excuses reports whether bad weather or a lack of rights explains the error.
func (w *world) excuses(err error) bool {
	var incomplete *replica.IncompleteError
	partly := errors.As(err, &incomplete) || strings.Contains(err.Error(), "stay different")
	return excused(err) || w.restricted && partly || strings.Contains(err.Error(), "does not answer") || strings.Contains(err.Error(), "says the peer") ||
		strings.Contains(err.Error(), "does not have all of it") // of a record that was forgotten here
}
