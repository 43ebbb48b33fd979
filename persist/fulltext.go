package persist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/godwitdb/godwit/crdt"
)

// ErrNoFullText: this program was built without SQLite's full text.
var ErrNoFullText = errors.New("this program was built without full-text search: build it with -tags sqlite_fts5")

// MaxTextFields bounds the fields of a full text.
const MaxTextFields = 32

// textBatch is how many records one transaction enters into a full text.
const textBatch = 500

// TextIndex keeps the words of some fields of a collection's records.
//
// It follows the log and the view changes, and is behind until UpdateText was called:
// records are written also by programs that were built without the module for it, which
// could not write to its table.
type TextIndex struct {
	ID         int64
	Collection string
	Fields     []string // paths
	Done       int64    // records up to this RID are in it
	Ready      bool     // all are
	LSN        crdt.LSN // changes up to here are in it
	View       int64    // view changes up to this Seq are in it
}

func (t *TextIndex) table() string { return fmt.Sprintf("text_%d", t.ID) }

// TextIndex returns a collection's full text, nil if it has none.
func (r *Reader) TextIndex(collection string) (*TextIndex, error) {
	row, err := r.one(qText, collection)
	if err != nil || row == nil {
		return nil, err
	}
	t := &TextIndex{ID: row.int(0), Collection: row.text(1), Done: row.int(3), Ready: row.int(4) != 0, LSN: crdt.LSN(row.int(5)), View: row.int(6)}
	err = json.Unmarshal(row.textBytes(2), &t.Fields)
	return t, r.fail(stored("full text of", collection, err))
}

// TextBehind reports whether UpdateText has something to do.
func (r *Reader) TextBehind(t *TextIndex) (bool, error) {
	view, err := r.LastView()
	return !t.Ready || t.LSN < r.head.LSN || t.View < view, err
}

// HasFullText reports whether this program can keep and search full texts.
func (r *Reader) HasFullText() (bool, error) {
	row, err := r.one(qHasFullText)
	return err == nil && row.int(0) != 0, err
}

// EnsureText declares the full text of a collection, over these fields and no others;
// none removes it. UpdateText fills it. It reports whether that is a change.
func (tx *Tx) EnsureText(collection string, fields []string) (changed bool, err error) {
	if err := (crdt.Key{Collection: collection, ID: "-"}).Valid(); err != nil {
		return false, &QueryError{Reason: err.Error()}
	}
	if len(fields) > MaxTextFields {
		return false, &QueryError{Reason: fmt.Sprintf("a full text of %d fields, at most %d are allowed", len(fields), MaxTextFields)}
	}
	for _, f := range fields {
		if _, err := fieldPath(f); err != nil {
			return false, err
		}
	}
	had, err := tx.TextIndex(collection)
	if err != nil || had == nil && len(fields) == 0 || had != nil && slices.Equal(had.Fields, fields) {
		return false, err
	}
	if ok, err := tx.HasFullText(); err != nil || !ok {
		return false, errors.Join(err, ErrNoFullText)
	}
	if had != nil {
		if _, err := tx.exec(qDeleteText, had.ID); err != nil {
			return false, err
		}
		if err := tx.fail(tx.c.run("DROP TABLE " + had.table())); err != nil {
			return false, err
		}
	}
	if len(fields) == 0 {
		return true, nil
	}
	if err := tx.createText(collection, fields); err != nil {
		return false, err
	}
	return true, tx.checkPlain()
}

func (tx *Tx) createText(collection string, fields []string) error {
	list, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	view, err := tx.LastView()
	if err != nil {
		return err
	}
	row, err := tx.one(qInsertText, collection, string(list), int64(tx.head.LSN), view)
	if err != nil {
		return err
	}
	t := &TextIndex{ID: row.int(0), Fields: fields}
	return tx.fail(tx.c.run(fmt.Sprintf("CREATE VIRTUAL TABLE %s USING fts5 (%s, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')",
		t.table(), t.columns())))
}

// columns returns the names of the table's columns, one for each field.
func (t *TextIndex) columns() string {
	names := make([]string, len(t.Fields))
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	return strings.Join(names, ", ")
}

// UpdateText enters into a full text what changed since it was last done, some records a
// call, and reports whether there is more.
func (tx *Tx) UpdateText(ctx context.Context, t *TextIndex) (more bool, err error) {
	if ok, err := tx.HasFullText(); err != nil || !ok {
		return false, errors.Join(err, ErrNoFullText)
	}
	if t, err = tx.TextIndex(t.Collection); err != nil || t == nil {
		return false, err
	}
	if err := tx.textGap(t); err != nil {
		return false, err
	}
	if !t.Ready {
		return true, tx.fillText(ctx, t)
	}
	if behind, err := tx.TextBehind(t); err != nil || !behind {
		return false, err
	}
	lsn, view := min(t.LSN+textBatch, tx.head.LSN), int64(0)
	if view, err = tx.LastView(); err != nil {
		return false, err
	}
	view = min(t.View+textBatch, view)
	var rids []int64
	for row, err := range tx.rows(qTextChanged, int64(t.LSN), int64(lsn), t.View, view) {
		if err != nil {
			return false, err
		}
		rids = append(rids, row.int(0))
	}
	list, err := json.Marshal(rids)
	if err != nil {
		return false, err
	}
	in := func(c *compiler, rid string) string {
		return rid + " IN (SELECT value FROM json_each(" + c.arg(string(list)) + "))"
	}
	c := &compiler{}
	c.WriteString("DELETE FROM " + t.table() + " WHERE " + in(c, "rowid"))
	if err := tx.execDynamic(ctx, c); err != nil {
		return false, err
	}
	if err := tx.enterText(ctx, t, in); err != nil {
		return false, err
	}
	_, err = tx.exec(qTextDone, t.Done, true, int64(lsn), view, t.ID)
	return true, err
}

