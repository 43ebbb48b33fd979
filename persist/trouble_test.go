package persist_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// What is written to a file that nobody finds again is lost, so it is refused.
func TestFileIsGone(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, path string){
		"deleted": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"moved":   func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".bak")) },
		"its folder is moved": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".bak"))
		},
		"replaced": func(t *testing.T, path string) {
			copyFile(t, path, path+".new")
			require.NoError(t, os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "replica.db")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			s, err := persist.Open(t.Context(), path, nil)
			require.NoError(t, err)
			defer s.Close() // may fail
			mustEdit(t, s, "a", "{}")
			leave(t, path)
			for range 2 {
				err = s.Commit(t.Context(), put("b"))
				require.ErrorIs(t, err, persist.ErrMoved)
				require.ErrorContains(t, err, path)
			}
			err = s.Read(t.Context(), func(*persist.Reader) error { return nil })
			require.ErrorIs(t, err, persist.ErrMoved, "what is there now is another file")
		})
	}
}

// A lock that another program keeps is waited for, not for ever, and named.
func TestFileIsLocked(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{BusyTimeout: time.Millisecond})
	mustEdit(t, s, "a", "{}")
	other, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err = other.Exec("BEGIN IMMEDIATE")
	require.NoError(t, err)
	err = s.Commit(t.Context(), put("b"))
	require.ErrorIs(t, err, persist.ErrBusy)
	require.ErrorContains(t, err, path)
	require.NotNil(t, record(t, s, "a"), "reading goes on")
	_, err = other.Exec("ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, s.Commit(t.Context(), put("b")))

	exclusive := tempPath(t)
	db, err := sql.Open("sqlite3", exclusive)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("PRAGMA application_id = 0x67647774; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE t (a); COMMIT")
	require.NoError(t, err)
	_, err = persist.Open(t.Context(), exclusive, &persist.Options{BusyTimeout: time.Millisecond})
	require.ErrorIs(t, err, persist.ErrBusy)
	var oe *persist.OpenError
	require.ErrorAs(t, err, &oe)
	require.Equal(t, exclusive, oe.Path)
}
