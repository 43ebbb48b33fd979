package crdt_test

import (
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// TestHistoryOfJavaScript adds what JavaScript wrote (texts, marks, blocks, empty
// keys, conflicts) in several orders and compares with the core after every
// change.
func TestHistoryOfJavaScript(t *testing.T) {
	for file, chunks := range vectors(t) {
		t.Run(file, func(t *testing.T) {
			rng := seeded(t, 1)
			changes := make([]*crdt.Change, len(chunks))
			for i, chunk := range chunks {
				var err error
				changes[i], err = crdt.ParseChange(chunk)
				require.NoError(t, err)
			}
			for range 5 {
				h, doc := crdt.NewHistory(), automerge.New()
				for _, c := range shuffled(rng, changes) {
					_, err := h.Add(c)
					require.NoError(t, err)
					require.NoError(t, doc.LoadIncremental(c.Raw()))
					require.Equal(t, coreHeads(doc), headsOf(h))
					require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil))
				}
			}
		})
	}
}
