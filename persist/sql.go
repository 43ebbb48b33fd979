package persist

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/godwitdb/godwit/crdt"
)

// ErrSQL: SQL asks for something else than reading the collections' views.
var ErrSQL = errors.New("this SQL may only read: SELECT from the collections, each of which is a view")

// Bounds of SQL.
const (
	maxSQLValue   = 64 << 20 // bytes of a value on the way
	maxSQLColumns = 500      // of a collection's view
	sqlSample     = 100      // records from each end of a collection that are looked at for its columns
)

// SQLRow is a row that SQL selected.
type SQLRow struct {
	Columns []string // shared by all rows
	Values  []any    // nil, int64, float64, string or []byte
}

// SQL runs a statement of the caller's on a connection that refuses everything but
// reading: the file is opened for reading only, and SQLite asks for leave of whatever a
// statement wants (allow). It ends with ctx.
//
// Each collection is a view: _id, _json, and a column for each field that is indexed,
// in the full text, or seen at the root of one of the first and last records by ID; of
// all records if a column is not found so. A time is RFC 3339, bytes are base64, true
// and false 1 and 0, lists and maps JSON.
//
// The rows are of one moment. As long as the loop goes on the WAL grows.
func (s *Store) SQL(ctx context.Context, sql string, args []any) iter.Seq2[SQLRow, error] {
	return func(yield func(SQLRow, error) bool) {
		if err := s.runSQL(ctx, sql, args, yield); err != nil {
			yield(SQLRow{}, err)
		}
	}
}

// runSQL returns an error that was not yielded yet.
func (s *Store) runSQL(ctx context.Context, sql string, args []any, yield func(SQLRow, error) bool) error {
	values, err := sqlArgs(args)
	if err != nil {
		return err
	}
	c, err := s.sqls.take(ctx)
	if err != nil {
		return err
	}
	defer s.sqls.give(c)
	if err := c.asked.refresh(s, c, false); err != nil {
		return err
	}
	rows, err := c.db.QueryContext(ctx, sql, values)
	if err != nil && strings.Contains(err.Error(), "no such column") {
		if err := c.asked.refresh(s, c, true); err != nil {
			return err
		}
		rows, err = c.db.QueryContext(ctx, sql, values)
	}
	if err != nil {
		return refused(err)
	}
	defer rows.Close()
	row := SQLRow{Columns: rows.Columns()}
	dest := make([]driver.Value, len(row.Columns))
	for {
		if err := rows.Next(dest); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return refused(err)
		}
		row.Values = make([]any, len(dest))
		for i, v := range dest {
			row.Values[i] = v
		}
		if !yield(row, nil) {
			return nil
		}
	}
}

// refused tells SQL that wants too much from SQL that is wrong.
func refused(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrAuth || e.Code == sqlite3.ErrReadonly ||
		strings.HasPrefix(e.Error(), "not authorized") || strings.HasPrefix(e.Error(), "cannot modify")) { // a function, a view
		return fmt.Errorf("%w (%v)", ErrSQL, err)
	}
	return err
}

