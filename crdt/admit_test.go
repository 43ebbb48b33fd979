package crdt_test

import (
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

const (
	actorA = crdt.ActorID("aaaaaaaaaaaaaaaa")
	actorB = crdt.ActorID("bbbbbbbbbbbbbbbb")
	actorC = crdt.ActorID("cccccccccccccccc")
)

func build(t testing.TB, d crdt.Draft) *crdt.Change {
	t.Helper()
	slices.SortFunc(d.Deps, crdt.Hash.Compare)
	c, err := crdt.Build(d)
	require.NoError(t, err)
	return c
}

func own(n uint32) crdt.Ref { return crdt.Ref{Counter: n} }

func set(key string, v crdt.Value, pred ...crdt.Ref) crdt.Op {
	return crdt.Op{InMap: true, Key: key, Action: crdt.Set, Value: v, Pred: pred}
}

func in(obj crdt.Ref, o crdt.Op) crdt.Op {
	o.Obj = obj
	return o
}

func insert(obj, ref crdt.Ref, v string) crdt.Op {
	return crdt.Op{Obj: obj, Elem: ref, Insert: true, Action: crdt.Set, Value: crdt.String(v)}
}

func markBegin(obj, ref crdt.Ref) crdt.Op {
	return crdt.Op{Obj: obj, Elem: ref, Insert: true, Action: crdt.Mark, MarkName: "bold", Value: crdt.Bool(true)}
}

func markEnd(obj, ref crdt.Ref) crdt.Op {
	return crdt.Op{Obj: obj, Elem: ref, Insert: true, Action: crdt.Mark}
}

// base is a history of A1, and of A2 and B1 which are concurrent.
type base struct {
	h          *crdt.History
	a1, a2, b1 *crdt.Change
}

// Operations of A1, by counter.
const (
	opMap = 1 + iota
	opList
	opElem
	opText
	opChar
	opBegin
	opEnd
	opCount
	opString
	opGone
)

func newBase(t testing.TB) base {
	b := base{h: crdt.NewHistory()}
	b.a1 = build(t, crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 1, StartOp: 1, Ops: []crdt.Op{
		{InMap: true, Key: "map", Action: crdt.MakeMap},
		{InMap: true, Key: "list", Action: crdt.MakeList},
		insert(own(opList), crdt.Ref{}, "e"),
		{InMap: true, Key: "text", Action: crdt.MakeText},
		insert(own(opText), crdt.Ref{}, "x"),
		markBegin(own(opText), crdt.Ref{}),
		markEnd(own(opText), own(opChar)),
		set("count", crdt.CounterOf(5)),
		set("string", crdt.String("s")),
		set("gone", crdt.Null()),
	}})
	b.a2 = build(t, crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 2, StartOp: 11, Deps: []crdt.Hash{b.a1.Hash()}, Ops: []crdt.Op{
		{InMap: true, Key: "gone", Action: crdt.Del, Pred: []crdt.Ref{own(opGone)}},
		{InMap: true, Key: "count", Action: crdt.Increment, Value: crdt.Int(3), Pred: []crdt.Ref{own(opCount)}},
		set("new", crdt.Null()),
	}})
	b.b1 = build(t, crdt.Draft{Actors: []crdt.ActorID{actorB, actorA}, Seq: 1, StartOp: 11, Deps: []crdt.Hash{b.a1.Hash()}, Ops: []crdt.Op{
		set("string", crdt.String("b"), crdt.Ref{Actor: 1, Counter: opString}),
	}})
	for _, c := range []*crdt.Change{b.a1, b.a2, b.b1} {
		added, err := b.h.Add(c)
		require.NoError(t, err)
		require.True(t, added)
	}
	return b
}

