package persist

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/mattn/go-sqlite3"
)

// conn is one connection, used by one goroutine at a time. It talks to the
// driver itself: database/sql costs about as much as a small statement. The
// driver starts a goroutine for every call whose context can end, so it is
// handed context.Background and contexts are looked at between statements.
type conn struct {
	db    *sqlite3.SQLiteConn
	path  string            // as the caller named the file
	stmts [numQueries]*stmt // prepared when first used
	other map[string]*stmt  // by their SQL: statements that callers' queries became
	asked *asked            // of a connection for callers' SQL, or nil

	called func(what string) // Hooks.Call, on a connection that writes; nil: none
}

// maxOther bounds how many statements of callers' queries a connection keeps.
const maxOther = 32

// stmt is a prepared statement with the space for its arguments and columns.
type stmt struct {
	s    *sqlite3.SQLiteStmt
	path string
	what string
	args []driver.NamedValue
	cols row
	busy bool // rows are being read from it
}

// connect opens the file in a mode of SQLite's URIs: ro, rw or rwc.
func connect(path, mode string) (*conn, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	// One goroutine at a time uses it: no need for SQLite's mutexes.
	c, err := (&sqlite3.SQLiteDriver{}).Open(u.String() + "?_mutex=no&mode=" + mode)
	if err != nil {
		return nil, explain(path, err)
	}
	return &conn{db: c.(*sqlite3.SQLiteConn), path: path}, nil
}

func (c *conn) close() error {
	for _, st := range c.stmts {
		if st != nil {
			st.s.Close()
		}
	}
	c.forgetOther()
	return c.db.Close()
}

func (c *conn) forgetOther() {
	for _, st := range c.other {
		st.s.Close()
	}
	c.other = nil
}

// run executes statements that are not worth preparing.
func (c *conn) run(sql string) error {
	_, err := c.db.ExecContext(context.Background(), sql, nil)
	return explain(c.path, err)
}

// pragma reads a pragma that gives one number or word.
func (c *conn) pragma(sql string) (driver.Value, error) {
	rows, err := c.db.QueryContext(context.Background(), sql, nil)
	if err != nil {
		return nil, explain(c.path, err)
	}
	defer rows.Close()
	dest := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(dest); err != nil {
		return nil, explain(c.path, err)
	}
	return dest[0], nil
}

func (c *conn) prepare(q query) (*stmt, error) {
	st, err := c.prepareSQL(queries[q].what, queries[q].sql)
	if e := (sqlite3.Error{}); errors.As(err, &e) && e.Code == sqlite3.ErrError {
		err = fmt.Errorf("%w: %w", ErrDamaged, err) // the schema is not ours any more
	}
	return st, err
}

func (c *conn) prepareSQL(what, sql string) (*stmt, error) {
	s, err := c.db.PrepareContext(context.Background(), sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, explain(c.path, err))
	}
	st := &stmt{s: s.(*sqlite3.SQLiteStmt), path: c.path, what: what}
	st.args = make([]driver.NamedValue, st.s.NumInput())
	for i := range st.args {
		st.args[i].Ordinal = i + 1
	}
	return st, nil
}

// stmt returns the prepared statement, or another one of its kind when rows
// are being read from it; done gives it back.
func (c *conn) stmt(q query) (st *stmt, done func(), err error) {
	st = c.stmts[q]
	if st != nil && st.busy {
		st, err = c.prepare(q)
		if err != nil {
			return nil, nil, err
		}
		return st, func() { st.s.Close() }, nil
	}
	if st == nil {
		if st, err = c.prepare(q); err != nil {
			return nil, nil, err
		}
		c.stmts[q] = st
	}
	return st, func() {}, nil
}

func (st *stmt) bind(args []driver.Value) []driver.NamedValue {
	for i, a := range args {
		st.args[i].Value = a
	}
	return st.args[:len(args)]
}

// unbind lets go of what the arguments held.
func (st *stmt) unbind() {
	for i := range st.args {
		st.args[i].Value = nil
	}
}

