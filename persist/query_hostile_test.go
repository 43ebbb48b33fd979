package persist_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// TestHostileStringsAreStrings makes fields and values of what SQL and JSON paths are
// made of. A query by them finds the record that has them and no other, or is refused
// as a query; SQLite never complains.
func TestHostileStringsAreStrings(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	parts := []string{"'", `"`, "''", ";", "--", "/*", "*/", ")", "(", "?", "?1", ":a", "$", "@", "#", "[", "]", ".", "\\", "\x00", "\n",
		" ", "%", "_", "x'00'", " OR 1=1", "DROP TABLE records", "ü", "\u2028", "json", "$id", "$time", "{", "}", ",", "a", "b", "0"}
	text := func() (s string) {
		for range 1 + rnd.IntN(5) {
			s += parts[rnd.IntN(len(parts))]
		}
		return s
	}
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	ctx := context.Background()
	found, refused := 0, 0
	for range 60 {
		name, value, other := text(), text(), text()
		object, err := crdt.AppendJSON(nil, map[string]any{name: value, "other": []any{other}})
		require.NoError(t, err)
		shown(t, s, map[string]string{"one": string(object), "two": `{"x":1}`})
		field := crdt.Path{{Key: name}}.String()
		for _, c := range []persist.Cond{
			persist.Where(field, persist.Eq, value),
			persist.Where(field, persist.In, []string{value, other}),
			persist.Where(field, persist.Prefix, value),
			persist.Where(field, persist.Contains, string([]rune(value)[:1])),
			persist.And(persist.Where(field, persist.Ge, value), persist.Where(field, persist.Le, value)),
			persist.Where("other", persist.Contains, other),
		} {
			got, err := queryIDs(s, persist.Query{Where: c, OrderBy: []persist.Order{{Field: field}}})
			var e *persist.QueryError
			if errors.As(err, &e) {
				refused++
				continue
			}
			require.NoError(t, err, "%q", name)
			require.Equal(t, []string{"one"}, got, "field %q, value %q", name, value)
			found++
		}
		for _, raw := range []string{name, value} { // as they are, which most are no path as
			_, err := queryIDs(s, persist.Query{Where: persist.Where(raw, persist.Eq, value)})
			var e *persist.QueryError
			require.True(t, err == nil || errors.As(err, &e), "%q: %v", raw, err)
		}
		err = s.Read(ctx, func(r *persist.Reader) error {
			_, err := r.Count(ctx, persist.Query{Collection: name, Where: persist.Where("x", persist.Eq, value)})
			return err
		})
		var e *persist.QueryError
		require.True(t, err == nil || errors.As(err, &e), "%q: %v", name, err)
	}
	require.NotZero(t, found)
	require.NotZero(t, refused, "keys with quotes")
}
