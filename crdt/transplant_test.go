package crdt_test

import (
	"fmt"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// TestTransplant writes a branch of each random history anew. Beside the rest it
// makes a history that the core takes, saves, loads and shows alike; in whichever
// order the branch was added, the bytes are the same; and it shows what the original
// showed, but for who wins among equals.
func TestTransplant(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			var changes []*crdt.Change
			for _, c := range coreHistory(t, rng, 30) {
				parsed, err := crdt.ParseChange(c.Save())
				require.NoError(t, err)
				changes = append(changes, parsed)
			}
			root := changes[rng.IntN(len(changes))]
			branch, rest := branchOf(changes, root.Hash())
			anew, err := crdt.Transplant(branch)
			require.NoError(t, err)
			require.Equal(t, crdt.TransplantActor(root.Actor(), root.Hash()), anew[0].Actor())

			h, doc := crdt.NewHistory(), automerge.New()
			for _, c := range append(rest, anew...) {
				added, err := h.Add(c)
				require.NoError(t, err)
				require.True(t, added)
				require.NoError(t, doc.LoadIncremental(c.Raw()))
			}
			doc, err = automerge.Load(doc.Save())
			require.NoError(t, err)
			require.Equal(t, coreHeads(doc), headsOf(h))
			require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil))

			again, _ := branchOf(shuffled(rng, changes), root.Hash())
			other, err := crdt.Transplant(again)
			require.NoError(t, err)
			require.Equal(t, rawSet(anew), rawSet(other))
			for i, c := range anew {
				require.Equal(t, branch[i].Time(), c.Time())
				require.Equal(t, branch[i].Message(), c.Message())
				require.Equal(t, branch[i].StartOp(), c.StartOp())
				require.Len(t, c.Ops(), len(branch[i].Ops()))
			}
		})
	}
}

// branchOf returns the change and what builds on it, and the others.
func branchOf(changes []*crdt.Change, root crdt.Hash) (branch, rest []*crdt.Change) {
	in := map[crdt.Hash]bool{root: true}
	for _, c := range changes {
		for _, d := range c.Deps() {
			in[c.Hash()] = in[c.Hash()] || in[d]
		}
		if in[c.Hash()] {
			branch = append(branch, c)
		} else {
			rest = append(rest, c)
		}
	}
	return branch, rest
}

func rawSet(changes []*crdt.Change) map[string]bool {
	set := map[string]bool{}
	for _, c := range changes {
		set[string(c.Raw())] = true
	}
	return set
}
