package crdt_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// deflateZeros returns n zeros, compressed. Blocks of zeros are all alike, so one
// is compressed and repeated.
func deflateZeros(t testing.TB, n int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 1<<16))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	block := bytes.Clone(b.Bytes())
	b.Reset()
	require.NoError(t, w.Close())
	return append(bytes.Repeat(block, n>>16), b.Bytes()...)
}

func appendUvarint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// appendSvarint appends signed LEB128.
func appendSvarint(b []byte, n int64) []byte {
	for n < -0x40 || n >= 0x40 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n)&0x7f)
}
