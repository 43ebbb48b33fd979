package persist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

// backupStep is how many pages are copied between looks at the context.
const backupStep = 256

// BackupOptions tune Backup. nil means the defaults.
type BackupOptions struct {
	Replace  bool                    // what is at the path, which is not to be open anywhere
	Progress func(done, total int64) // called now and then, in bytes; may be nil
}

// Backup writes a copy of the store, as it is when Backup begins, to a new file
// at path; others read and write meanwhile. The copy is made under another name
// beside it (path.partial-NUMBER) and gets its own once it is complete and on the
// disk, so whatever is at path is a whole backup. A process that is killed leaves
// the other one behind, which is of no use.
//
// The WAL grows for as long as it takes. A damaged store gives a damaged copy:
// Check tells.
func (s *Store) Backup(ctx context.Context, path string, o *BackupOptions) error {
	var opts BackupOptions
	if o != nil {
		opts = *o
	}
	if err := s.backup(ctx, path, opts); err != nil {
		return fmt.Errorf("back up to %s: %w", path, explain(path, err))
	}
	return nil
}

func (s *Store) backup(ctx context.Context, path string, opts BackupOptions) error {
	if err := s.mayWrite(path, opts.Replace); err != nil {
		return err
	}
	src, err := s.readers.take(ctx)
	if err != nil {
		return err
	}
	defer s.readers.give(src)
	tmp, err := newPartial(path, s.path)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // when it has its name, there is none
	copied := s.readWith(src, func(*Reader) error { return copyPages(ctx, src, tmp, opts.Progress) })
	if copied != nil {
		return copied
	}
	if err := syncPath(tmp); err != nil {
		return err
	}
	if err := s.mayWrite(path, opts.Replace); err != nil {
		return err // it came into being meanwhile
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// mayWrite refuses a path where something is that has to stay.
func (s *Store) mayWrite(path string, replace bool) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return ErrNoFolder
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return ErrNotFile
	case !replace:
		return ErrExists
	default:
		if own, err := os.Stat(s.path); err != nil || os.SameFile(own, info) {
			return errors.Join(err, errOwnFile)
		}
	}
	// SQLite would take these for parts of the new file.
	for _, part := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(path + part); err == nil && info.Size() > 0 {
			return fmt.Errorf("%s%s: %w", path, part, ErrBackupInUse)
		}
	}
	return nil
}

// newPartial creates the file that becomes the one at path, open to whom like is.
func newPartial(path, like string) (string, error) {
	info, err := os.Stat(like)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial-*")
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(f.Chmod(info.Mode().Perm()), f.Close())
}

// copyPages copies what src reads, which is in a transaction, to the empty file.
func copyPages(ctx context.Context, src *conn, file string, progress func(done, total int64)) (err error) {
	dst, err := connect(file, "rw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.close()) }()
	size, err := src.pragma("PRAGMA page_size")
	if err != nil {
		return err
	}
	b, err := dst.db.Backup("main", src.db, "main")
	if err != nil {
		return err
	}
	for done := false; !done && err == nil; {
		if done, err = b.Step(backupStep); err == nil && !done {
			err = ctx.Err()
		}
		if progress != nil && err == nil {
			bytes, _ := size.(int64)
			progress(int64(b.PageCount()-b.Remaining())*bytes, int64(b.PageCount())*bytes)
		}
	}
	return errors.Join(err, closeBackup(b, err))
}

// closeBackup ends it; its own error repeats the one of a step.
func closeBackup(b *sqlite3.SQLiteBackup, failed error) error {
	err := b.Close()
	if failed != nil {
		return nil
	}
	return err
}

// syncPath has a file or folder on the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
