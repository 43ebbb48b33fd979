package crdt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// FuzzParseChange feeds the input as a chunk, and as the data of one.
func FuzzParseChange(f *testing.F) {
	for _, chunks := range vectors(f) {
		for _, chunk := range chunks {
			if len(chunk) < 400 {
				f.Add(chunk)
			}
			if c, err := crdt.ParseChange(chunk); err == nil && len(c.Raw()) < 400 {
				f.Add(unseal(c.Raw()))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		requireCanonical(t, b)
		requireCanonical(t, seal(b))
		for len(b) > 0 {
			chunk, rest, err := crdt.NextChunk(b)
			if err != nil {
				break
			}
			require.Equal(t, len(b), len(chunk)+len(rest))
			b = rest
		}
	})
}

// FuzzParseJSON checks that what is read is written and read again as the same.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e3,true,null,"\u00e9\ud834\udd1e"],"":{}}`,
		`{"$map":{"$map":{"$counter":1}}}`, `[{"$counter":1},{"$bytes":"AA=="},{"$text":"x"}]`,
		`{"$time":"2026-01-02T03:04:05.678+01:00"}`, `{"$time":-99999999999999}`, `{"$float":"-Infinity"}`,
		`18446744073709551615`, `[[[[[[]]]]]]`, `{"$map":{},"b":{"$map":{}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := crdt.ParseJSON(b)
		if err != nil {
			var e *crdt.JSONError
			require.ErrorAs(t, err, &e)
			require.LessOrEqual(t, e.Offset, len(b))
			return
		}
		once, err := crdt.AppendJSON(nil, v)
		require.NoError(t, err)
		again, err := crdt.ParseJSON(once)
		require.NoError(t, err)
		twice, err := crdt.AppendJSON(nil, again)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
	})
}
