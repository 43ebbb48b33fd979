package crdt_test

import (
	"bytes"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// coreDocument is what the core saves for these changes.
func coreDocument(t testing.TB, changes []*crdt.Change) []byte {
	t.Helper()
	doc := automerge.New()
	require.NoError(t, doc.LoadIncremental(join(changes)))
	return doc.Save()
}

func join(changes []*crdt.Change) []byte {
	var b bytes.Buffer
	for _, c := range changes {
		b.Write(c.Raw())
	}
	return b.Bytes()
}

// requireDocument parses a document and checks that its changes are what
// ParseChange has of each, and that a history takes them in that order.
func requireDocument(t testing.TB, chunk []byte) ([]*crdt.Change, *crdt.History) {
	t.Helper()
	changes, err := crdt.ParseDocument(chunk)
	require.NoError(t, err)
	h := crdt.NewHistory()
	for _, c := range changes {
		parsed, err := crdt.ParseChange(c.Raw())
		require.NoError(t, err)
		require.Equal(t, crdt.Fields(parsed), crdt.Fields(c))
		added, err := h.Add(c)
		require.NoError(t, err)
		require.True(t, added)
	}
	return changes, h
}

// The core's documents give the changes that they were made of.
func TestDocumentsOfTheCore(t *testing.T) {
	for seed := range uint64(100) {
		var changes []*crdt.Change
		rng := seeded(t, seed)
		for _, c := range coreHistory(t, rng, 5+rng.IntN(60)) {
			changes = append(changes, parseAll(t, [][]byte{c.Save()})...)
		}
		got, h := requireDocument(t, coreDocument(t, changes))
		require.Len(t, got, len(changes))
		require.Equal(t, headsOf(replay(t, changes)), headsOf(h))
	}
}

// The same of what JavaScript wrote, in any order of its changes.
func TestDocumentsOfJavaScriptChanges(t *testing.T) {
	for file, chunks := range vectors(t) {
		changes := parseAll(t, chunks)
		rng := seeded(t, 1)
		for range 5 {
			_, h := requireDocument(t, coreDocument(t, shuffled(rng, changes)))
			require.Equal(t, headsOf(replay(t, changes)), headsOf(h), file)
		}
	}
}
