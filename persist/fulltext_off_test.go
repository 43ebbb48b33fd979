//go:build !sqlite_fts5

package persist_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// TestWithoutFullText: a program that was built without it says so, and still reads and
// writes a file that has a full text.
func TestWithoutFullText(t *testing.T) {
	path, ctx := tempPath(t), context.Background()
	s, err := persist.Open(ctx, path, nil)
	require.NoError(t, err)
	require.ErrorIs(t, s.Commit(ctx, func(tx *persist.Tx) error {
		_, err := tx.EnsureText("notes", []string{"title"})
		return err
	}), persist.ErrNoFullText)
	shown(t, s, several)
	require.NoError(t, s.Close())
	raw(t, path, `PRAGMA writable_schema = 1;
		INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', 'text_1', 'text_1', 0,
			'CREATE VIRTUAL TABLE text_1 USING fts5 (c0, content = '''', contentless_delete = 1)');
		INSERT INTO texts (id, collection, fields, done, ready, lsn, view) VALUES (1, 'notes', '["s"]', 100, 1, 1, 0)`)
	s = open(t, path, nil)
	shown(t, s, several)
	_, err = queryIDs(s, persist.Query{Where: persist.Search("tides")})
	require.ErrorIs(t, err, persist.ErrNoFullText)
	require.Equal(t, []string{"a"}, ids(t, s, persist.Query{Where: persist.Where("s", persist.Eq, "Tides")}))
	require.NoError(t, s.Vacuum(ctx))
	require.NoError(t, s.Check(ctx, func(p persist.Problem) {
		require.NotEqual(t, "file", p.Kind, p)
	}))
}