// mustEqualCore checks that the core, fed the same changes, shows and saves the
// same.
func mustEqualCore(t testing.TB, h *crdt.History) {
	t.Helper()
	doc := automerge.New()
	for c := range h.Changes() {
		require.NoError(t, doc.LoadIncremental(c.Raw()))
	}
	again, err := automerge.Load(doc.Save())
	require.NoError(t, err)
	require.Equal(t, coreHeads(again), headsOf(h))
	require.Equal(t, coreJSON(t, again), jsonOf(t, h, nil))
}

// TestRefused has one case a rule: C's first change on top of both heads, or of
// one of them.
func TestRefused(t *testing.T) {
	a := func(n uint32) crdt.Ref { return crdt.Ref{Actor: 1, Counter: n} }
	ac := []crdt.ActorID{actorC, actorA}
	cb := []crdt.ActorID{actorC, actorB}
	abc := []crdt.ActorID{actorC, actorA, actorB}
	del := func(key string, pred ...crdt.Ref) crdt.Op {
		return crdt.Op{InMap: true, Key: key, Action: crdt.Del, Pred: pred}
	}
	tests := []struct {
		name   string
		actors []crdt.ActorID
		onA1   bool // made on A1 alone
		start  uint64
		ops    []crdt.Op
		want   string // "" is accepted
	}{
		{name: "a field", ops: []crdt.Op{set("k", crdt.Null())}},
		{name: "an empty key", ops: []crdt.Op{set("", crdt.Null())}},
		{name: "no operations", start: 14},
		{name: "no operations, start op too low", start: 13, want: "start op 13, but its past reaches 13"},
		{name: "start op too low", start: 13, ops: []crdt.Op{set("k", crdt.Null())}, want: "start op 13, but its past reaches 13"},
		{name: "start op beyond its past but held", onA1: true, start: 12, ops: []crdt.Op{set("k", crdt.Null())}},
		{name: "no operations, start op beyond its past", onA1: true, start: 12, want: "without operations"},
		{name: "unknown object", actors: cb, ops: []crdt.Op{in(a(12), set("k", crdt.Null()))}, want: "does not exist"},
		{name: "unknown actor", actors: []crdt.ActorID{actorC, "zz"}, ops: []crdt.Op{in(a(1), set("k", crdt.Null()))}, want: "unknown actor"},
		{name: "object is a scalar", actors: ac, ops: []crdt.Op{in(a(opString), set("k", crdt.Null()))}, want: "no object"},
		{name: "map operation on a list", actors: ac, ops: []crdt.Op{in(a(opList), set("k", crdt.Null()))}, want: "a map as a sequence"},
		{name: "list operation on a map", actors: ac, ops: []crdt.Op{insert(a(opMap), crdt.Ref{}, "v")}, want: "a map as a sequence"},
		{name: "list operation on the root", ops: []crdt.Op{insert(crdt.Ref{}, crdt.Ref{}, "v")}, want: "a map as a sequence"},
		{name: "element of another list", actors: ac, ops: []crdt.Op{insert(a(opList), a(opChar), "v")}, want: "not in its object"},
		{name: "element is no insert", actors: ac, ops: []crdt.Op{insert(a(opList), a(opString), "v")}, want: "not in its object"},
		{name: "unknown element", actors: abc, ops: []crdt.Op{insert(a(opList), crdt.Ref{Actor: 2, Counter: 12}, "v")}, want: "does not exist"},
		{name: "insert after a mark", actors: ac, ops: []crdt.Op{insert(a(opText), a(opEnd), "v")}},
		{name: "set on a mark", actors: ac, ops: []crdt.Op{{Obj: a(opText), Elem: a(opEnd), Action: crdt.Set}}, want: "edits a mark"},
		{name: "set on an element", actors: ac, ops: []crdt.Op{{Obj: a(opList), Elem: a(opElem), Action: crdt.Set, Pred: []crdt.Ref{a(opElem)}}}},
		{name: "predecessor of another key", actors: ac, ops: []crdt.Op{set("other", crdt.Null(), a(opString))}, want: "another key"},
		{name: "predecessor in another object", actors: ac, ops: []crdt.Op{in(a(opMap), set("string", crdt.Null(), a(opString)))}, want: "another key"},
		{name: "predecessor of another element", actors: ac, ops: []crdt.Op{insert(a(opList), crdt.Ref{}, "v"),
			{Obj: a(opList), Elem: own(14), Action: crdt.Set, Pred: []crdt.Ref{a(opElem)}}}, want: "another key"},
		{name: "predecessor is a deletion", actors: ac, ops: []crdt.Op{set("gone", crdt.Null(), a(11))}, want: "a deletion or a mark"},
		{name: "predecessor does not exist", actors: cb, ops: []crdt.Op{set("string", crdt.Null(), a(12))}, want: "does not exist"},
		{name: "predecessor overwritten before", actors: ac, ops: []crdt.Op{set("string", crdt.Null(), a(opString))}},
		{name: "predecessor concurrent", actors: cb, onA1: true, start: 14,
			ops: []crdt.Op{set("string", crdt.Null(), crdt.Ref{Actor: 1, Counter: 11})}, want: "outside its past"},
		{name: "both predecessors", actors: abc, ops: []crdt.Op{set("string", crdt.Null(), a(opString), crdt.Ref{Actor: 2, Counter: 11})}},
		{name: "increment of a string", actors: ac, ops: []crdt.Op{{InMap: true, Key: "string", Action: crdt.Increment, Value: crdt.Int(1), Pred: []crdt.Ref{a(opString)}}}, want: "no counter"},
		{name: "increment of a counter", actors: ac, ops: []crdt.Op{{InMap: true, Key: "count", Action: crdt.Increment, Value: crdt.Int(1), Pred: []crdt.Ref{a(opCount)}}}},
		{name: "deletion of an increment", actors: ac, ops: []crdt.Op{del("count", a(12))}, want: "deletes an increment"},
		{name: "deletion of an increment and of a later value", actors: ac, ops: []crdt.Op{set("count", crdt.Null(), a(opCount)),
			del("count", a(12), own(14))}, want: "deletes an increment"},
		{name: "deletion of a counter and its increment", actors: ac, ops: []crdt.Op{del("count", a(opCount), a(12))}},
		{name: "edit of its own object", ops: []crdt.Op{{InMap: true, Key: "m", Action: crdt.MakeMap}, in(own(14), set("k", crdt.Int(1))), in(own(14), set("k", crdt.Int(2), own(15)))}},
		{name: "own object is a scalar", ops: []crdt.Op{set("m", crdt.Null()), in(own(14), set("k", crdt.Int(1)))}, want: "no object"},
		{name: "own element in another list", actors: ac, ops: []crdt.Op{insert(a(opText), crdt.Ref{}, "v"), insert(a(opList), own(14), "w")}, want: "not in its object"},
		{name: "mark over a character", actors: ac, ops: []crdt.Op{markBegin(a(opText), crdt.Ref{}), markEnd(a(opText), a(opChar))}},
		{name: "empty mark", actors: ac, ops: []crdt.Op{markBegin(a(opText), a(opChar)), markEnd(a(opText), own(14))}},
		{name: "mark ends where it begins", actors: ac, ops: []crdt.Op{markBegin(a(opText), a(opChar)), markEnd(a(opText), a(opChar))}, want: "before its begin"},
		{name: "mark ends at the head", actors: ac, ops: []crdt.Op{markBegin(a(opText), a(opChar)), markEnd(a(opText), crdt.Ref{})}, want: "before its begin"},
		{name: "mark ends before", actors: ac, ops: []crdt.Op{markBegin(a(opText), a(opEnd)), markEnd(a(opText), a(opChar))}, want: "before its begin"},
		{name: "mark over own characters", actors: ac, ops: []crdt.Op{insert(a(opText), a(opChar), "1"), insert(a(opText), own(14), "2"),
			markBegin(a(opText), own(14)), markEnd(a(opText), own(15))}},
		{name: "mark over own characters, reversed", actors: ac, ops: []crdt.Op{insert(a(opText), a(opChar), "1"), insert(a(opText), own(14), "2"),
			markBegin(a(opText), own(15)), markEnd(a(opText), own(14))}, want: "before its begin"},
		{name: "mark from own to old", actors: ac, ops: []crdt.Op{insert(a(opText), crdt.Ref{}, "1"),
			markBegin(a(opText), own(14)), markEnd(a(opText), a(opChar))}},
		{name: "mark from old to own before it", actors: ac, ops: []crdt.Op{insert(a(opText), crdt.Ref{}, "1"),
			markBegin(a(opText), a(opChar)), markEnd(a(opText), own(14))}, want: "before its begin"},
		{name: "mark after the anchor of its own", actors: ac, ops: []crdt.Op{insert(a(opText), a(opChar), "1"),
			markBegin(a(opText), a(opChar)), markEnd(a(opText), own(14))}},
		{name: "mark back to its anchor", actors: ac, ops: []crdt.Op{insert(a(opText), a(opChar), "1"),
			markBegin(a(opText), own(14)), markEnd(a(opText), a(opChar))}, want: "before its begin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBase(t)
			d := crdt.Draft{Actors: tt.actors, Seq: 1, StartOp: tt.start, Ops: tt.ops, Deps: []crdt.Hash{b.a2.Hash(), b.b1.Hash()}}
			if d.Actors == nil {
				d.Actors = []crdt.ActorID{actorC}
			}
			if tt.onA1 {
				d.Deps = []crdt.Hash{b.a1.Hash()}
			}
			if d.StartOp == 0 {
				d.StartOp = 14
			}
			before := jsonOf(t, b.h, nil)
			size := b.h.Size()
			added, err := b.h.Add(build(t, d))
			if tt.want == "" {
				require.NoError(t, err)
				require.True(t, added)
				mustEqualCore(t, b.h)
				return
			}
			var invalid *crdt.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, before, jsonOf(t, b.h, nil))
			require.Equal(t, size, b.h.Size())
			require.Equal(t, 3, b.h.Len())
			require.False(t, added)
		})
	}
}

