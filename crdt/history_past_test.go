package crdt_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// TestPast holds the stored clocks against a walk over dependencies, with up to
// 600 actors, whose clocks have three levels.
func TestPast(t *testing.T) {
	for seed, actors := range map[uint64]int{1: 2, 2: 5, 3: 40, 4: 600} {
		t.Run(fmt.Sprint(actors), func(t *testing.T) {
			rng := seeded(t, seed)
			h := crdt.NewHistory()
			var all []*crdt.Change
			past := map[crdt.Hash]map[*crdt.Change]bool{} // itself included
			last := map[crdt.ActorID]*crdt.Change{}
			for i := range max(200, 2*actors) {
				actor := crdt.ActorID(fmt.Sprintf("actor%03d", rng.IntN(actors)))
				d := crdt.Draft{Actors: []crdt.ActorID{actor}, Seq: 1, StartOp: 1,
					Ops: []crdt.Op{set(fmt.Sprint(i), crdt.Null())}}
				in := map[*crdt.Change]bool{}
				deps := map[*crdt.Change]bool{}
				if c := last[actor]; c != nil {
					d.Seq = c.Seq() + 1
					deps[c] = true
				}
				for range rng.IntN(3) {
					if len(all) > 0 {
						deps[all[max(0, len(all)-1-rng.IntN(20))]] = true
					}
				}
				for c := range deps {
					d.Deps = append(d.Deps, c.Hash())
					for p := range past[c.Hash()] {
						in[p] = true
						d.StartOp = max(d.StartOp, p.MaxOp()+1)
					}
				}
				for range 20 {
					if len(all) > 0 && len(d.Deps) > 0 {
						c := all[rng.IntN(len(all))]
						require.Equal(t, in[c], h.InPast(d.Deps, actor, c))
					}
				}
				c := build(t, d)
				_, err := h.Add(c)
				require.NoError(t, err)
				in[c] = true
				past[c.Hash()], last[actor] = in, c
				all = append(all, c)
			}
		})
	}
}

// TestManyActors: a chain of 20,000 changes by as many actors takes memory in
// proportion, though each change's past names all before it.
func TestManyActors(t *testing.T) {
	const n = 20_000
	h := crdt.NewHistory()
	for i := range n {
		e := h.Begin(crdt.ActorID(fmt.Sprintf("actor%08d", i)), 1.7e12, nil)
		require.NoError(t, e.Put(key("k"), int64(i), crdt.Merge))
		_, err := e.Commit("")
		require.NoError(t, err)
	}
	require.Less(t, h.Size(), n*2000)
}
