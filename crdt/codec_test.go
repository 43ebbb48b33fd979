package crdt_test

import (
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// The core's changes are read, and written back byte for byte.
func TestCodecIsByteExactAgainstTheCore(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	n := 0
	for seed := range uint64(rounds) {
		for _, core := range coreHistory(t, seeded(t, seed), 25) {
			c, err := crdt.ParseChange(core.Save())
			require.NoError(t, err)
			requireSame(t, core, c)
			n++
		}
	}
	t.Logf("%d changes", n)
}

func requireSame(t testing.TB, core *automerge.Change, c *crdt.Change) {
	t.Helper()
	raw, hash, err := crdt.Reencode(c)
	require.NoError(t, err)
	require.Equal(t, c.Raw(), raw)
	require.Equal(t, c.Hash(), hash)
	require.Equal(t, core.Hash().String(), c.Hash().String())
	require.Equal(t, core.ActorID(), c.Actor().String())
	require.Equal(t, core.ActorSeq(), c.Seq())
	require.Equal(t, core.Message(), c.Message())
	require.Len(t, c.Deps(), len(core.Dependencies()))
	for i, d := range core.Dependencies() {
		require.Equal(t, d.String(), c.Deps()[i].String())
	}
	require.Equal(t, core.Save(), c.Raw())
}

// The core loads what was encoded here, and saves and loads it again.
func TestCoreLoadsWhatIsEncoded(t *testing.T) {
	for seed := range uint64(10) {
		changes := coreHistory(t, seeded(t, seed), 25)
		want := automerge.New()
		got := automerge.New()
		var theirs, ours []byte
		for _, core := range changes {
			c, err := crdt.ParseChange(core.Save())
			require.NoError(t, err)
			raw, _, err := crdt.Reencode(c)
			require.NoError(t, err)
			theirs, ours = append(theirs, core.Save()...), append(ours, raw...)
		}
		require.NoError(t, want.LoadIncremental(theirs))
		require.NoError(t, got.LoadIncremental(ours))
		require.Equal(t, want.Heads(), got.Heads())
		again, err := automerge.Load(got.Save())
		require.NoError(t, err)
		require.Equal(t, want.Heads(), again.Heads())
	}
}
