package persist_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// A checkpoint that was killed has written some pages and not others: whichever they are, the
// WAL makes the file whole again.
func TestOpenAfterAKilledCheckpoint(t *testing.T) {
	const page = 4096
	path := tempPath(t)
	s, err := persist.Open(t.Context(), path, nil)
	require.NoError(t, err)
	mustEdit(t, s, "a", "{}")
	require.NoError(t, s.Close())
	old, err := os.ReadFile(path)
	require.NoError(t, err)

	s, err = persist.Open(t.Context(), path, nil)
	require.NoError(t, err)
	commit(t, s, func(tx *persist.Tx) { // grows the file by much less than what starts a checkpoint
		for i := range 1000 {
			require.NoError(t, tx.PutRecord(&persist.Record{Key: key(strconv.Itoa(i)), JSON: []byte(`{"a":"some text"}`)}))
		}
	})
	wal, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Greater(t, len(whole), len(old)+page)

	for written := range len(whole)/page + 1 {
		torn := append([]byte(nil), old...)
		n := written * page
		torn = append(append([]byte(nil), whole[:n]...), torn[min(n, len(torn)):]...)
		killed := filepath.Join(t.TempDir(), "killed.db")
		require.NoError(t, os.WriteFile(killed, torn, 0o600))
		require.NoError(t, os.WriteFile(killed+"-wal", wal, 0o600))
		s, err := persist.Open(t.Context(), killed, nil)
		require.NoError(t, err, "%d pages written", written)
		require.NotNil(t, record(t, s, "999"))
		require.NotNil(t, record(t, s, "a"))
		require.NoError(t, s.Close())
	}
}

// A process that was killed while it made the file leaves a part of one, with a journal
// that says there was nothing before: it is made anew. Whatever else has such a journal
// is not ours to judge by it, and stays as it is.
func TestOpenAfterAKilledCreation(t *testing.T) {
	making := filepath.Join(t.TempDir(), "making.db")
	db, err := sql.Open("sqlite3", making)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	half := func(to string) {
		_, err := db.Exec("PRAGMA cache_size = 1; BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t (a)")
		require.NoError(t, err)
		for range 30 { // more than SQLite keeps in memory
			_, err := db.Exec("INSERT INTO t VALUES (randomblob(4000))")
			require.NoError(t, err)
		}
		for _, part := range []string{"", "-journal"} {
			b, err := os.ReadFile(making + part)
			require.NoError(t, err)
			require.NotEmpty(t, b)
			require.NoError(t, os.WriteFile(to+part, b, 0o600))
		}
	}

	killed := tempPath(t)
	half(killed)
	s, err := persist.Open(t.Context(), killed, nil)
	require.NoError(t, err)
	mustEdit(t, s, "a", "{}")
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Close())

	_, err = db.Exec("COMMIT")
	require.NoError(t, err)
	another := tempPath(t)
	half(another)
	before := contents(t, filepath.Dir(another))
	_, err = persist.Open(t.Context(), another, &persist.Options{BusyTimeout: 1})
	require.ErrorIs(t, err, persist.ErrNotOurs)
	require.Equal(t, before, contents(t, filepath.Dir(another)))
	_, err = db.Exec("ROLLBACK")
	require.NoError(t, err)
}

// A power cut can bring a deleted journal back, beside a WAL of which nothing was synced.
// The file is no read-only one for that: whoever opens it rolls the journal back.
func TestOpenWithAJournalBesideTheWAL(t *testing.T) {
	path := tempPath(t)
	s, err := persist.Open(t.Context(), path, nil)
	require.NoError(t, err)
	mustEdit(t, s, "a", "{}")
	require.NoError(t, s.Close())
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE records SET json = hex(randomblob(200000))")
	require.NoError(t, err)

	cut := tempPath(t)
	copyFile(t, path, cut)
	copyFile(t, path+"-journal", cut+"-journal")
	require.NoError(t, os.WriteFile(cut+"-wal", make([]byte, 4096), 0o600))
	s, err = persist.Open(t.Context(), cut, nil)
	require.NoError(t, err)
	require.Equal(t, "{}", string(record(t, s, "a").JSON))
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Close())
	_, err = db.Exec("ROLLBACK")
	require.NoError(t, err)
}