func sqlArgs(args []any) ([]driver.NamedValue, error) {
	values := make([]driver.NamedValue, len(args))
	for i, a := range args {
		v, err := sqlArg(a)
		if err != nil {
			return nil, &QueryError{Reason: fmt.Sprintf("argument %d: %v", i+1, err)}
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return values, nil
}

// sqlArg writes a value as the columns of views have it.
func sqlArg(v any) (driver.Value, error) {
	switch v := v.(type) {
	case nil, []byte, bool:
		return v, nil
	}
	key, err := keyValue(v)
	tagged, ok := key.([]byte)
	if err != nil || !ok {
		return key, err
	}
	switch tagged[0] {
	case tagTime:
		var form struct {
			Time any `json:"$time"`
		}
		text, err := crdt.AppendJSON(nil, v)
		return form.Time, errors.Join(err, json.Unmarshal(text, &form))
	case tagNull, tagNaN:
		return nil, nil
	case tagFalse, tagTrue:
		return tagged[0] == tagTrue, nil
	}
	return string(tagged[1:]), nil
}

// asked guards a connection that runs callers' SQL.
type asked struct {
	ours    bool                // the statement is this package's own
	version int64               // SQLite's data_version when the views were made
	known   map[string][]string // the fields that were seen so far, by collection
	made    []string            // the views
}

// openAsked opens a connection for callers' SQL.
func openAsked(path string, o Options, v *vault) (*conn, error) {
	c, err := openReader(path, o.BusyTimeout, v)
	if err != nil {
		return nil, err
	}
	c.asked = &asked{ours: true, version: -1, known: map[string][]string{}}
	if err := c.run("PRAGMA query_only = 1; PRAGMA trusted_schema = 0;"); err != nil {
		c.close()
		return nil, err
	}
	c.db.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, maxSQLValue)
	c.db.SetLimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
	c.db.RegisterAuthorizer(c.asked.allow)
	return c, nil
}

// What SQLite asks leave for (https://sqlite.org/c3ref/c_alter_table.html), as far as
// the driver has no names for it.
const authRecursive = 33

// allow answers SQLite, which asks when it compiles a statement: what for, and on what.
func (a *asked) allow(action int, what, name, database string) int {
	if a.ours {
		return sqlite3.SQLITE_OK
	}
	allowed := false
	switch action {
	case sqlite3.SQLITE_SELECT, authRecursive:
		allowed = true
	case sqlite3.SQLITE_READ: // a table, a column
		allowed = database == "temp" && !strings.HasPrefix(what, "sqlite_") ||
			what == "records" || what == "json_each" || what == "json_tree"
	case sqlite3.SQLITE_FUNCTION:
		name = strings.ToLower(name)
		allowed = name != "load_extension" && !strings.HasPrefix(name, "auth") && !strings.HasPrefix(name, "fts")
	}
	if allowed {
		return sqlite3.SQLITE_OK
	}
	return sqlite3.SQLITE_DENY
}

// refresh makes the views anew if the file has changed; all has every record looked at
// for fields.
func (a *asked) refresh(s *Store, c *conn, all bool) error {
	a.ours = true
	defer func() { a.ours = false }()
	version, err := c.pragma("PRAGMA data_version")
	if err != nil {
		return err
	}
	if version == a.version && !all {
		return nil
	}
	if err := a.dropViews(c); err != nil { // a collection may be called like a table of ours
		return err
	}
	text := ""
	err = s.readWith(c, func(r *Reader) (err error) {
		if _, err := r.Encrypted(); err != nil { // the statement cannot ask for the key
			return err
		}
		text, err = a.views(r, all)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.run("PRAGMA query_only = 0;" + text + "PRAGMA query_only = 1;"); err != nil {
		return fmt.Errorf("make views: %w", err)
	}
	a.version, _ = version.(int64)
	return nil
}

func (a *asked) dropViews(c *conn) error {
	text := "PRAGMA query_only = 0;"
	for _, name := range a.made {
		text += "DROP VIEW IF EXISTS temp." + identifier(name) + ";"
	}
	a.made, a.version = nil, -1
	return c.run(text + "PRAGMA query_only = 1;")
}

// views returns the SQL that makes a view of each collection.
func (a *asked) views(r *Reader, all bool) (string, error) {
	names, err := r.Collections()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	taken := map[string]bool{}
	for _, collection := range names {
		if strings.HasPrefix(collection, "_") {
			continue // godwit's own
		}
		name := collection
		fields, err := a.fields(r, collection, all)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(strings.ToLower(name), "sqlite_") {
			name = "_" + name // such names are SQLite's
		}
		name = unique(name, taken)
		a.made = append(a.made, name)
		fmt.Fprintf(&b, "CREATE TEMP VIEW %s AS SELECT r.id AS _id, %s AS _json", identifier(name), viewJSON("r"))
		columns := map[string]bool{"_id": true, "_json": true}
		for _, f := range fields {
			path, err := fieldPath(f)
			if err != nil || len(columns) >= maxSQLColumns {
				continue
			}
			at := "(" + viewJSON("r") + ", " + literal(path) + ")"
			fmt.Fprintf(&b, ",\n%s AS %s", columnOf("json_type"+at, "json_extract"+at), identifier(unique(columnName(f), columns)))
		}
		fmt.Fprintf(&b, "\nFROM main.records r WHERE r.collection = %s AND r.deleted = 0;\n", literal(collection))
	}
	return b.String(), nil
}

// fields returns the paths of a collection's fields, those that were ever seen.
func (a *asked) fields(r *Reader, collection string, all bool) ([]string, error) {
	seen := map[string]bool{}
	for _, f := range a.known[collection] {
		seen[f] = true
	}
	indexes, err := r.Indexes(collection)
	if err != nil {
		return nil, err
	}
	for _, x := range indexes {
		seen[x.Field] = true
	}
	t, err := r.TextIndex(collection)
	if err != nil {
		return nil, err
	}
	if t != nil {
		for _, f := range t.Fields {
			seen[f] = true
		}
	}
	limit := int64(sqlSample)
	if all {
		limit = -1
	}
	c := r.newCompiler()
	c.arg(collection)
	c.arg(limit)
	some := "SELECT " + c.json + " AS json FROM records r WHERE r.collection = ?1 AND r.deleted = 0 ORDER BY r.id"
	c.WriteString("SELECT DISTINCT e.key FROM (SELECT json FROM (" + some + " LIMIT ?2) UNION ALL SELECT json FROM (" +
		some + " DESC LIMIT ?2)) v, json_each(v.json) e LIMIT 10000")
	for row, err := range r.dynamic(context.Background(), c) {
		if err != nil {
			return nil, err
		}
		seen[crdt.Path{{Key: row.text(0)}}.String()] = true
	}
	a.known[collection] = slices.Sorted(maps.Keys(seen))
	return a.known[collection], nil
}

// columnOf is the SQL of a field as a view shows it, from SQL for the JSON type of what
// it holds and for the value.
func columnOf(kind, value string) string {
	form := func(name string) string { return "json_extract(" + value + ", '$.\"" + name + "\"')" }
	is := func(name string) string { return value + " = json_object('" + name + "', " + form(name) + ")" }
	return "CASE WHEN " + kind + " IS NOT 'object' OR substr(" + value + ", 1, 3) <> '{\"$' THEN " + value +
		" WHEN " + is("$time") + " THEN " + form("$time") + " WHEN " + is("$bytes") + " THEN " + form("$bytes") +
		" WHEN " + is("$float") + " THEN CASE " + form("$float") + " WHEN 'Infinity' THEN 9e999 WHEN '-Infinity' THEN -9e999 END" +
		" ELSE " + value + " END"
}

// columnName is a field's name in a view: its key, or its path if that has several.
func columnName(field string) string {
	if path, err := crdt.ParsePath(field); err == nil && len(path) == 1 {
		return path[0].Key
	}
	return field
}

// unique returns a name that SQLite, for which case does not matter, tells from those
// taken, and takes it.
func unique(name string, taken map[string]bool) string {
	for n, first := 2, name; taken[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s_%d", first, n)
	}
	taken[strings.ToLower(name)] = true
	return name
}

// identifier writes a name into SQL.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
