package persist

import (
	"fmt"
	"iter"
	"strings"

	"github.com/godwitdb/godwit/crdt"
)

// FieldValue is what a record shows in one field, as JSON.
type FieldValue struct {
	ID    string
	Value []byte
}

// Duplicates yields the records of a collection whose stored value of a field
// another one has too, by value and id. Records without the field, or with null
// in it, do not count.
func (r *Reader) Duplicates(collection string, field crdt.Path) iter.Seq2[FieldValue, error] {
	return r.fieldValues(qDuplicates, field, collection)
}

// Dangling yields what a field of a collection's records refers to and is not
// there: a string names a record of the target collection, a list of strings
// several; anything else but null names nothing. A forgotten record counts as there.
// They come by id, and in the order of the list.
func (r *Reader) Dangling(collection string, field crdt.Path, target string) iter.Seq2[FieldValue, error] {
	return r.fieldValues(qDangling, field, collection, target)
}

func (r *Reader) fieldValues(q query, field crdt.Path, collection string, more ...string) iter.Seq2[FieldValue, error] {
	path, err := JSONPath(field)
	if err != nil {
		return func(yield func(FieldValue, error) bool) { yield(FieldValue{}, r.fail(err)) }
	}
	parse := func(row row) (FieldValue, error) {
		return FieldValue{ID: row.text(0), Value: row.textBytes(1)}, nil
	}
	if len(more) == 0 {
		return scan(r, parse, q, collection, path)
	}
	return scan(r, parse, q, collection, path, more[0])
}

// JSONPath returns a path of keys in the syntax of SQLite's JSON functions. It
// refuses what they cannot express, keys with quotes or backslashes, and indexes,
// which name another element after each edit.
func JSONPath(p crdt.Path) (string, error) {
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range p {
		if s.InList {
			return "", fmt.Errorf("field %s: an index names no field", p)
		}
		if s.Key == "" || strings.ContainsFunc(s.Key, func(r rune) bool { return r == '"' || r == '\\' || r < ' ' }) {
			return "", fmt.Errorf("field %s: a key is empty, or has quotes, backslashes or control characters", p)
		}
		b.WriteString(`."` + s.Key + `"`)
	}
	return b.String(), nil
}