func TestAddAgain(t *testing.T) {
	b := newBase(t)
	added, err := b.h.Add(b.b1)
	require.NoError(t, err)
	require.False(t, added)
	require.Equal(t, crdt.Clock{actorA: 2, actorB: 1}, b.h.Clock())
	require.EqualValues(t, 13, b.h.MaxOp())
}

func TestParkedForDependency(t *testing.T) {
	b := newBase(t)
	h := crdt.NewHistory()
	_, err := h.Add(b.a2)
	var park *crdt.ParkError
	require.ErrorAs(t, err, &park)
	require.Equal(t, []crdt.Hash{b.a1.Hash()}, park.Missing)
	require.Zero(t, h.Len())
	for _, c := range []*crdt.Change{b.a1, b.a2} {
		_, err = h.Add(c)
		require.NoError(t, err)
	}
}

func TestParkedForGap(t *testing.T) {
	h := crdt.NewHistory()
	far := build(t, crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 1, StartOp: 2, Ops: []crdt.Op{set("k", crdt.Null())}})
	_, err := h.Add(far)
	var park *crdt.ParkError
	require.ErrorAs(t, err, &park)
	require.True(t, park.Gap)
	_, err = h.Add(build(t, crdt.Draft{Actors: []crdt.ActorID{actorB}, Seq: 1, StartOp: 1, Ops: []crdt.Op{set("k", crdt.Null())}}))
	require.NoError(t, err)
	added, err := h.Add(far)
	require.NoError(t, err)
	require.True(t, added)
}

