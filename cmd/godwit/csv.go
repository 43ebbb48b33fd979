package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// csvID is the column that names the record and is no field of it.
const csvID = "$id"

// csvColumns bounds the columns of a CSV.
const csvColumns = 4096

// csvReader turns the lines of a CSV into items. The first line has the fields' paths;
// what is no path is a key. A cell is JSON, or else a plain string; an empty one is no
// field.
type csvReader struct {
	in      *csv.Reader
	limit   *lineLimit
	text    bool // all cells are strings
	columns []crdt.Path
	id      int // the column csvID, -1 for none
	count   int
}

func newCSVReader(in io.Reader, text bool) *csvReader {
	limit := &lineLimit{in: bufio.NewReader(in)}
	r := &csvReader{in: csv.NewReader(limit), limit: limit, text: text, id: -1}
	r.in.ReuseRecord = true
	return r
}

// offset returns how much was read.
func (r *csvReader) offset() int64 { return r.in.InputOffset() }

// next returns the next item, io.EOF behind the last one. Other errors are a *badInput or
// the failure to read.
func (r *csvReader) next() (item, error) {
	if r.columns == nil {
		if err := r.header(); err != nil {
			return item{}, err
		}
	}
	cells, err := r.read()
	if err != nil {
		return item{}, err
	}
	r.count++
	line, _ := r.in.FieldPos(0)
	it := item{number: r.count, line: line, offset: r.offset()}
	record := map[string]any{}
	for i, cell := range cells {
		if cell == "" || i == r.id {
			continue
		}
		if err := place(record, r.columns[i], r.value(cell)); err != nil {
			line, _ := r.in.FieldPos(i)
			return it, &badInput{line: line, err: fmt.Errorf("column %s: %w", r.columns[i], err)}
		}
	}
	if r.id >= 0 {
		it.id = &cells[r.id]
	}
	it.data, err = crdt.AppendJSON(nil, record)
	if err != nil {
		err = it.bad(err)
	}
	return it, err
}

// read reads a line.
func (r *csvReader) read() ([]string, error) {
	r.limit.left = maxItem
	cells, err := r.in.Read()
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		err = &badInput{line: syntax.Line, err: syntax.Err}
	}
	if errors.Is(err, errLongLine) {
		line, _ := r.in.FieldPos(0)
		err = &badInput{line: line + 1, err: errLongLine}
	}
	return cells, err
}

// header reads the first line.
func (r *csvReader) header() error {
	if mark, _ := r.limit.in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // a byte order mark
		_, _ = r.limit.in.Discard(3)
	}
	names, err := r.read()
	if err == io.EOF {
		return &badInput{line: 1, err: errors.New("a CSV begins with the names of its columns, this is empty")}
	}
	if err != nil {
		return err
	}
	if len(names) > csvColumns {
		return &badInput{line: 1, err: fmt.Errorf("%d columns, at most %d are allowed", len(names), csvColumns)}
	}
	seen := map[string]bool{}
	for i, name := range names {
		path := crdt.Path{{Key: name}}
		if p, err := crdt.ParsePath(name); err == nil {
			path = p
		}
		if name == csvID && r.id < 0 {
			r.id = i
			r.columns = append(r.columns, nil)
			continue
		}
		switch {
		case name == csvID:
			return &badInput{line: 1, err: fmt.Errorf("the column %s is there twice", name)}
		case name == "" || slices.ContainsFunc(path, func(s crdt.Step) bool { return s.InList }):
			return &badInput{line: 1, err: fmt.Errorf("column %d, %q, names no field", i+1, name)}
		}
		if seen[path.String()] {
			return &badInput{line: 1, err: fmt.Errorf("the column %s is there twice", name)}
		}
		seen[path.String()] = true
		r.columns = append(r.columns, path)
	}
	return nil
}

func (r *csvReader) value(cell string) any {
	if r.text {
		return cell
	}
	return jsonOrText(cell)
}

