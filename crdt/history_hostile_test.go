package crdt_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/automerge/automerge-go"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// TestClockBomb: two branches by many actors each, and changes that each merge
// another pair of places in them, so that no two pasts have anything in common.
// Kept whole they take memory by the square of what was sent; they are refused
// before that, and edits on all heads never are.
func TestClockBomb(t *testing.T) {
	const actors = 8000
	h := crdt.NewHistory()
	add := func(actor string, op uint64, deps ...*crdt.Change) (*crdt.Change, error) {
		d := crdt.Draft{Actors: []crdt.ActorID{crdt.ActorID(actor)}, Seq: 1, StartOp: op, Ops: []crdt.Op{set("k"+actor, crdt.Null())}}
		for _, c := range deps {
			d.Deps = append(d.Deps, c.Hash())
		}
		c := build(t, d)
		_, err := h.Add(c)
		return c, err
	}
	var branches [2][]*crdt.Change
	for i := range actors {
		for k := range branches {
			c, err := add(fmt.Sprintf("%d-%d", k, i), uint64(i+1), branches[k][max(0, i-1):i]...)
			require.NoError(t, err)
			branches[k] = append(branches[k], c)
		}
	}
	var err error
	merged := 0
	for err == nil && merged < actors {
		_, err = add(fmt.Sprint("m", merged), actors+1, branches[0][actors-1-merged], branches[1][merged])
		merged++
	}
	var invalid *crdt.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, crdt.CodeSize, invalid.Code)
	require.Greater(t, merged, 500)
	require.Less(t, h.Size(), 160<<20)
	require.NotNil(t, put(t, h, "mine", 1, crdt.Merge))
	require.NotNil(t, put(t, h, "mine", 2, crdt.Merge))
}

// TestManyCandidates: one key that two actors write to very often, each time
// without naming what it overwrites, and then overwrite from the top.
func TestManyCandidates(t *testing.T) {
	const n = 200_000
	h := crdt.NewHistory()
	ops := make([]crdt.Op, n)
	for i := range ops {
		ops[i] = set("k", crdt.Int(int64(i)))
	}
	start := time.Now()
	var deps []crdt.Hash
	for _, a := range []crdt.ActorID{actorA, actorB} {
		c := build(t, crdt.Draft{Actors: []crdt.ActorID{a}, Seq: 1, StartOp: 1, Ops: ops})
		_, err := h.Add(c)
		require.NoError(t, err)
		deps = append(deps, c.Hash())
	}
	over := crdt.Draft{Actors: []crdt.ActorID{actorC, actorA, actorB}, Seq: 1, StartOp: n + 1, Deps: deps}
	for i := uint32(n); i > 1; i-- {
		over.Ops = append(over.Ops, crdt.Op{InMap: true, Key: "k", Action: crdt.Del, Pred: []crdt.Ref{{Actor: 2, Counter: i}, {Actor: 1, Counter: i}}[i%2 : i%2+1]})
	}
	_, err := h.Add(build(t, over))
	require.NoError(t, err)
	require.Less(t, time.Since(start), 10*time.Second)
	c := h.Conflicts(nil)[0].Candidates
	require.Len(t, c, n+1)
	require.Equal(t, crdt.OpID{Counter: n, Actor: actorA}, c[0].Op)
}

// TestRivals has many actors overwrite each other's values of one key, some of
// them at a time, and compares with the core.
func TestRivals(t *testing.T) {
	rng := seeded(t, 1)
	h, doc := crdt.NewHistory(), automerge.New()
	type write struct {
		actor crdt.ActorID
		op    uint32
	}
	var visible []write
	add := func(i int, deps []crdt.Hash, start uint64, preds []write) {
		d := crdt.Draft{Actors: []crdt.ActorID{crdt.ActorID(fmt.Sprintf("a%03d", i))}, Seq: 1, StartOp: start, Deps: deps}
		for _, p := range preds {
			d.Actors = append(d.Actors, p.actor)
		}
		slices.Sort(d.Actors[1:])
		var refs []crdt.Ref
		for _, p := range preds {
			refs = append(refs, crdt.Ref{Actor: uint32(slices.Index(d.Actors[1:], p.actor) + 1), Counter: p.op})
		}
		slices.SortFunc(refs, func(a, b crdt.Ref) int {
			return cmp.Or(cmp.Compare(a.Counter, b.Counter), cmp.Compare(a.Actor, b.Actor))
		})
		d.Ops = []crdt.Op{set("k", crdt.Int(int64(i)), refs...)}
		c := build(t, d)
		_, err := h.Add(c)
		require.NoError(t, err)
		require.NoError(t, doc.LoadIncremental(c.Raw()))
		require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil))
		visible = append(visible, write{c.Actor(), uint32(start)})
	}
	for i := range 80 {
		add(i, nil, 1, nil)
	}
	for i := 80; i < 240; i++ {
		rng.Shuffle(len(visible), func(a, b int) { visible[a], visible[b] = visible[b], visible[a] })
		n := min(rng.IntN(4), len(visible)-1)
		over := visible[:n:n]
		visible = visible[n:]
		add(i, h.Heads(), h.MaxOp()+1, over)
		if len(visible) > 1 {
			require.Len(t, h.Conflicts(nil)[0].Candidates, len(visible))
		}
	}
}
