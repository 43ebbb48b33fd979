package main

import (
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTerminateInMidSync terminates a hub while changes are under way. It ends in
// order, and the same commands again end with equal heads everywhere.
func TestTerminateInMidSync(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	const n = 4000
	require.NoError(t, os.WriteFile(path("rows"), []byte(rows(n)), 0o600))
	mustGodwit(t, "--db", path("a.db"), "import", "rows", path("rows"))
	served, addr := hub(t, path("hub"), "127.0.0.1:0")
	url := "http://" + addr + "/spaces/crew"
	mustGodwit(t, "--db", path("new.db"), "sync", url) // the hub creates the space
	watch := startWatch(t, path("hub/crew.db"))
	sync := start(t, nil, "--db", path("a.db"), "sync", url)
	_, err := watch.await(regexp.MustCompile(`"id":"0"`))
	require.NoError(t, err)
	require.NoError(t, served.cmd.Process.Signal(syscall.SIGTERM))
	code, err := served.finish()
	require.NoError(t, err)
	require.Zero(t, code, "%q", served.lines)
	if code, err = sync.finish(); code != 0 { // 0 if it was done before
		_, err = sync.await(regexp.MustCompile(`shutting down: come back later`))
	}
	require.NoError(t, err)

	_, addr = hub(t, path("hub"), addr)
	require.Contains(t, url, addr)
	for _, db := range []string{"a.db", "b.db"} {
		mustGodwit(t, "--db", path(db), "sync", url)
	}
	for _, db := range []string{"a.db", "b.db", "hub/crew.db"} {
		require.Equal(t, status{Records: n, Changes: n}, statusOfFile(t, path(db)), db)
		require.Equal(t, exportHeads(t, path("a.db")), exportHeads(t, path(db)), db)
	}
}
