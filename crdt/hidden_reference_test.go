package crdt_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// reference finds hidden candidates from the definition alone: by the sets of all
// ancestors, comparing everything with everything.
type reference struct {
	changes []*crdt.Change
	past    []map[int]bool // by change: all that it builds on
	ops     map[crdt.OpID]refOp
}

type refOp struct {
	crdt.Op
	id     crdt.OpID
	change int
	obj    crdt.OpID // zero for the root
	slot   string
	preds  []crdt.OpID
}

func newReference(changes []*crdt.Change) *reference {
	r := &reference{changes: changes, ops: map[crdt.OpID]refOp{}}
	index := map[crdt.Hash]int{}
	for i, c := range changes {
		past := map[int]bool{}
		for _, d := range c.Deps() {
			past[index[d]] = true
			maps.Copy(past, r.past[index[d]])
		}
		r.past = append(r.past, past)
		index[c.Hash()] = i
		name := func(ref crdt.Ref) crdt.OpID {
			if ref.Counter == 0 {
				return crdt.OpID{}
			}
			return crdt.OpID{Counter: uint64(ref.Counter), Actor: c.Actors()[ref.Actor]}
		}
		for k, o := range c.Ops() {
			op := refOp{Op: o, id: crdt.OpID{Counter: c.StartOp() + uint64(k), Actor: c.Actor()}, change: i, obj: name(o.Obj)}
			op.slot = fmt.Sprint(op.obj, " key ", o.Key)
			if !o.InMap {
				op.slot = fmt.Sprint(op.obj, " element ", name(o.Elem))
			}
			if o.Insert {
				op.slot = fmt.Sprint(op.obj, " element ", op.id)
			}
			for _, p := range o.Pred {
				op.preds = append(op.preds, name(p))
			}
			r.ops[op.id] = op
		}
	}
	return r
}

func (r *reference) sees(a, b refOp) bool {
	return r.past[a.change][b.change] || a.change == b.change && b.id.Counter < a.id.Counter
}

func (o refOp) isCounter() bool { return o.Action == crdt.Set && o.Value.Kind() == crdt.KindCounter }

func (o refOp) isObject() bool {
	return o.Action == crdt.MakeMap || o.Action == crdt.MakeList || o.Action == crdt.MakeText
}

// in reports whether an operation edits an object, at any depth.
func (r *reference) in(o, object refOp) bool {
	for at := o.obj; at != (crdt.OpID{}); at = r.ops[at].obj {
		if at == object.id {
			return true
		}
	}
	return false
}

// hidden returns the change of the edit that a hidden candidate shows; ok is false
// for what is no hidden candidate.
func (r *reference) hidden(p refOp) (at crdt.Hash, ok bool) {
	if !p.isCounter() && !p.isObject() || r.ops[p.obj].Action == crdt.MakeText && p.obj != (crdt.OpID{}) {
		return at, false
	}
	var overs, edits, writes []refOp
	for _, o := range r.ops {
		increments := o.Action == crdt.Increment && p.isCounter() && slices.Contains(o.preds, p.id)
		if slices.Contains(o.preds, p.id) && !increments {
			overs = append(overs, o)
		}
		if increments || r.in(o, p) {
			edits = append(edits, o)
		}
		if o.slot == p.slot && o.Action != crdt.Increment && o.Action != crdt.Mark {
			writes = append(writes, o)
		}
	}
	if len(overs) == 0 {
		return at, false
	}
	knowsGone := func(o refOp) bool {
		return slices.ContainsFunc(overs, func(x refOp) bool { return x.id == o.id || r.sees(o, x) })
	}
	var unseen []refOp
	for _, e := range edits {
		settled := slices.ContainsFunc(append(writes, overs...), func(y refOp) bool { return knowsGone(y) && r.sees(y, e) })
		if !knowsGone(e) && !settled {
			unseen = append(unseen, e)
		}
	}
	latest := slices.DeleteFunc(slices.Clone(unseen), func(e refOp) bool {
		return slices.ContainsFunc(unseen, func(f refOp) bool { return r.sees(f, e) })
	})
	if len(latest) == 0 {
		return at, false
	}
	newest := slices.MaxFunc(latest, func(a, b refOp) int {
		x, y := r.changes[a.change], r.changes[b.change]
		return cmp.Or(cmp.Compare(x.Time(), y.Time()), cmp.Compare(x.MaxOp(), y.MaxOp()), strings.Compare(string(x.Actor()), string(y.Actor())))
	})
	return r.changes[newest.change].Hash(), true
}

