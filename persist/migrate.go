package persist

import (
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/godwitdb/godwit/crdt"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// loadMigrations returns the migrations in order; number n is at index n-1 and
// takes the schema from version n-1 to n.
func loadMigrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	sqls := make([]string, len(names))
	for i, name := range names {
		var n int
		if _, err := fmt.Sscanf(name, "migrations/%03d_", &n); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s: want number %03d", name, i+1)
		}
		b, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sqls[i] = string(b)
	}
	return sqls, nil
}

// newest stands for the newest version of the schema.
const newest = 1 << 30

// migrate brings the schema up to a version at least, one transaction a version.
func migrate(c *conn, h *Hooks, upTo int) error {
	migrations, err := loadMigrations()
	if err != nil {
		return err
	}
	if upTo < len(migrations) {
		migrations = migrations[:upTo]
	}
	for {
		done, err := migrateOnce(c, migrations, h)
		if done || err != nil {
			return err
		}
	}
}

func migrateOnce(c *conn, migrations []string, h *Hooks) (done bool, err error) {
	version, err := c.pragma("PRAGMA user_version")
	if n, _ := version.(int64); err != nil || n >= int64(len(migrations)) {
		return true, err // nothing to do, so no lock is asked for
	}
	if _, err := c.exec(qBeginImmediate); err != nil {
		return true, err
	}
	defer func() {
		if err != nil {
			_, e := c.exec(qRollback)
			err = errors.Join(err, e)
		}
	}()
	// Another process may have been here in the meantime.
	if version, err = c.pragma("PRAGMA user_version"); err != nil {
		return true, err
	}
	if err := checkVersion(version); err != nil {
		return true, err
	}
	n, _ := version.(int64)
	if n < int64(len(migrations)) {
		if err := applyMigration(c, n, migrations[n], h); err != nil {
			if e := (sqlite3.Error{}); errors.As(err, &e) && e.Code == sqlite3.ErrError {
				err = fmt.Errorf("%w: %w", ErrDamaged, err) // it is not of that version
			}
			return true, fmt.Errorf("migrate schema to version %d: %w", n+1, err)
		}
	}
	_, err = c.exec(qCommit)
	return false, err
}

func applyMigration(c *conn, from int64, sql string, h *Hooks) error {
	if err := c.run(sql); err != nil {
		return err
	}
	if from == 0 {
		if err := createIdentity(c, h); err != nil {
			return err
		}
	}
	return c.run(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, from+1))
}

// createIdentity makes the file a replica of its own.
func createIdentity(c *conn, h *Hooks) error {
	var b [16]byte
	if err := h.name(b[:]); err != nil {
		return err
	}
	_, err := c.exec(qInsertIdentity, b[:8], int64(binary.LittleEndian.Uint64(b[8:])), time.Now().UnixMilli())
	return err
}

func readIdentity(c *conn) (id crdt.ReplicaID, epoch uint64, err error) {
	r, err := c.one(qIdentity)
	if err != nil {
		return id, 0, err
	}
	if r == nil {
		return id, 0, fmt.Errorf("no identity: %w", ErrDamaged)
	}
	return id, uint64(r.int(1)), r.fill(id[:], 0)
}
