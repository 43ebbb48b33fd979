package persist

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// explain adds to an error of SQLite's or the system's what it says of the file, if
// somebody can do something about it: one of the sentinels that are named here.
func explain(path string, err error) error {
	var sentinel error
	var code sqlite3.ErrNo
	var extended sqlite3.ErrNoExtended
	var errno syscall.Errno
	if e := (sqlite3.Error{}); errors.As(err, &e) {
		code, extended, errno = e.Code, e.ExtendedCode, e.SystemErrno
	} else if !errors.As(err, &errno) {
		return err
	}
	switch {
	case code == sqlite3.ErrFull, errno == syscall.ENOSPC, errno == syscall.EDQUOT:
		sentinel = ErrDiskFull
	case code == sqlite3.ErrBusy, code == sqlite3.ErrLocked:
		sentinel = ErrBusy
	case code == sqlite3.ErrReadonly, errno == syscall.EROFS, errno == syscall.EACCES, errno == syscall.EPERM:
		sentinel = ErrReadOnly
	case code == sqlite3.ErrCorrupt, code == sqlite3.ErrNotADB, extended == sqlite3.ErrIoErrShortRead:
		sentinel = ErrDamaged
	case code == sqlite3.ErrCantOpen && errno == syscall.ENOENT:
		sentinel = ErrMoved
	}
	if sentinel == nil || errors.Is(err, sentinel) {
		return err
	}
	return fmt.Errorf("%s: %w (%w)", path, sentinel, err)
}

// place is the file that was opened. What is written to a file that has another name
// by now, or none, is found by nobody.
type place struct {
	path     string
	dev, ino uint64
}

func placeOf(path string) (place, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return place{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return place{path, uint64(st.Dev), st.Ino}, nil
}

// check returns ErrMoved if another file is at the path by now, or none.
func (p *place) check() error {
	now, err := placeOf(p.path)
	if err == nil && now == *p {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return explain(p.path, err)
	}
	return fmt.Errorf("%s: %w", p.path, ErrMoved)
}