func (r *reference) all() map[crdt.OpID]crdt.Hash {
	found := map[crdt.OpID]crdt.Hash{}
	for _, o := range r.ops {
		if at, ok := r.hidden(o); ok {
			found[o.id] = at
		}
	}
	return found
}

// requireHidden builds the history again in random orders, asking on the way, and
// requires the same candidates, conflicts and values every time.
func requireHidden(t testing.TB, rng *rand.Rand, changes []*crdt.Change, views []*crdt.View) int {
	want := newReference(changes).all()
	first := replay(t, changes)
	for range 4 {
		h := crdt.NewHistory()
		for _, c := range shuffled(rng, changes) {
			_, err := h.Add(c)
			require.NoError(t, err)
			if rng.IntN(4) == 0 {
				h.ConflictCount(views[rng.IntN(len(views))])
			}
		}
		require.Equal(t, want, h.Hidden())
		for _, v := range views {
			require.Equal(t, jsonOf(t, first, v), jsonOf(t, h, v))
			requireAlike(t, first.Conflicts(v), h.Conflicts(v))
			require.Equal(t, len(h.Conflicts(v)), h.ConflictCount(v))
		}
	}
	return len(want)
}

// TestHiddenByDefinition: what is collected on the way is what the definition
// says, in histories that people make.
func TestHiddenByDefinition(t *testing.T) {
	found := 0
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			s := randomHistory(t, rng, 40)
			found += requireHidden(t, rng, changesOf(s.h), s.views)
		})
	}
	require.Greater(t, found, 10)
}

// TestHiddenOfAnything is the same in histories that no program would make: whose
// operations name anything that Add lets them.
func TestHiddenOfAnything(t *testing.T) {
	found := 0
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			changes := anything(t, rng, 30)
			var views []*crdt.View
			for _, name := range crdt.Resolvers() {
				views = append(views, viewOf(t, crdt.ReplicaID{byte(rng.IntN(3))}, name))
			}
			found += requireHidden(t, rng, changes, views)
		})
	}
	require.Greater(t, found, 100)
}

// TestHiddenKnowsOfBefore: who edits in what was overwritten before there were
// branches knows that it is gone, though somebody overwrites it again since.
func TestHiddenKnowsOfBefore(t *testing.T) {
	a, b := []crdt.ActorID{actorA}, []crdt.ActorID{actorB, actorA}
	a1 := build(t, crdt.Draft{Actors: a, Seq: 1, StartOp: 1, Ops: []crdt.Op{{InMap: true, Key: "m", Action: crdt.MakeMap}}})
	a2 := build(t, crdt.Draft{Actors: a, Seq: 2, StartOp: 2, Deps: []crdt.Hash{a1.Hash()}, Ops: []crdt.Op{set("m", crdt.Int(1), own(1))}})
	a3 := build(t, crdt.Draft{Actors: a, Seq: 3, StartOp: 3, Deps: []crdt.Hash{a2.Hash()}, Ops: []crdt.Op{set("w", crdt.Int(0))}})
	a4 := build(t, crdt.Draft{Actors: a, Seq: 4, StartOp: 4, Deps: []crdt.Hash{a3.Hash()}, Ops: []crdt.Op{set("m", crdt.Int(2), own(1), own(2))}})
	b1 := build(t, crdt.Draft{Actors: b, Seq: 1, StartOp: 4, Deps: []crdt.Hash{a3.Hash()}, Ops: []crdt.Op{
		in(crdt.Ref{Actor: 1, Counter: 1}, set("x", crdt.Int(3)))}})
	changes := []*crdt.Change{a1, a2, a3, a4, b1}
	require.Zero(t, requireHidden(t, seeded(t, 1), changes, []*crdt.View{nil, viewOf(t, replica1, "lww")}))
	require.Zero(t, replay(t, changes).ConflictCount(nil))
}

// anything returns the changes of three sites that edit whatever they know of,
// visible or not.
func anything(t testing.TB, rng *rand.Rand, steps int) []*crdt.Change {
	sites := []*crdt.History{crdt.NewHistory(), crdt.NewHistory(), crdt.NewHistory()}
	all, refused := crdt.NewHistory(), 0
	for range steps {
		i := rng.IntN(len(sites))
		h := sites[i]
		if rng.IntN(4) == 0 {
			pullAll(t, h, sites[rng.IntN(len(sites))])
		}
		actor := crdt.ReplicaID{byte(i)}.Actor([8]byte{})
		d := crdt.Draft{Actors: []crdt.ActorID{actor}, Seq: h.Seq(actor) + 1, StartOp: h.MaxOp() + 1, Deps: h.Heads(), Time: 2e12 + rng.Int64N(20)}
		for k := range sites {
			if k != i {
				d.Actors = append(d.Actors, crdt.ReplicaID{byte(k)}.Actor([8]byte{}))
			}
		}
		a := anyOps{rng: rng, known: newReference(changesOf(h)).ops, d: &d}
		for range 1 + rng.IntN(3) {
			a.add()
		}
		a.finish()
		c, err := crdt.Build(d)
		if err != nil {
			refused++
			continue
		}
		if _, err := h.Add(c); err != nil {
			refused++
			continue // it was nothing that Add lets through
		}
		_, err = all.Add(c)
		require.NoError(t, err)
	}
	require.Less(t, refused, steps/2)
	return changesOf(all)
}

