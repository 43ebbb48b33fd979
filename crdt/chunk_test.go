package crdt_test

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// oneField returns the chunk of a change that the core made: one string, put
// twice, so that it has a predecessor.
func oneField(t testing.TB) []byte {
	d := automerge.New()
	require.NoError(t, d.SetActorID("00112233445566778899aabbccddeeff"))
	require.NoError(t, d.RootMap().Set("title", "before"))
	_, err := d.Commit("")
	require.NoError(t, err)
	require.NoError(t, d.RootMap().Set("title", "after that"))
	hash, err := d.Commit("")
	require.NoError(t, err)
	c, err := d.Change(hash)
	require.NoError(t, err)
	return c.Save()
}

// A chunk that inflates to far more than is taken is not inflated whole.
func TestDeflatedBombIsNotInflated(t *testing.T) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	require.NoError(t, err)
	for range 128 {
		_, err = w.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	chunk := deflatedChunk(nil, b.Bytes())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	requireCode(t, crdt.CodeSize, chunk, "bomb")
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d bytes allocated", allocated)
	require.Less(t, allocated, uint64(16*crdt.MaxChangeSize), "less than it would inflate to")
}

// deflated returns a type 2 chunk with this data, its checksum over the plain form.
func deflated(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return deflatedChunk(data, b.Bytes())
}

func deflatedChunk(data, packed []byte) []byte {
	sum := sha256.Sum256(seal(data)[8:])
	chunk := append([]byte("\x85\x6f\x4a\x83"), sum[:4]...)
	chunk = append(chunk, 2)
	return append(binary.AppendUvarint(chunk, uint64(len(packed))), packed...)
}

// The core takes the same deflated chunks, and means the same change by them.
func TestDeflatedChanges(t *testing.T) {
	for seed := range uint64(5) {
		doc := automerge.New()
		var chunks [][]byte
		for _, core := range coreHistory(t, seeded(t, seed), 10) {
			chunks = append(chunks, deflated(t, unseal(core.Save())))
		}
		require.NoError(t, doc.LoadIncremental(bytes.Join(chunks, nil)))
		for _, chunk := range chunks {
			c, err := crdt.ParseChange(chunk)
			require.NoError(t, err)
			core, err := doc.Change(automerge.ChangeHash(c.Hash()))
			require.NoError(t, err)
			requireSame(t, core, c)
		}
	}
}

func TestDeflatedBounds(t *testing.T) {
	data := unseal(oneField(t))
	chunk := deflated(t, data)
	c, err := crdt.ParseChange(chunk)
	require.NoError(t, err)
	require.Equal(t, seal(data), c.Raw())

	packed := chunk[10:]
	for name, bad := range map[string][]byte{
		"trailing":   deflatedChunk(data, append(bytes.Clone(packed), 0)),
		"truncated":  deflatedChunk(data, packed[:len(packed)-1]),
		"no deflate": deflatedChunk(data, []byte("\xff\xff\xff")),
		"checksum":   deflatedChunk(append(bytes.Clone(data), 1), packed),
		"empty":      deflatedChunk(nil, nil),
	} {
		requireCode(t, crdt.CodeChunk, bad, name)
	}
	requireCode(t, crdt.CodeSize, deflated(t, make([]byte, crdt.MaxChangeSize)), "bomb")
	requireCode(t, crdt.CodeSize, deflated(t, make([]byte, crdt.MaxChangeSize-5)), "header counts")
}

func TestChunkContainer(t *testing.T) {
	good := oneField(t)
	_, err := crdt.ParseChange(good)
	require.NoError(t, err)
	long := append([]byte(nil), good[:9]...) // the length in two bytes where one is enough
	long = append(append(long, good[9]|0x80, 0), good[10:]...)
	sum := sha256.Sum256(long[8:])
	copy(long[4:], sum[:4])
	for name, bad := range map[string][]byte{
		"nothing":            nil,
		"magic":              append([]byte{1}, good[1:]...),
		"header only":        good[:9],
		"truncated":          good[:len(good)-1],
		"trailing":           append(bytes.Clone(good), 0),
		"checksum":           append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"document":           withType(good, 0),
		"bundle":             withType(good, 3),
		"unknown":            withType(good, 9),
		"length not minimal": long,
		"length overflows":   append(bytes.Clone(good[:9]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
	} {
		requireCode(t, crdt.CodeChunk, bad, name)
	}
	requireCode(t, crdt.CodeSize, make([]byte, crdt.MaxChangeSize+1), "too large")
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			_, err := crdt.ParseChange(bad)
			require.Error(t, err, "byte %d, bit %d", i, bit)
		}
	}
}

func withType(chunk []byte, t byte) []byte {
	b := bytes.Clone(chunk)
	b[8] = t
	return b
}

func requireCode(t testing.TB, code string, chunk []byte, name string) {
	t.Helper()
	_, err := crdt.ParseChange(chunk)
	var invalid *crdt.InvalidError
	require.ErrorAs(t, err, &invalid, name)
	require.Equal(t, code, invalid.Code, "%s: %v", name, err)
}

func TestNextChunk(t *testing.T) {
	one := oneField(t)
	file := append(append(bytes.Clone(one), one...), "tail"...)
	for range 2 {
		chunk, rest, err := crdt.NextChunk(file)
		require.NoError(t, err)
		require.Equal(t, one, chunk)
		file = rest
	}
	require.Equal(t, "tail", string(file))
	_, _, err := crdt.NextChunk(file)
	require.Error(t, err)
	_, _, err = crdt.NextChunk(one[:20])
	require.Error(t, err)
}

// A change keeps nothing of the memory it was read from.
func TestParsedChangesShareNothing(t *testing.T) {
	chunk := oneField(t)
	c, err := crdt.ParseChange(chunk)
	require.NoError(t, err)
	clear(chunk)
	require.Equal(t, "title", c.Ops()[0].Key)
	require.Equal(t, "after that", c.Ops()[0].Value.Str())
	require.True(t, requireCanonical(t, c.Raw()))
}
