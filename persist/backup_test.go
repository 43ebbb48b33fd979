package persist_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// grow writes a few MiB, so that a backup takes several steps.
func grow(t testing.TB, s *persist.Store) {
	t.Helper()
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for i := range 60 {
			if _, err := edit(tx, key(fmt.Sprint(i)), "actor", `{"a":"`+strings.Repeat("x", 100_000)+`"}`); err != nil {
				return err
			}
		}
		return nil
	}))
}

// A backup holds what was committed when it began, not half of what came
// meanwhile, and it is whole.
func TestBackupWhileWriting(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	grow(t, s)
	var began crdt.Cursor
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error { began = r.Head(); return nil }))
	target := filepath.Join(t.TempDir(), "copy.db")
	steps, last := 0, int64(0)
	require.NoError(t, s.Backup(t.Context(), target, &persist.BackupOptions{Progress: func(done, total int64) {
		require.Greater(t, done, last)
		require.LessOrEqual(t, done, total)
		require.NoFileExists(t, target)
		if last = done; done < total {
			mustEdit(t, s, "0", "{}") // a page that was copied
			mustEdit(t, s, fmt.Sprint("new", steps), "{}")
		}
		steps++
	}}))
	require.Greater(t, steps, 3)

	b := open(t, target, nil)
	require.NoError(t, b.Read(t.Context(), func(r *persist.Reader) error {
		require.Equal(t, began, r.Head())
		return nil
	}))
	require.Empty(t, problems(t, b))
	require.Empty(t, problems(t, s))
	require.Len(t, record(t, b, "0").JSON, 100_008)
	require.Nil(t, record(t, b, "new0"))
	require.Equal(t, "{}", string(record(t, s, "0").JSON))
	require.Empty(t, partials(t, target))
	own, err := os.Stat(path)
	require.NoError(t, err)
	info, err := os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, own.Mode(), info.Mode())
	mustEdit(t, b, "0", "{}") // it is a store like any other
}

// partials are what unfinished backups have left.
func partials(t testing.TB, target string) []string {
	t.Helper()
	all, err := filepath.Glob(target + ".partial-*")
	require.NoError(t, err)
	return all
}

// What is at the path stays, unless it is to be replaced; what must not be
// replaced never is.
func TestBackupTarget(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	mustEdit(t, s, "a", "{}")
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
		return p
	}
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Link(path, link))
	file("open-wal", "frames")
	file("replaced-wal", "")
	cases := []struct {
		name, path string
		replace    bool
		want       error
		text       string
	}{
		{"a file", file("notes.txt", "mine"), false, persist.ErrExists, "choose another name"},
		{"a file, to be replaced", file("replaced", "old"), true, nil, ""},
		{"nothing, to be replaced", filepath.Join(dir, "new"), true, nil, ""},
		{"a folder", dir, true, persist.ErrNotFile, ""},
		{"no folder", filepath.Join(dir, "none", "b"), false, persist.ErrNoFolder, ""},
		{"the replica itself", path, true, nil, "own file"},
		{"another name of it", link, true, nil, "own file"},
		{"a file that is open", file("open", ""), true, persist.ErrBackupInUse, "open-wal"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := s.Backup(t.Context(), c.path, &persist.BackupOptions{Replace: c.replace})
			require.Empty(t, partials(t, c.path))
			if c.want == nil && c.text == "" {
				require.NoError(t, err)
				require.NotNil(t, record(t, open(t, c.path, nil), "a"))
				return
			}
			require.ErrorContains(t, err, c.path)
			require.ErrorContains(t, err, c.text)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
		})
	}
	b, err := os.ReadFile(filepath.Join(dir, "notes.txt"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
	require.Empty(t, problems(t, s))
}

// A backup that is given up leaves nothing, and keeps what it was to replace.
func TestBackupCancelled(t *testing.T) {
	s := open(t, tempPath(t), nil)
	grow(t, s)
	target := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Backup(ctx, target, &persist.BackupOptions{Replace: true, Progress: func(done, total int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	b, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "old", string(b))
	entries, err := os.ReadDir(filepath.Dir(target))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	mustEdit(t, s, "0", "{}")
}

// A process that is killed in the middle leaves no file under the backup's name.
func TestBackupKilled(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	grow(t, s)
	cmd := startProcess(t, "backup", path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	_, err = cmd.StdinPipe() // kept open
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.True(t, bufio.NewScanner(out).Scan(), "it did not begin")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	target := path + ".backup"
	require.NoFileExists(t, target)
	require.Len(t, partials(t, target), 2) // with the journal, by which SQLite empties it
	require.NoError(t, s.Backup(t.Context(), target, nil))
	require.Empty(t, problems(t, open(t, target, nil)))
}

// backupAndWait tells when a backup is in the middle, and stays there.
func backupAndWait(s *persist.Store, path string) error {
	return s.Backup(context.Background(), path, &persist.BackupOptions{Progress: func(done, total int64) {
		fmt.Println("copying")
		bufio.NewScanner(os.Stdin).Scan()
	}})
}