// textGap has a full text begin anew when rows that it did not read are gone from the
// log, or from the view changes.
func (tx *Tx) textGap(t *TextIndex) error {
	row, err := tx.one(qTextGap, int64(t.LSN), t.View)
	if err != nil || row.int(0) == 0 {
		return err
	}
	view, err := tx.LastView()
	if err != nil {
		return err
	}
	t.Ready, t.Done, t.LSN, t.View = false, 0, tx.head.LSN, view
	if err := tx.fail(tx.c.run(fmt.Sprintf("INSERT INTO %[1]s (%[1]s) VALUES ('delete-all')", t.table()))); err != nil {
		return err
	}
	_, err = tx.exec(qTextDone, int64(0), false, int64(t.LSN), t.View, t.ID)
	return err
}

// fillText enters the next records for the first time.
func (tx *Tx) fillText(ctx context.Context, t *TextIndex) error {
	last, err := tx.LastRID()
	if err != nil {
		return err
	}
	to := t.Done + textBatch
	err = tx.enterText(ctx, t, func(c *compiler, rid string) string {
		return rid + " > " + c.arg(t.Done) + " AND " + rid + " <= " + c.arg(to)
	})
	if err != nil {
		return err
	}
	_, err = tx.exec(qTextDone, to, to >= last, int64(t.LSN), t.View, t.ID)
	return err
}

// enterText writes the words of the records that which, SQL about a RID, holds for. A
// string has words, and so has a list of strings.
func (tx *Tx) enterText(ctx context.Context, t *TextIndex, which func(c *compiler, rid string) string) error {
	c := &compiler{json: viewJSON("r")}
	c.WriteString("INSERT INTO " + t.table() + " (rowid, " + t.columns() + ") SELECT r.rid")
	for _, f := range t.Fields {
		path, err := fieldPath(f)
		if err != nil {
			return tx.fail(err)
		}
		at := c.at(path)
		c.WriteString(", CASE json_type" + at + " WHEN 'text' THEN json_extract" + at +
			" WHEN 'array' THEN (SELECT group_concat(value, char(10)) FROM json_each" + at + " WHERE type = 'text') END")
	}
	c.WriteString(" FROM records r WHERE r.collection = " + c.arg(t.Collection) + " AND r.deleted = 0 AND " + which(c, "r.rid"))
	return tx.execDynamic(ctx, c)
}

func (tx *Tx) execDynamic(ctx context.Context, c *compiler) error {
	for _, err := range tx.dynamic(ctx, c) {
		if err != nil {
			return err
		}
	}
	return nil
}

// search writes the condition of a Search.
func (c *compiler) search(s search) error {
	if c.text == nil {
		return &QueryError{Reason: "the collection has no full text to search: declare one"}
	}
	var columns []string
	for _, f := range s.fields {
		i := slices.IndexFunc(c.text.Fields, func(have string) bool { return samePath(have, f) })
		if i < 0 {
			return &QueryError{Field: f, Reason: "is not in the collection's full text, which has " + strings.Join(c.text.Fields, ", ")}
		}
		columns = append(columns, fmt.Sprintf("c%d", i))
	}
	match, err := matchOf(s.text)
	if err != nil {
		return err
	}
	if len(columns) > 0 {
		match = "{" + strings.Join(columns, " ") + "} : (" + match + ")"
	}
	c.WriteString(c.rid + " IN (SELECT rowid FROM " + c.text.table() + " WHERE " + c.text.table() + " MATCH " + c.arg(match) + ")")
	return nil
}

// maxSearchWords bounds a search.
const maxSearchWords = 64

// matchOf writes words in the language of FTS5, where each stands in quotes
// (https://sqlite.org/fts5.html, section 3).
func matchOf(text string) (string, error) {
	if _, err := checkedText(text); err != nil || strings.ContainsRune(text, 0) {
		return "", &QueryError{Reason: "the words to search for are no text"}
	}
	var words []string
	for _, w := range strings.Fields(text) {
		if !strings.ContainsFunc(w, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
			continue // signs are no words
		}
		stem, prefix := strings.CutSuffix(w, "*")
		w = `"` + strings.ReplaceAll(stem, `"`, `""`) + `"`
		if prefix {
			w += "*"
		}
		words = append(words, w)
	}
	if len(words) == 0 || len(words) > maxSearchWords {
		return "", &QueryError{Reason: fmt.Sprintf("%d words to search for, want 1 to %d", len(words), maxSearchWords)}
	}
	return strings.Join(words, " AND "), nil
}
