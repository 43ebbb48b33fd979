package crdt_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// seal puts a change's data into a chunk with the right length and checksum.
func seal(data []byte) []byte {
	b := append([]byte("\x85\x6f\x4a\x83\x00\x00\x00\x00\x01"), binary.AppendUvarint(nil, uint64(len(data)))...)
	b = append(b, data...)
	sum := sha256.Sum256(b[8:])
	copy(b[4:], sum[:4])
	return b
}

// unseal returns a plain chunk's data.
func unseal(chunk []byte) []byte {
	n, size := binary.Uvarint(chunk[9:])
	return chunk[9+size:][:n]
}

// requireCanonical parses a chunk that may be anything. What is taken has to be
// encoded again as it came.
func requireCanonical(t testing.TB, chunk []byte) bool {
	c, err := crdt.ParseChange(chunk)
	if err != nil {
		var invalid *crdt.InvalidError
		require.ErrorAs(t, err, &invalid)
		return false
	}
	raw, hash, err := crdt.Reencode(c)
	require.NoError(t, err)
	if string(raw) != string(c.Raw()) || hash != c.Hash() {
		require.Equal(t, fmt.Sprintf("%x", c.Raw()), fmt.Sprintf("%x", raw))
	}
	return true
}

// mutate changes, inserts, removes, doubles or zeroes a few bytes.
func mutate(rng *rand.Rand, data []byte, other []byte) []byte {
	b := append([]byte(nil), data...)
	for range 1 + rng.IntN(3) {
		if len(b) == 0 {
			return b
		}
		at := rng.IntN(len(b))
		n := min(1+rng.IntN(4), len(b)-at)
		switch rng.IntN(8) {
		case 0, 1:
			b[at] ^= 1 << rng.IntN(8)
		case 2:
			b[at] = byte(rng.Uint32())
		case 3:
			b[at] = []byte{0, 1, 2, 0x7e, 0x7f, 0x80, 0xff}[rng.IntN(7)]
		case 4:
			b = append(b[:at], b[at+n:]...)
		case 5:
			b = append(b[:at:at], append([]byte{byte(rng.Uint32())}, b[at:]...)...)
		case 6:
			b = append(b[:at:at], append(append([]byte(nil), b[at:at+n]...), b[at:]...)...)
		case 7:
			from := rng.IntN(len(other))
			b = append(b[:at:at], append(append([]byte(nil), other[from:min(len(other), from+n)]...), b[at:]...)...)
		}
	}
	return b
}

// Whatever is mutated and then sealed again is refused, or it is canonical.
func TestMutantsAreRefusedOrCanonical(t *testing.T) {
	rng := seeded(t, 7)
	var seeds [][]byte
	for _, chunks := range vectors(t) {
		for _, chunk := range chunks {
			c, err := crdt.ParseChange(chunk)
			require.NoError(t, err)
			seeds = append(seeds, unseal(c.Raw()))
		}
	}
	for range 4 {
		for _, core := range coreHistory(t, rng, 20) {
			c, err := crdt.ParseChange(core.Save())
			require.NoError(t, err)
			seeds = append(seeds, unseal(c.Raw()))
		}
	}
	mutants := 200_000
	if testing.Short() {
		mutants = 10_000
	}
	taken := 0
	for range mutants {
		mutant := mutate(rng, seeds[rng.IntN(len(seeds))], seeds[rng.IntN(len(seeds))])
		if requireCanonical(t, seal(mutant)) {
			taken++
		}
	}
	t.Logf("%d mutants of %d changes, %d taken", mutants, len(seeds), taken)
	require.Greater(t, taken, mutants/50, "the mutants do not get past the surface")
}
