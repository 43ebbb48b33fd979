//go:build linux

package crash_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// mountsEnv says that this process has mounts of its own: it is free to make some.
const mountsEnv = "GODWIT_CRASH_MOUNTS"

// withMounts runs the test again in a process that may mount, and reports whether this
// is that process.
func withMounts(t *testing.T) bool {
	if os.Getenv(mountsEnv) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mountsEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Skip("this system lets nobody mount: ", err)
	}
	t.Logf("%s", out)
	require.NoError(t, err)
	return false
}

// mount mounts what belongs to this process alone, and to the test.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	require.NoError(t, syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	err := syscall.Mount(source, target, kind, flags, data)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this system does not let a user mount: ", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(target, syscall.MNT_DETACH)) })
}

// TestSmallDisk has a real file system with so and so many bytes left.
func TestSmallDisk(t *testing.T) {
	if !withMounts(t) {
		return
	}
	dir := t.TempDir()
	mount(t, "small", dir, "tmpfs", 0, "size=2m")
	path := filepath.Join(dir, "replica.db")
	r := openAt(t, path, nil)
	last, full := 0, 0
	for left := 0; left < 96<<10; left += 4 << 10 {
		fillUp(t, dir, left)
		if left%(12<<10) == 0 {
			require.NoError(t, r.Close()) // opening needs space too
			opened, err := replica.Open(context.Background(), path, nil)
			if err != nil {
				require.ErrorIs(t, err, persist.ErrDiskFull)
				require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
				opened = openAt(t, path, nil)
				fillUp(t, dir, left)
			}
			r = opened
		}
		for range 3 {
			if err := r.Update(t.Context(), func(tx *replica.Tx) error { return putRandom(tx, last+1) }); err != nil {
				require.ErrorIs(t, err, persist.ErrDiskFull)
				require.ErrorContains(t, err, path)
				full++
			} else {
				last++
			}
		}
		for i := range last {
			_, err := r.Get(t.Context(), work("random", i+1))
			require.NoError(t, err, "reading goes on")
		}
		_, err := r.Get(t.Context(), work("random", last+1))
		require.ErrorIs(t, err, replica.ErrNotFound)
		require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
		last++
		require.NoError(t, r.Update(t.Context(), func(tx *replica.Tx) error { return putRandom(tx, last) }), "there is space again")
	}
	t.Logf("%d updates found the disk full, %d did not", full, last)
	require.NotZero(t, full)
	requireSound(t, r)
	require.NoError(t, r.Close())
}

// putRandom writes a record of 3 KB that does not get smaller when it is compressed.
func putRandom(tx *replica.Tx, n int) error {
	b := make([]byte, 1500)
	rand.Read(b) // never fails
	return tx.Put(work("random", n), map[string]any{"v": hex.EncodeToString(b)})
}

// fillUp fills the file system of a folder, but for so many bytes.
func fillUp(t *testing.T, dir string, left int) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	page := make([]byte, 4<<10)
	for err == nil {
		_, err = f.Write(page)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	at, err := f.Seek(0, 1)
	require.NoError(t, err)
	require.GreaterOrEqual(t, at, int64(left), "the disk is smaller than that")
	require.NoError(t, f.Truncate(at-int64(left)))
	require.NoError(t, f.Close())
}

// TestReadOnlyDisk opens a file on a file system that is mounted for reading, which not
// even root may write to.
func TestReadOnlyDisk(t *testing.T) {
	if !withMounts(t) {
		return
	}
	dir, view := t.TempDir(), t.TempDir()
	r := openAt(t, filepath.Join(dir, "replica.db"), nil)
	_, err := write(t.Context(), r, 0, 1)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	mount(t, dir, view, "", syscall.MS_BIND, "")
	require.NoError(t, syscall.Mount("", view, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, name := range []string{"replica.db", "new.db"} {
		path := filepath.Join(view, name)
		_, err := replica.Open(t.Context(), path, nil)
		require.ErrorIs(t, err, persist.ErrReadOnly)
		require.ErrorContains(t, err, path)
	}
	r = openAt(t, filepath.Join(dir, "replica.db"), nil)
	require.Equal(t, [writers]int{1}, written(t, r))
	err = r.Backup(t.Context(), filepath.Join(view, "backup.db"), nil)
	require.ErrorIs(t, err, persist.ErrReadOnly)
	require.ErrorContains(t, err, view)
	require.NoError(t, r.Close())
}
