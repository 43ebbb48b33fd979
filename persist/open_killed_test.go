package persist_test

import (
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
