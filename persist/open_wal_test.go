package persist_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// cutCopy copies a file that is open, as a power cut leaves it that kept the WAL's first
// frames, lost the next and kept the rest.
func cutCopy(t *testing.T, path string, frames int) string {
	t.Helper()
	cut := filepath.Join(t.TempDir(), "cut.db")
	copyFile(t, path, cut)
	wal, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	at := 32 + frames*(24+4096)
	require.Greater(t, len(wal), at+2*(24+4096))
	clear(wal[at : at+24+4096])
	require.NoError(t, os.WriteFile(cut+"-wal", wal, 0o600))
	return cut
}

// framesOf is how many frames the WAL has.
func framesOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path + "-wal")
	require.NoError(t, err)
	return int(info.Size()-32) / (24 + 4096)
}

// edits makes some transactions, and returns how many frames the WAL had after the first.
func edits(t *testing.T, s *persist.Store) (frames int) {
	t.Helper()
	for i := range 6 {
		mustEdit(t, s, strconv.Itoa(i), "{}")
		if i == 0 {
			frames = framesOf(t, s.Path())
		}
	}
	return frames
}

// With NORMAL a power cut may take a transaction and leave the ones behind it: the file
// opens all the same, also with FULL, and goes on from there.
func TestOpenAtFullWhatWasCutAtNormal(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{Synchronous: persist.Normal})
	cut := cutCopy(t, path, edits(t, s))

	s = open(t, cut, nil)
	require.NotNil(t, record(t, s, "0"))
	require.Nil(t, record(t, s, "1"))
	require.Empty(t, problems(t, s))
	// From here on all is synced, so what cannot be read is damage again, and kept.
	damaged := cutCopy(t, cut, edits(t, s))
	before := contents(t, filepath.Dir(damaged))
	_, err := persist.Open(t.Context(), damaged, nil)
	require.ErrorIs(t, err, persist.ErrDamaged)
	after := contents(t, filepath.Dir(damaged))
	require.Equal(t, before["cut.db"], after["cut.db"])
	require.Equal(t, before["cut.db-wal"], after["cut.db-wal"])
}

// Who opens a file with FULL has it forget a writer that does not wait for the disk, and
// may do so while that one is writing.
func TestOpenAtFullBesideAWriterAtNormal(t *testing.T) {
	path := tempPath(t)
	lax := open(t, path, &persist.Options{Synchronous: persist.Normal})
	edits(t, lax)
	full := open(t, path, nil)
	mustEdit(t, full, "full", "{}")
	strict := cutCopy(t, path, edits(t, full))
	_, err := persist.Open(t.Context(), strict, nil)
	require.ErrorIs(t, err, persist.ErrDamaged, "it was not forgotten")

	cut := cutCopy(t, path, edits(t, lax))
	s := open(t, cut, nil)
	require.NotNil(t, record(t, s, "full"))
	require.Empty(t, problems(t, s))
}
