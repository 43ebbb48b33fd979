package persist_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

// nobody is a user that owns no files.
const nobody = 65534

// openRefused opens a file that this user may not write to.
func openRefused(path string) error {
	s, err := persist.Open(context.Background(), path, nil)
	if err == nil {
		return errors.Join(errors.New("it was opened"), s.Close())
	}
	var oe *persist.OpenError
	if !errors.Is(err, persist.ErrReadOnly) || !errors.As(err, &oe) || oe.Path != path || !strings.Contains(err.Error(), path) {
		return fmt.Errorf("unexpected: %w", err)
	}
	return nil
}

// TestOpenReadOnly opens files that may be read and not be written, or nothing be
// written beside them: in another process under another user if this one is root, who may write
// everything.
func TestOpenReadOnly(t *testing.T) {
	root := os.Geteuid() == 0
	if root && runtime.GOOS != "linux" {
		t.Skip("root may write everything, and /proc/self/exe is Linux's")
	}
	cases := []struct {
		name         string
		made, wrote  bool // the file is there, as a replica
		file, folder os.FileMode
	}{
		{"empty file", true, false, 0o444, 0o777},
		{"file", true, true, 0o444, 0o777},
		{"folder", true, true, 0o666, 0o555},
		{"folder without it", false, false, 0, 0o555},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "godwit") // t.TempDir cannot be entered by others
			require.NoError(t, err)
			t.Cleanup(func() {
				require.NoError(t, os.Chmod(dir, 0o700))
				require.NoError(t, os.RemoveAll(dir))
			})
			path := filepath.Join(dir, "replica.db")
			if c.made {
				require.NoError(t, os.WriteFile(path, nil, 0o600))
			}
			if c.wrote {
				s, err := persist.Open(t.Context(), path, nil)
				require.NoError(t, err)
				mustEdit(t, s, "a", "{}")
				require.NoError(t, s.Close())
			}
			if c.made {
				require.NoError(t, os.Chmod(path, c.file))
			}
			require.NoError(t, os.Chmod(dir, c.folder))
			before := contents(t, dir)

			if root {
				cmd := startProcess(t, "refused", path)
				cmd.Path = "/proc/self/exe" // nobody may not enter the folder of the test's binary
				cmd.Dir = dir
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
				require.NoError(t, cmd.Run())
			} else {
				require.NoError(t, openRefused(path))
			}
			require.Equal(t, before, contents(t, dir))
		})
	}
}

// contents maps the names of a folder's files to what is in them.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	got := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		got[f.Name()] = string(b)
	}
	return got
}
