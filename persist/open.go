package persist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"
)

// applicationID marks our files in SQLite's header ("gdwt"). It is written by
// the very transaction that creates the tables, before WAL mode is entered, so
// a file with content always has it in its first page.
const applicationID = 0x67647774

// openWriter checks what is at path without touching it, creates or migrates
// the file and returns the connection that writes.
func openWriter(ctx context.Context, path string, opts *Options, v *vault) (*conn, error) {
	if err := inspect(path, opts.BusyTimeout); err != nil {
		return nil, err
	}
	if opts.Synchronous == Full {
		if err := inspectWAL(path); err != nil {
			return nil, err
		}
	}
	c, err := connect(path, "rwc")
	if err != nil {
		return nil, err
	}
	c.called = opts.hooks.Call
	if err := prepareWriter(ctx, c, opts, v); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// inspect looks at the file without writing. Absent and empty ones are to be
// created.
func inspect(path string, patience time.Duration) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return ErrNoFolder
		}
		return requireWritable(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return ErrNotFile
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if err := requireWritable(real, filepath.Dir(real)); err != nil {
		return err
	}
	if info.Size() == 0 {
		return nil
	}
	return awaitHeader(path, patience)
}

// requireWritable refuses what SQLite would open for reading only, to fail at the
// first write. It writes to the file, and makes others beside it.
func requireWritable(paths ...string) error {
	for _, p := range paths {
		if err := syscall.Access(p, accessWrite); err != nil {
			return ErrReadOnly
		}
	}
	return nil
}

// awaitHeader is inspectHeader, but for a file that another process is creating:
// while its first transaction is under way, what stands there is no database yet.
func awaitHeader(path string, patience time.Duration) error {
	quiet := 0 // looks in a row without a journal: a transaction can begin and end within one
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, before := os.Stat(path + "-journal")
		if halfMade(path) {
			if err := unmake(path, patience); err != nil {
				return err
			}
			if info, err := os.Stat(path); err == nil && info.Size() == 0 {
				return nil
			}
		}
		err := inspectHeader(path)
		_, after := os.Stat(path + "-journal")
		if quiet++; before == nil || after == nil {
			quiet = 0
		}
		if !errors.Is(err, ErrNotOurs) || quiet == 2 || time.Now().After(deadline) {
			return err
		}
	}
}

// halfMade reports whether a transaction that began with no database is under way in the
// file, or was when its process was killed, by its journal (sqlite.org/fileformat.html, 3).
func halfMade(path string) bool {
	f, err := os.Open(path + "-journal")
	if err != nil {
		return false
	}
	defer f.Close()
	var head [20]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:8]) == "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" && binary.BigEndian.Uint32(head[16:]) == 0
}

// unmake waits for whoever makes the file, or has SQLite undo what was begun.
func unmake(path string, patience time.Duration) error {
	c, err := connect(path, "rw")
	if err != nil {
		return err
	}
	defer c.close()
	return c.run(fmt.Sprintf("PRAGMA busy_timeout = %d; BEGIN IMMEDIATE; ROLLBACK", patience.Milliseconds()))
}

// accessWrite is W_OK of access(2).
const accessWrite = 2

// inspectHeader tells whose file it is by its first page. SQLite has to read it:
// if this process has the file open already, closing another descriptor of it
// would drop SQLite's locks (fcntl(2), "record locks").
//
// Without its WAL a file may look damaged: a checkpoint that was killed has written some
// pages and not others. Then the WAL has to be read too.
func inspectHeader(path string) error {
	wal, err := os.Stat(path + "-wal")
	hasWAL := err == nil && wal.Size() > 0
	id, v, err := header(path, "ro&immutable=1")
	if hasWAL && (id == int64(applicationID) || errors.Is(noDatabase(err), ErrNotOurs)) {
		if walID, walV, walErr := header(path, "ro"); !errors.Is(walErr, ErrReadOnly) { // else a journal is to be rolled back first, by who writes
			id, v, err = walID, walV, walErr
		}
	}
	switch {
	case errors.Is(noDatabase(err), ErrNotOurs) && looksOurs(path):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return noDatabase(err)
	case id != int64(applicationID):
		return ErrNotOurs
	}
	return checkVersion(v)
}

