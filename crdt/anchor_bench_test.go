package crdt_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// BenchmarkPlaces asks for positions in a text of 200,000 characters: between
// edits, as an editor does.
func BenchmarkPlaces(b *testing.B) {
	h := crdt.NewHistory()
	put(b, h, "t", crdt.Text(strings.Repeat("größe€𝄞 x", 22_000)), crdt.Merge)
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 190_000
	anchors := make([]crdt.Anchor, 1000)
	for i := range anchors {
		a, err := h.AnchorAt(textPath, nil, rng.IntN(n), crdt.Behind)
		require.NoError(b, err)
		anchors[i] = a
	}
	convert := func(b *testing.B) {
		if _, err := h.Convert(textPath, nil, rng.IntN(n), crdt.UTF16, crdt.CodePoints); err != nil {
			b.Fatal(err)
		}
	}
	edit := func(b *testing.B) {
		e := h.Begin(replica1.Actor([8]byte{}), 2e12, nil)
		if err := e.Splice(textPath, rng.IntN(n), 1, "é"); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Commit(""); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("anchor", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := h.Position(textPath, nil, anchors[i%len(anchors)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("convert", func(b *testing.B) {
		for b.Loop() {
			convert(b)
		}
	})
	b.Run("edit", func(b *testing.B) {
		for b.Loop() {
			edit(b)
		}
	})
	b.Run("edit+convert", func(b *testing.B) {
		for b.Loop() {
			edit(b)
			convert(b)
		}
	})
}