// anyOps makes operations of a draft.
type anyOps struct {
	rng   *rand.Rand
	known map[crdt.OpID]refOp
	d     *crdt.Draft
}

func (a *anyOps) add() {
	rng := a.rng
	objects, elements := []refOp{{}}, []refOp{}
	ids := slices.SortedFunc(maps.Keys(a.known), crdt.OpID.Compare)
	for _, id := range ids {
		if o := a.known[id]; o.isObject() && o.Action != crdt.MakeText {
			objects = append(objects, o)
		}
	}
	obj := objects[rng.IntN(len(objects))]
	o := crdt.Op{Obj: a.ref(obj.id), Action: []crdt.Action{
		crdt.Set, crdt.Set, crdt.MakeMap, crdt.MakeMap, crdt.MakeList, crdt.Del, crdt.Increment, crdt.Increment}[rng.IntN(8)]}
	slot := ""
	if obj.Action == crdt.MakeList {
		for _, id := range ids {
			if e := a.known[id]; e.Insert && e.obj == obj.id {
				elements = append(elements, e)
			}
		}
		if len(elements) == 0 || rng.IntN(2) == 0 {
			o.Insert = true
			if o.Action == crdt.Del || o.Action == crdt.Increment {
				o.Action = crdt.MakeMap
			}
		} else {
			e := elements[rng.IntN(len(elements))]
			o.Elem, slot = a.ref(e.id), e.slot
		}
	} else {
		o.InMap, o.Key = true, []string{"a", "b"}[rng.IntN(2)]
		slot = fmt.Sprint(obj.id, " key ", o.Key)
	}
	switch {
	case o.Action == crdt.Increment:
		o.Value = crdt.Int(1)
	case o.Action == crdt.Set && rng.IntN(2) == 0:
		o.Value = crdt.CounterOf(rng.Int64N(5))
	case o.Action == crdt.Set:
		o.Value = crdt.Int(rng.Int64N(5))
	}
	for _, id := range ids {
		p := a.known[id]
		if o.Insert || p.slot != slot || p.Action == crdt.Del || p.Action == crdt.Increment || rng.IntN(3) == 0 {
			continue
		}
		if o.Action != crdt.Increment || p.isCounter() || rng.IntN(4) == 0 {
			o.Pred = append(o.Pred, a.ref(id))
		}
	}
	if len(o.Pred) > 0 || o.Action != crdt.Del && o.Action != crdt.Increment {
		id := crdt.OpID{Counter: a.d.StartOp + uint64(len(a.d.Ops)), Actor: a.d.Actors[0]}
		if o.Insert {
			slot = fmt.Sprint(obj.id, " element ", id)
		}
		a.known[id] = refOp{Op: o, id: id, obj: obj.id, slot: slot}
		a.d.Ops = append(a.d.Ops, o)
	}
}

// ref names an operation, with an index into all actors for now.
func (a *anyOps) ref(id crdt.OpID) crdt.Ref {
	if id == (crdt.OpID{}) {
		return crdt.Ref{}
	}
	return crdt.Ref{Actor: uint32(slices.Index(a.d.Actors, id.Actor)), Counter: uint32(id.Counter)}
}

// finish leaves the actors that are named.
func (a *anyOps) finish() {
	each := func(f func(*crdt.Ref)) {
		for i := range a.d.Ops {
			f(&a.d.Ops[i].Obj)
			f(&a.d.Ops[i].Elem)
			for k := range a.d.Ops[i].Pred {
				f(&a.d.Ops[i].Pred[k])
			}
		}
	}
	all, used := a.d.Actors, map[uint32]bool{0: true}
	each(func(r *crdt.Ref) { used[r.Actor] = true })
	a.d.Actors = nil
	index := map[uint32]uint32{}
	for i, actor := range all {
		if used[uint32(i)] {
			index[uint32(i)] = uint32(len(a.d.Actors))
			a.d.Actors = append(a.d.Actors, actor)
		}
	}
	each(func(r *crdt.Ref) { r.Actor = index[r.Actor] })
}
