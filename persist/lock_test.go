package persist_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// A descriptor of the file that is closed behind SQLite's back drops the locks
// of the whole process (fcntl(2)); another process could then delete the WAL.
func TestOpeningAgainKeepsTheLocks(t *testing.T) {
	if _, err := os.Stat("/proc/locks"); err != nil {
		t.Skip("needs /proc/locks")
	}
	path := tempPath(t)
	open(t, path, nil)
	before := locksOf(t, path)
	require.NotZero(t, before)
	again, err := persist.Open(t.Context(), path, nil)
	require.NoError(t, err)
	require.Equal(t, before, locksOf(t, path))
	require.NoError(t, again.Close())
	require.Equal(t, before, locksOf(t, path))
}

func locksOf(t *testing.T, path string) int {
	info, err := os.Stat(path)
	require.NoError(t, err)
	text, err := os.ReadFile("/proc/locks")
	require.NoError(t, err)
	return strings.Count(string(text), fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino))
}
