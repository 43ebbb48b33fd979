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
// taken is the change that its plain form is.
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
		for data, chunk := range map[string][]byte{string(plain): deflatedChunk(plain, b), string(b): deflated(t, b)} {
			requireCanonical(t, chunk)
			want, plainErr := crdt.ParseChange(seal([]byte(data)))
			got, err := crdt.ParseChange(chunk)
			if err != nil {
				continue
			}
			require.NoError(t, plainErr)
			require.Equal(t, want.Hash(), got.Hash())
			require.Equal(t, want.Raw(), got.Raw())
		}
	})
}