// place puts a value into a map, at a path.
func place(m map[string]any, path crdt.Path, v any) error {
	for i, s := range path {
		if i == len(path)-1 {
			if _, there := m[s.Key]; there {
				return errors.New("another column has a value in its place")
			}
			m[s.Key] = v
			break
		}
		inner, ok := m[s.Key].(map[string]any)
		if _, there := m[s.Key]; there && !ok {
			return errors.New("another column has a value in its place")
		}
		if !ok {
			inner = map[string]any{}
			m[s.Key] = inner
		}
		m = inner
	}
	return nil
}

// lineLimit fails when a line is too long; a quote that is never closed makes the rest of
// a file one line.
type lineLimit struct {
	in   *bufio.Reader
	left int
}

var errLongLine = fmt.Errorf("the line is longer than %d MiB: is a quote not closed?", maxItem>>20)

func (l *lineLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongLine
	}
	n, err := l.in.Read(p)
	l.left -= n
	return n, err
}

// exportCSV writes a collection: a column for each field that any record has, nested ones
// by their path, lists as JSON. It reads the collection twice, first for the columns.
func exportCSV(e *env, r *replica.Replica, collection string) error {
	columns := map[string]crdt.Path{}
	err := eachFlat(e, r, collection, func(_ string, fields map[string]flat) error {
		for name, f := range fields {
			columns[name] = f.path
		}
		if len(columns) > csvColumns {
			return fmt.Errorf("export %s: more than %d different fields: export JSON instead", collection, csvColumns)
		}
		return nil
	})
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(columns))
	w := csv.NewWriter(e.stdout)
	head := []string{csvID}
	for _, name := range names {
		head = append(head, columnName(name, columns[name]))
	}
	if err := w.Write(head); err != nil {
		return err
	}
	err = eachFlat(e, r, collection, func(id string, fields map[string]flat) error {
		cells := []string{id}
		for _, name := range names {
			cells = append(cells, fields[name].cell)
			delete(fields, name)
		}
		if len(fields) > 0 {
			return &replica.Error{Op: "export", Record: crdt.Key{Collection: collection, ID: id},
				Err: errors.New("it got a new field meanwhile: export again")}
		}
		return w.Write(cells)
	})
	if err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

// columnName returns a key as it is where nothing else can be meant, else the path.
func columnName(name string, path crdt.Path) string {
	if len(path) == 1 && path[0].Key != "" && path[0].Key != csvID {
		if _, err := crdt.ParsePath(path[0].Key); err != nil && !strings.ContainsAny(path[0].Key, "\r\n") {
			return path[0].Key
		}
	}
	return name
}

// flat is a field that is no map, or an empty one.
type flat struct {
	path crdt.Path
	cell string
}

func eachFlat(e *env, r *replica.Replica, collection string, each func(id string, fields map[string]flat) error) error {
	for it, err := range r.List(e.ctx, collection, 0) {
		if err != nil {
			return err
		}
		v, err := crdt.ParseJSON(it.Value)
		if err == nil {
			fields := map[string]flat{}
			if err = flatten(fields, nil, v); err == nil {
				err = each(it.Key.ID, fields)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func flatten(fields map[string]flat, path crdt.Path, v any) error {
	if m, ok := v.(map[string]any); ok && (len(m) > 0 || path == nil) {
		for k, inner := range m {
			if err := flatten(fields, append(slices.Clip(path), crdt.Step{Key: k}), inner); err != nil {
				return err
			}
		}
		return nil
	}
	cell, err := cellOf(v)
	fields[path.String()] = flat{path, cell}
	return err
}

// cellOf writes a value so that it is read back as what it is: a string that would read
// as JSON, or that readers of CSV change, is written as JSON.
func cellOf(v any) (string, error) {
	if s, ok := v.(string); ok && s != "" && !strings.Contains(s, "\r") {
		if _, err := crdt.ParseJSON([]byte(s)); err != nil {
			return s, nil
		}
	}
	b, err := crdt.AppendJSON(nil, v)
	return string(b), err
}
