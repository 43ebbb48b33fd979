//go:build sqlite_fts5

package replica_test

import (
	"context"
	"database/sql"
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
	st, err := r.Stats(t.Context())
	require.NoError(t, err)
	require.Greater(t, st.Bytes.Texts, int64(500))
	n, err := r.Count(t.Context(), replica.Query{Collection: "notes", Where: replica.And(replica.Search("nobody"), replica.Where("$id", replica.Lt, "n2"))})
	require.NoError(t, err)
	require.Equal(t, int64(2+10+100), n)
	require.NoError(t, r.EnsureText(t.Context(), "notes"))
	_, err = r.Count(t.Context(), replica.Query{Collection: "notes", Where: replica.Search("b")})
	var e *replica.QueryError
	require.ErrorAs(t, err, &e)
	requireClean(t, r)
}

// TestForgottenFullText: the words of what was forgotten are not found, in an encrypted
// file either, until it is fetched back.
func TestForgottenFullText(t *testing.T) {
	net := network(t)
	hub, a := open(t, &replica.Options{Keeper: true}), open(t, &replica.Options{Key: fileKey(t, 1)})
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	require.NoError(t, a.SetPlaintext(t.Context(), "notes", "by"))
	require.NoError(t, a.EnsureText(t.Context(), "notes", "by"))
	put(t, a, "1", `{"by":"Ada"}`)
	put(t, a, "2", `{"by":"Ada too"}`)
	found := func() []string { return queryIDs(t, a, replica.Query{Where: replica.Search("ada")}) }
	require.Len(t, found(), 2)
	syncOnly(t, a, link)
	require.Equal(t, 1, forget(t, a, link, "1").Forgotten)
	require.NoError(t, a.Rekey(t.Context(), fileKey(t, 2)))
	require.Equal(t, []string{"2"}, found())
	db, err := sql.Open("sqlite3", "file:"+a.Path())
	require.NoError(t, err)
	defer db.Close()
	var held int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM text_1 WHERE text_1 MATCH 'ada'").Scan(&held))
	require.Equal(t, 1, held, "its words are dropped, not only passed over")
	requireClean(t, a)
	fetch(t, a, link, "1")
	require.Equal(t, []string{"1", "2"}, found())
}

// TestPurgedFullText: the words of what was purged are not found, and are gone from the
// file once it is written anew, though nobody has searched since.
func TestPurgedFullText(t *testing.T) {
	a := open(t, nil)
	require.NoError(t, a.EnsureText(t.Context(), "notes", "by"))
	put(t, a, "1", `{"by":"wintergoldhaehnchen sings"}`)
	put(t, a, "2", `{"by":"somebody sings"}`)
	require.Len(t, queryIDs(t, a, replica.Query{Where: replica.Search("sings")}), 2)
	require.True(t, fileHas(t, a, "wintergold"))
	purge(t, a, "1")
	compact(t, a, &replica.CompactOptions{Vacuum: true})
	require.False(t, fileHas(t, a, "wintergold"))
	require.False(t, fileHas(t, a, "goldhaehnchen"))
	require.Equal(t, []string{"2"}, queryIDs(t, a, replica.Query{Where: replica.Search("sings")}))
	requirePurged(t, a, "1")
}