func TestForked(t *testing.T) {
	b := newBase(t)
	other := build(t, crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 2, StartOp: 11, Deps: []crdt.Hash{b.a1.Hash()}, Ops: []crdt.Op{set("k", crdt.Null())}})
	_, err := b.h.Add(other)
	var fork *crdt.ForkError
	require.ErrorAs(t, err, &fork)
	require.Equal(t, crdt.ForkError{Actor: actorA, Seq: 2, Have: b.a2.Hash(), Got: other.Hash()}, *fork)
}

func TestSequenceNumbers(t *testing.T) {
	b := newBase(t) // for its hashes
	draft := crdt.Draft{Actors: []crdt.ActorID{actorA}, StartOp: 14, Ops: []crdt.Op{set("k", crdt.Null())}}
	for name, tt := range map[string]struct {
		seq  uint64
		dep  crdt.Hash
		want string
	}{
		"skipped":           {4, b.a2.Hash(), "sequence 4 of"},
		"not on its own":    {3, b.a1.Hash(), "does not depend on its actor's change 2"},
		"on another's only": {3, b.b1.Hash(), "does not depend on its actor's change 2"},
		"next":              {3, b.a2.Hash(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := draft
			d.Seq, d.Deps = tt.seq, []crdt.Hash{tt.dep}
			_, err := newBase(t).h.Add(build(t, d))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestDeepNesting: objects within objects are bounded, so that nothing that walks
// them runs out of stack.
func TestDeepNesting(t *testing.T) {
	nested := func(n int) crdt.Draft {
		d := crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 1, StartOp: 1}
		for i := range n {
			d.Ops = append(d.Ops, crdt.Op{Obj: own(uint32(i)), InMap: true, Key: "k", Action: crdt.MakeMap})
		}
		return d
	}
	_, err := crdt.NewHistory().Add(build(t, nested(crdt.MaxDepth)))
	require.ErrorContains(t, err, "within each other")
	h := crdt.NewHistory()
	_, err = h.Add(build(t, nested(crdt.MaxDepth-1)))
	require.NoError(t, err)
	v, err := crdt.ParseJSON([]byte(jsonOf(t, h, nil)))
	require.NoError(t, err)
	require.NoError(t, crdt.NewHistory().Begin(actorB, 0, nil).Put(nil, v, crdt.Merge))
}

// TestClashingHashes: changes are found by the first bytes of their hashes, which
// somebody may have brought to be equal.
func TestClashingHashes(t *testing.T) {
	h := crdt.NewHistory()
	var changes []*crdt.Change
	for i, a := range []crdt.ActorID{actorA, actorB, actorC} {
		c := build(t, crdt.Draft{Actors: []crdt.ActorID{a}, Seq: 1, StartOp: 1, Ops: []crdt.Op{set("k", crdt.Null())}})
		c = crdt.WithHash(c, crdt.Hash{1, 2, 3, 31: byte(i)})
		_, err := h.Add(c)
		require.NoError(t, err)
		changes = append(changes, c)
	}
	for _, c := range changes {
		require.Same(t, c, h.Change(c.Hash()))
	}
	require.False(t, h.Has(crdt.Hash{1, 2, 3, 31: 9}))
	_, err := h.Add(build(t, crdt.Draft{Actors: []crdt.ActorID{"d"}, Seq: 1, StartOp: 2,
		Deps: h.Heads(), Ops: []crdt.Op{set("k", crdt.Null())}}))
	require.NoError(t, err)
	require.Len(t, h.Heads(), 1)
}

// TestARefusedChangeIsNotKept: its operations can take far more memory than the
// history, whose size does not count them.
func TestARefusedChangeIsNotKept(t *testing.T) {
	h := crdt.NewHistory()
	refused := func() weak.Pointer[crdt.Change] {
		c := build(t, crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 1, StartOp: 1, Deps: []crdt.Hash{{1}}, Ops: []crdt.Op{set("k", crdt.Null())}})
		_, err := h.Add(c)
		require.Error(t, err)
		return weak.Make(c)
	}()
	runtime.GC()
	require.Nil(t, refused.Value())
	runtime.KeepAlive(h)
}
