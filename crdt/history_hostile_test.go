package crdt_test

import (
	"fmt"
	"testing"

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
