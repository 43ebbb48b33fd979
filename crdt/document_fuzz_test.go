package crdt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// FuzzParseDocument feeds the input as a file, as the data of a document, and as
// one whose heads are corrected. What is accepted and makes a history is the same
// to the core.
func FuzzParseDocument(f *testing.F) {
	for _, file := range corpus(f) {
		if len(file.data) < 1500 {
			f.Add(file.data)
		}
		chunk, rest, err := crdt.NextChunk(file.data)
		require.NoError(f, err)
		if len(rest) > 0 || chunk[8] != 0 || len(chunk) > 1500 {
			continue
		}
		d, err := crdt.OpenDocument(chunk)
		require.NoError(f, err)
		f.Add(unseal(d.Chunk()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		requireSound(t, b)
		chunk := crdt.SealChunk(0, b)
		requireSound(t, chunk)
		if d, err := crdt.OpenDocument(chunk); err == nil {
			d.FixHeads()
			requireSound(t, d.Chunk())
		}
	})
}

func requireSound(t *testing.T, b []byte) {
	changes := requireHarmless(t, b)
	h := crdt.NewHistory()
	for _, c := range changes {
		if _, err := h.Add(c); err != nil {
			return
		}
	}
	if h.Len() > 0 {
		requireCoreAgrees(t, changes, h)
	}
}