func (st *stmt) error(err error) error { return fmt.Errorf("%s: %w", st.what, explain(st.path, err)) }

// exec runs a statement that gives no rows and returns how many it changed.
func (c *conn) exec(q query, args ...driver.Value) (changed int64, err error) {
	st, done, err := c.stmt(q)
	if err != nil {
		return 0, err
	}
	defer done()
	if c.called != nil {
		c.called(st.what)
	}
	return st.exec(args)
}

func (st *stmt) exec(args []driver.Value) (changed int64, err error) {
	res, err := st.s.ExecContext(context.Background(), st.bind(args))
	st.unbind()
	if err != nil {
		return 0, st.error(err)
	}
	return res.RowsAffected()
}

// one returns the first row, nil if there is none. It is valid until the same
// query runs again.
func (c *conn) one(q query, args ...driver.Value) (row, error) {
	for r, err := range c.rows(q, args...) {
		return r, err
	}
	return nil, nil
}

// rows yields the rows of a query; each is valid until the next. The query may
// be run again within the loop.
func (c *conn) rows(q query, args ...driver.Value) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		st, done, err := c.stmt(q)
		if err != nil {
			yield(nil, err)
			return
		}
		defer done()
		st.rows(context.Background(), args, yield)
	}
}

// dynamic yields the rows of a statement that a caller's query became; each is valid
// until the next. The statement is stopped when ctx ends.
func (c *conn) dynamic(ctx context.Context, sql string, args []driver.Value) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		st := c.other[sql]
		if st == nil || st.busy {
			var err error
			if st, err = c.prepareSQL("query", sql); err != nil {
				if strings.Contains(err.Error(), "no such module: fts5") {
					err = ErrNoFullText
				}
				yield(nil, err)
				return
			}
			if c.other[sql] != nil {
				defer st.s.Close()
			} else {
				c.keep(sql, st)
			}
		}
		st.rows(ctx, args, yield)
	}
}

// keep keeps a statement for the next time.
func (c *conn) keep(sql string, st *stmt) {
	if len(c.other) >= maxOther {
		for old, st := range c.other { // any
			if !st.busy {
				st.s.Close()
				delete(c.other, old)
				break
			}
		}
	}
	if c.other == nil {
		c.other = make(map[string]*stmt)
	}
	c.other[sql] = st
}

func (st *stmt) rows(ctx context.Context, args []driver.Value, yield func(row, error) bool) {
	rows, err := st.s.QueryContext(ctx, st.bind(args))
	st.unbind()
	if err != nil {
		yield(nil, st.error(err))
		return
	}
	st.busy = true
	defer func() { rows.Close(); st.busy = false }()
	if st.cols == nil {
		st.cols = make(row, len(rows.Columns()))
	}
	for {
		err := rows.Next(st.cols)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield(nil, st.error(err))
			return
		}
		if !yield(st.cols, nil) {
			return
		}
	}
}

// row is one row of a result. A column of another type than asked for reads as
// that type's zero, as NULL does.
type row []driver.Value

func (r row) int(i int) int64 {
	n, _ := r[i].(int64)
	return n
}

func (r row) text(i int) string {
	s, _ := r[i].(string)
	return s
}

func (r row) blob(i int) []byte {
	b, _ := r[i].([]byte)
	return b
}

// textBytes returns a text as bytes; nil for NULL. The driver made a copy for
// us, and nobody else holds the string, so it need not be copied again.
func (r row) textBytes(i int) []byte {
	s, ok := r[i].(string)
	if !ok {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// fill copies a column of exactly len(dst) bytes.
func (r row) fill(dst []byte, i int) error {
	b := r.blob(i)
	if len(b) != len(dst) {
		return fmt.Errorf("stored value has %d bytes, want %d: %w", len(b), len(dst), ErrDamaged)
	}
	copy(dst, b)
	return nil
}

// asText hands bytes to the driver as TEXT without a copy: it copies them
// itself while binding. nil is NULL.
func asText(b []byte) driver.Value {
	if b == nil {
		return nil
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}
