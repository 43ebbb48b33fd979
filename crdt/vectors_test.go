package crdt_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// vectors returns the chunks of JavaScript-authored documents, by file.
func vectors(t testing.TB) map[string][][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/js/*.changes")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string][][]byte{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for len(b) > 0 {
			var chunk []byte
			chunk, b, err = crdt.NextChunk(b)
			require.NoError(t, err)
			all[filepath.Base(file)] = append(all[filepath.Base(file)], chunk)
		}
	}
	return all
}

// JavaScript's changes are read, and written back byte for byte.
func TestCodecIsByteExactAgainstJavaScript(t *testing.T) {
	for file, chunks := range vectors(t) {
		doc := automerge.New()
		require.NoError(t, doc.LoadIncremental(bytes.Join(chunks, nil)), file)
		for _, chunk := range chunks {
			c, err := crdt.ParseChange(chunk)
			require.NoError(t, err, file)
			core, err := doc.Change(automerge.ChangeHash(c.Hash()))
			require.NoError(t, err, file)
			requireSame(t, core, c)
		}
	}
}

// Between them the vectors hold every action and every kind of value.
func TestVectorsCoverTheFormat(t *testing.T) {
	actions, kinds := map[crdt.Action]int{}, map[crdt.Kind]int{}
	features := map[string]int{}
	for _, chunks := range vectors(t) {
		for _, chunk := range chunks {
			c, err := crdt.ParseChange(chunk)
			require.NoError(t, err)
			if len(c.Actors()) > 2 {
				features["three actors"]++
			}
			for _, op := range c.Ops() {
				actions[op.Action]++
				kinds[op.Value.Kind()]++
				if op.Expand {
					features["expand"]++
				}
				if op.InMap && op.Key == "" {
					features["empty key"]++
				}
				if len(op.Pred) > 1 {
					features["conflict settled"]++
				}
			}
		}
	}
	require.Len(t, actions, 7, "%v", actions)
	require.Len(t, kinds, 10, "%v", kinds)
	require.Len(t, features, 4, "%v", features)
}
