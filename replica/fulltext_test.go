//go:build sqlite_fts5

package replica_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// TestFullTextSearch: a search sees what was committed before it, by whatever way it came.
func TestFullTextSearch(t *testing.T) {
	r := torn(t, 300)
	require.NoError(t, r.EnsureText(t.Context(), "notes", "by"))
	found := func(words string) int { return len(queryIDs(t, r, replica.Query{Where: replica.Search(words)})) }
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLWW}, func(int) { cancel() }), context.Canceled)
	require.Equal(t, 300, found("b"))
	require.Zero(t, found("a"))
	put(t, r, "0001", `{"by":"somebody else"}`)
	require.Equal(t, 299, found("b"))
	require.Equal(t, 1, found("some* ELSE"))
	require.NoError(t, r.Update(t.Context(), func(tx *replica.Tx) error {
		for i := range 700 {
			if err := tx.Put(key(fmt.Sprintf("n%d", i)), map[string]any{"by": []any{"nobody", "else"}}); err != nil {
				return err
			}
		}
		return tx.Delete(key("0001"))
	}))
	require.Equal(t, 700, found("else"))
	n, err := r.Count(t.Context(), replica.Query{Collection: "notes", Where: replica.And(replica.Search("nobody"), replica.Where("$id", replica.Lt, "n2"))})
	require.NoError(t, err)
	require.Equal(t, int64(2+10+100), n)
	require.NoError(t, r.EnsureText(t.Context(), "notes"))
	_, err = r.Count(t.Context(), replica.Query{Collection: "notes", Where: replica.Search("b")})
	var e *replica.QueryError
	require.ErrorAs(t, err, &e)
	requireClean(t, r)
}
