package persist_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// raw runs SQL on the file behind the store's back.
func raw(t testing.TB, path string, stmts ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range stmts {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(content string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	}
	cases := []struct {
		name string
		make func(t *testing.T, path string)
		want error
	}{
		{"text", write("Dear diary"), persist.ErrNotOurs},
		{"long text", write(strings.Repeat("Dear diary\n", 1000)), persist.ErrNotOurs},
		{"another program's database", func(t *testing.T, path string) { raw(t, path, "CREATE TABLE t (x)") }, persist.ErrNotOurs},
		{"half a header", write("SQLite format 3\x00"), persist.ErrNotOurs},
		{"newer schema", func(t *testing.T, path string) {
			s, err := persist.Open(context.Background(), path, nil)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			raw(t, path, "PRAGMA user_version = 1000")
		}, persist.ErrNewerSchema},
		{"folder", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, persist.ErrNotFile},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := tempPath(t)
			c.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := persist.Open(t.Context(), path, nil)
			require.ErrorIs(t, err, c.want)
			var oe *persist.OpenError
			require.ErrorAs(t, err, &oe)
			require.Equal(t, path, oe.Path)
			require.ErrorContains(t, err, path)
			after, _ := os.ReadFile(path)
			require.Equal(t, before, after)
			files, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, files, 1, "something was left beside it")
		})
	}
}

func TestOpenNeedsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := persist.Open(t.Context(), filepath.Join(dir, "replica.db"), nil)
	require.ErrorIs(t, err, persist.ErrNoFolder)
	require.NoDirExists(t, dir)
}

func TestOpenOptions(t *testing.T) {
	for _, o := range []persist.Options{{Readers: -1}, {BusyTimeout: -1}, {Synchronous: 7}} {
		_, err := persist.Open(t.Context(), tempPath(t), &o)
		require.Error(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := persist.Open(ctx, tempPath(t), nil)
	require.ErrorIs(t, err, context.Canceled)
}

// Names that mean something in a URI or to the driver are just names.
func TestOpenStrangeNames(t *testing.T) {
	for _, name := range []string{"a?mode=memory", "50%41", "#1", ":memory:", "ü b;c.db", "a&b=c"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path, nil)
		mustEdit(t, s, "a", "{}")
		require.FileExists(t, path)
	}
}

func TestReopen(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	id, epoch := s.Identity()
	want := mustEdit(t, s, "a", "{}")
	require.NoError(t, s.Close())
	require.NoFileExists(t, path+"-wal", "the last one to close folds the WAL in")
	s = open(t, path, nil)
	gotID, gotEpoch := s.Identity()
	require.Equal(t, id, gotID)
	require.Equal(t, epoch, gotEpoch)
	require.Equal(t, want, record(t, s, "a"))
}

// An empty file is a new replica, and however many open it first agree on it.
func TestOpenAtOnce(t *testing.T) {
	path := tempPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	var wg sync.WaitGroup
	ids := make([]any, 8)
	for i := range ids {
		wg.Go(func() {
			s, err := persist.Open(context.Background(), path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i], _ = s.Identity()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
}
