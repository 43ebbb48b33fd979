package crdt_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// FuzzParseDeflated feeds the input as the compressed stream of a deflated change,
// with the checksum of what it inflates to, and as data to be compressed. What is
// taken is the change that its plain form is, and the latter is taken if that is.
func FuzzParseDeflated(f *testing.F) {
	for _, chunks := range vectors(f) {
		for _, chunk := range chunks {
			if c, err := crdt.ParseChange(chunk); err == nil && len(c.Raw()) < 400 {
				packed := deflated(f, unseal(c.Raw()))[9:]
				_, n := binary.Uvarint(packed)
				f.Add(packed[n:])
				f.Add(unseal(c.Raw()))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, _ := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 1<<20)) // as far as it is one
		requireLikePlain(t, deflatedChunk(plain, b), plain)
		taken := requireLikePlain(t, deflated(t, b), b)
		_, err := crdt.ParseChange(seal(b))
		require.Equal(t, err == nil, taken, "%v", err)
	})
}

// requireLikePlain parses a deflated change with the given data, and reports whether
// it is taken. Then it is what the plain one is.
func requireLikePlain(t *testing.T, chunk, data []byte) bool {
	if !requireCanonical(t, chunk) {
		return false
	}
	got, err := crdt.ParseChange(chunk)
	require.NoError(t, err)
	want, err := crdt.ParseChange(seal(data))
	require.NoError(t, err)
	require.Equal(t, want.Hash(), got.Hash())
	require.Equal(t, want.Raw(), got.Raw())
	return true
}