// looksOurs reports whether a file that SQLite takes for no database begins like one of
// ours, but for some bytes. If this process has it open all the same, that opening loses
// its locks by this.
func looksOurs(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [100]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return false
	}
	return binary.BigEndian.Uint32(b[68:]) == applicationID
}

// header reads whose file it is, and the schema's version, through a connection that
// cannot write.
func header(path, mode string) (id, version any, err error) {
	c, err := connect(path, mode)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	if id, err = c.pragma("PRAGMA application_id"); err != nil {
		return nil, nil, fmt.Errorf("read application id: %w", err)
	}
	if version, err = c.pragma("PRAGMA user_version"); err != nil {
		return nil, nil, fmt.Errorf("read schema version: %w", err)
	}
	return id, version, nil
}

// noDatabase turns SQLite's word for a file that is none into ours.
func noDatabase(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrCorrupt) {
		return ErrNotOurs
	}
	return err
}

func checkVersion(v any) error {
	migrations, err := loadMigrations()
	if err != nil {
		return err
	}
	n, _ := v.(int64)
	if n < 0 {
		return fmt.Errorf("schema version %d: %w", n, ErrDamaged)
	}
	if n > int64(len(migrations)) {
		return fmt.Errorf("schema version %d, this program knows %d: %w", n, len(migrations), ErrNewerSchema)
	}
	return nil
}

func prepareWriter(ctx context.Context, c *conn, opts *Options, v *vault) error {
	if err := setUp(c, opts.BusyTimeout, 8<<10, v); err != nil {
		return err
	}
	if err := v.loadFirst(c); err != nil {
		return err
	}
	// Only what makes the file is not written by way of the WAL: a kill then leaves nothing
	// of it, which halfMade knows. In the middle of any other such transaction the file
	// looks damaged until its journal is rolled back.
	if err := migrate(c, &opts.hooks, 1); err != nil {
		return err
	}
	if err := enterWAL(ctx, c, opts.BusyTimeout); err != nil {
		return err
	}
	// What a large transaction made of the WAL need not stay. In pages of 4 KiB.
	if err := c.run(Full.pragma() + "PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 8000;"); err != nil {
		return err
	}
	if err := migrate(c, &opts.hooks, newest); err != nil {
		return err
	}
	if opts.Synchronous == Full {
		return settle(c)
	}
	return c.run(opts.Synchronous.pragma())
}

// setUp sets what every connection of ours has.
func setUp(c *conn, busy time.Duration, cacheKiB int, v *vault) error {
	if err := v.register(c); err != nil {
		return err
	}
	return c.run(fmt.Sprintf("PRAGMA busy_timeout = %d; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -%d;",
		busy.Milliseconds(), cacheKiB))
}

func (s Synchronous) pragma() string {
	if s == Normal {
		return "PRAGMA synchronous = NORMAL;"
	}
	return "PRAGMA synchronous = FULL;"
}

// enterWAL switches a new file to WAL. That needs the file for itself, and
// SQLite does not wait for it, so we do.
func enterWAL(ctx context.Context, c *conn, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		mode, err := c.pragma("PRAGMA journal_mode = WAL")
		if err == nil && mode == "wal" {
			return nil
		}
		if err == nil {
			return fmt.Errorf("enter WAL mode: still in mode %v", mode)
		}
		if !errors.Is(err, ErrBusy) || time.Now().After(deadline) {
			return fmt.Errorf("enter WAL mode: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// openReader opens a connection that only reads.
func openReader(path string, busy time.Duration, v *vault) (*conn, error) {
	c, err := connect(path, "ro")
	if err != nil {
		return nil, err
	}
	if err := setUp(c, busy, 2<<10, v); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}
