package main

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type queryCmd struct {
	SQL       string   `arg:"" name:"sql" help:"A SELECT of SQLite's."`
	Arguments []string `arg:"" optional:"" name:"argument" help:"What each ? in it stands for, in order: JSON, or a plain string."`
	CSV       bool     `name:"csv" help:"Print CSV, with a line of names first."`
}

// Help is shown by --help.
func (queryCmd) Help() string {
	return `One line of JSON a row. Each collection is a view: _id, _json, and columns for the fields at the root of its records and
for those with an index. Times are RFC 3339, bytes base64, true and false 1 and 0, lists and maps JSON. Nothing can be
written.

    godwit query 'SELECT _id, title FROM notes WHERE likes > ? ORDER BY likes DESC' 10
    godwit query "SELECT value, count(*) AS n FROM notes, json_each(tags) GROUP BY value" --csv`
}

// Run prints what the statement selects.
func (c *queryCmd) Run(e *env) error {
	args := make([]any, len(c.Arguments))
	for i, text := range c.Arguments {
		args[i] = jsonOrText(text)
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		if c.CSV {
			return queryCSV(e, r, c.SQL, args)
		}
		for row, err := range r.SQL(e.ctx, c.SQL, args...) {
			if err != nil {
				return err
			}
			line, err := rowJSON(row)
			if err != nil {
				return err
			}
			if err := e.printLine(line); err != nil {
				return err
			}
		}
		return nil
	})
}

// jsonOrText reads a value as JSON, and what is none as a string.
func jsonOrText(text string) any {
	if v, err := crdt.ParseJSON([]byte(text)); err == nil {
		return v
	}
	return text
}

// rowJSON writes a row as an object with its columns in order.
func rowJSON(row replica.Row) (line []byte, err error) {
	line = append(line, '{')
	for i, name := range row.Columns {
		if i > 0 {
			line = append(line, ',')
		}
		if n := slices.Index(row.Columns, name); n < i {
			name += "_" + strconv.Itoa(i+1) // a key may not be there twice
		}
		if line, err = appendValue(line, name); err != nil {
			return nil, err
		}
		if line, err = appendValue(append(line, ':'), row.Values[i]); err != nil {
			return nil, err
		}
	}
	return append(line, '}'), nil
}

// appendValue appends JSON; SQL can make strings that are no text.
func appendValue(line []byte, v any) ([]byte, error) {
	if s, ok := v.(string); ok {
		v = strings.ToValidUTF8(s, "\uFFFD")
	}
	return crdt.AppendJSON(line, v)
}

func queryCSV(e *env, r *replica.Replica, sql string, args []any) error {
	w := csv.NewWriter(e.stdout)
	first := true
	for row, err := range r.SQL(e.ctx, sql, args...) {
		if err != nil {
			return err
		}
		if first {
			if err := w.Write(row.Columns); err != nil {
				return err
			}
			first = false
		}
		cells := make([]string, len(row.Values))
		for i, v := range row.Values {
			if v != nil {
				cells[i] = fmt.Sprint(v)
			}
			if b, ok := v.([]byte); ok {
				cells[i] = string(b)
			}
		}
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
