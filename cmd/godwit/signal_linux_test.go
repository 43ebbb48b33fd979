package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestInterrupt: the first signal ends an import in order. What it reported stays,
// and the same command again does the rest.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	db, file := filepath.Join(dir, "a.db"), filepath.Join(dir, "rows.ndjson")
	require.NoError(t, os.WriteFile(file, []byte(rows(2500)), 0o600))
	watch := startWatch(t, db)
	in, feed := io.Pipe() // stays open: the import waits for more
	imp := start(t, in, "--db", db, "import", "rows", "-")
	t.Cleanup(func() { _ = feed.Close() }) // else its end is not noticed
	_, err := io.WriteString(feed, rows(1500))
	require.NoError(t, err)
	_, err = watch.await(regexp.MustCompile(`"id":"999"`))
	require.NoError(t, err)
	require.NoError(t, imp.cmd.Process.Signal(os.Interrupt))
	_, err = imp.await(regexp.MustCompile("interrupted; 1000 records were imported and stay"))
	require.NoError(t, err)
	require.NoError(t, feed.Close())
	code, err := imp.finish()
	require.NoError(t, err)
	require.Equal(t, 1, code)
	require.Equal(t, status{Records: 1000, Changes: 1000}, statusOfFile(t, db))
	mustGodwit(t, "--db", db, "import", "rows", file)
	require.Equal(t, status{Records: 2500, Changes: 2500}, statusOfFile(t, db))
	mustGodwit(t, "--db", db, "doctor")
}

// TestSecondInterrupt: a command that cannot end, since nobody takes its output, is
// killed by the second signal.
func TestSecondInterrupt(t *testing.T) {
	dir := t.TempDir()
	db, file := filepath.Join(dir, "a.db"), filepath.Join(dir, "rows.ndjson")
	require.NoError(t, os.WriteFile(file, []byte(rows(4000)), 0o600))
	mustGodwit(t, "--db", db, "import", "rows", file)

	unread, out, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unread.Close()) })
	cmd := exec.Command("godwit", "--db", db, "export", "rows")
	cmd.Stdout = out
	require.NoError(t, cmd.Start())
	require.NoError(t, out.Close())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state is looked at
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})

	const full = 64 << 10 // pipe(7)
	require.Eventually(t, func() bool { return waiting(unread) == full }, awaitTimeout, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Eventually(t, func() bool { return !pending(cmd.Process.Pid, syscall.SIGINT) }, awaitTimeout, time.Millisecond)
	// When it has heard the first one cannot be seen, so there are more than two.
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			return true
		default:
			_ = cmd.Process.Signal(os.Interrupt) // it may have ended
			return false
		}
	}, awaitTimeout, 10*time.Millisecond)
	how := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, how.Signaled(), "%v", cmd.ProcessState)
	require.Equal(t, syscall.SIGINT, how.Signal())
	mustGodwit(t, "--db", db, "doctor")
}

// TestNotReadyWhileDraining: a hub that is terminated while a peer has not acknowledged
// what it was sent says until then that it is not ready, though alive, and lets nobody in.
func TestNotReadyWhileDraining(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	served := start(t, nil, "serve", "--data", filepath.Join(dir, "hub"), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--drain-timeout", "10m")
	m, err := served.await(regexp.MustCompile(`^(http://.*)$`))
	require.NoError(t, err)
	url := m[1] + "/spaces/crew"
	m, err = served.await(regexp.MustCompile(`^ops (http://.*)$`))
	require.NoError(t, err)
	ops := m[1]
	page := func(name string) string {
		status, body, err := fetch(ops + name)
		require.NoError(t, err)
		return fmt.Sprint(status, " ", strings.TrimSpace(body))
	}
	mustGodwit(t, "--db", a, "put", "notes/1", `{"n":1}`)
	mustGodwit(t, "--db", a, "sync", url)
	connect := start(t, nil, "--db", b, "connect", url)
	_, err = connect.await(regexp.MustCompile(`"id":"1"`))
	require.NoError(t, err)
	require.NoError(t, connect.cmd.Process.Signal(syscall.SIGSTOP))
	mustGodwit(t, "--db", a, "put", "notes/2", `{"n":2}`)
	mustGodwit(t, "--db", a, "sync", url)
	require.Eventually(t, func() bool {
		all, _, err := scrape(ops + "/metrics")
		return err == nil && all[`godwit_changes_total{direction="sent"}`] == 2
	}, awaitTimeout, 5*time.Millisecond)
	require.Equal(t, "200 ready", page("/readyz"))

	require.NoError(t, served.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return page("/readyz") == "503 draining" }, awaitTimeout, 5*time.Millisecond)
	require.Equal(t, "200 ok", page("/healthz"))
	_, err = godwit("--db", a, "sync", url)
	require.ErrorContains(t, err, "shutting down")
	require.Equal(t, "503 draining", page("/readyz"), "and not over")

	require.NoError(t, connect.cmd.Process.Signal(syscall.SIGCONT))
	_, err = connect.await(regexp.MustCompile(`shutting down: come back later`))
	require.NoError(t, err)
	code, err := served.finish()
	require.NoError(t, err)
	require.Zero(t, code, "%q", served.lines)
	require.Equal(t, mustGodwit(t, "--db", a, "ls", "notes"), mustGodwit(t, "--db", b, "ls", "notes"))
}

// waiting returns how many bytes of a pipe nobody has read, -1 if that cannot be said.
func waiting(f *os.File) (n int32) {
	conn, err := f.SyscallConn()
	if err != nil {
		return -1
	}
	err = conn.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
			n = -1
		}
	})
	if err != nil {
		return -1
	}
	return n
}

// pending reports whether a signal was sent to a process that has not begun to
// handle it.
func pending(pid int, s syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false // it has ended
	}
	_, rest, _ := strings.Cut(string(status), "\nShdPnd:\t")
	var mask uint64
	_, err = fmt.Sscanf(rest, "%x", &mask)
	return err != nil || mask&(1<<(s-1)) != 0
}
