package crdt_test

import (
	"strings"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func BenchmarkParseOneField(b *testing.B) {
	chunk := oneField(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := crdt.ParseChange(chunk); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeOneField(b *testing.B) {
	c, err := crdt.ParseChange(oneField(b))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := crdt.Reencode(c); err != nil {
			b.Fatal(err)
		}
	}
}

// manyOps returns a change of 20,000 characters typed and 10,000 deleted.
func manyOps(b *testing.B) []byte {
	d := automerge.New()
	text := automerge.NewText(strings.Repeat("lorem ipsum ", 1667))
	require.NoError(b, d.RootMap().Set("text", text))
	require.NoError(b, text.Delete(3000, 10000))
	hash, err := d.Commit("")
	require.NoError(b, err)
	c, err := d.Change(hash)
	require.NoError(b, err)
	return c.Save()
}

func BenchmarkParseText(b *testing.B) {
	chunk := manyOps(b)
	c, err := crdt.ParseChange(chunk)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := crdt.ParseChange(chunk); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(c.Ops())), "ns/operation")
}

func BenchmarkEncodeText(b *testing.B) {
	c, err := crdt.ParseChange(manyOps(b))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := crdt.Reencode(c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(c.Ops())), "ns/operation")
}

const record = `{"name":"Österreich","cca2":"AT","area":83871.0,"population":8901064,"borders":["CZE","DEU","HUN","ITA"],` +
	`"latlng":[47.33333333,13.33333333],"languages":{"bar":"Austro-Bavarian German"},"since":{"$time":"1955-07-27T00:00:00Z"}}`

func BenchmarkParseJSON(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		if _, err := crdt.ParseJSON([]byte(record)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	v, err := crdt.ParseJSON([]byte(record))
	require.NoError(b, err)
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	var dst []byte
	for b.Loop() {
		if dst, err = crdt.AppendJSON(dst[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}
