package replica

import (
	"errors"
	"iter"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
)

// CollectionTx is a collection within an Update: its methods are those of Collection,
// see what the transaction wrote before, and are committed with it, or rolled back.
// It may not be used behind the Update's end, nor by several goroutines.
type CollectionTx[T any] struct {
	c  *typed
	tx *Tx
}

var (
	errTxOver       = errors.New("the transaction is over")
	errOtherReplica = errors.New("the transaction is one of another replica")
)

// In returns the collection within a transaction.
func (c *Collection[T]) In(tx *Tx) CollectionTx[T] { return CollectionTx[T]{&c.typed, tx} }

// do runs one operation on a record and names both in its error.
func (c CollectionTx[T]) do(op, id string, fn func(k crdt.Key) error) error {
	k := c.c.key(id)
	switch {
	case c.c.err != nil:
		return c.c.err
	case c.tx.b == nil:
		return recordError(op, k, errTxOver)
	case c.tx.b.w.r != c.c.r:
		return recordError(op, k, errOtherReplica)
	}
	return recordError(op, k, fn(k))
}

// Get is Collection.Get.
func (c CollectionTx[T]) Get(id string) (v T, err error) {
	err = c.do("get", id, func(k crdt.Key) error {
		text, err := c.tx.get(k)
		if err == nil {
			_, err = c.c.read(k, text, reflect.ValueOf(&v).Elem())
		}
		return err
	})
	return v, err
}

// Create is Collection.Create.
func (c CollectionTx[T]) Create(v T) (id string, err error) {
	if c.c.err != nil {
		return "", c.c.err
	}
	if f := c.c.schema.id; f != nil {
		if fv := f.in(reflect.ValueOf(&v).Elem()); fv.IsValid() {
			id = fv.String()
		}
	}
	if id == "" {
		id = c.c.r.uuids.next(c.c.r.opts.Now())
	}
	return id, c.do("create", id, func(k crdt.Key) error {
		e, view, err := c.tx.open(k)
		if err != nil {
			return err
		}
		if e.hist.Shows(view.View) {
			return ErrExists
		}
		after, _, err := c.c.tree(reflect.ValueOf(&v).Elem())
		if err == nil {
			err = c.c.create(c.tx, k, after)
		}
		return err
	})
}

// Put is Collection.Put.
func (c CollectionTx[T]) Put(id string, v T) error {
	return c.do("put", id, func(k crdt.Key) error {
		after, _, err := c.c.tree(reflect.ValueOf(&v).Elem())
		if err == nil {
			err = c.c.put(c.tx, k, after)
		}
		return err
	})
}

// Edit is Collection.Edit.
func (c CollectionTx[T]) Edit(id string, fn func(*T) error) error {
	return c.do("edit", id, func(k crdt.Key) error {
		var v T
		return c.c.edit(c.tx, k, reflect.ValueOf(&v).Elem(), func() error { return fn(&v) })
	})
}

// Delete is Collection.Delete.
func (c CollectionTx[T]) Delete(id string) error {
	return c.do("delete", id, c.tx.remove)
}

// Increment is Collection.Increment.
func (c CollectionTx[T]) Increment(id, field string, by int64) error {
	return c.do("increment", id, func(k crdt.Key) error { return c.c.increment(c.tx, k, field, by) })
}

// Append is Collection.Append.
func (c CollectionTx[T]) Append(id, field string, values ...any) error {
	return c.do("append", id, func(k crdt.Key) error { return c.c.append(c.tx, k, field, values) })
}

// SetPath is Collection.SetPath.
func (c CollectionTx[T]) SetPath(id, path string, value any) error {
	return c.do("set", id, func(k crdt.Key) error { return c.c.setPath(c.tx, k, path, value) })
}

// Count is Collection.Count. It reads the collection.
func (c CollectionTx[T]) Count() (n int, err error) {
	if c.c.err != nil {
		return 0, c.c.err
	}
	for _, err := range c.c.list(c.tx) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// All is Collection.All. Records that the loop itself creates may come or not.
func (c CollectionTx[T]) All() iter.Seq2[string, Result[T]] {
	return func(yield func(string, Result[T]) bool) {
		if c.c.err != nil {
			yield("", Result[T]{Err: c.c.err})
			return
		}
		for it, err := range c.c.list(c.tx) {
			res := Result[T]{Err: err}
			if err == nil {
				_, err := c.c.read(it.Key, it.Value, reflect.ValueOf(&res.Value).Elem())
				res.Err = recordError("list", it.Key, err)
			}
			if !yield(it.Key.ID, res) || err != nil {
				return
			}
		}
	}
}

// list yields the records that exist within a transaction, by id.
func (c *typed) list(tx *Tx) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for after, more := "", true; more; {
			ids, err := c.listIDs(tx, after)
			if err != nil {
				yield(Item{}, &Error{Op: "list " + c.name, Err: err})
				return
			}
			more = len(ids) > 0
			for _, id := range ids {
				after = id
				text, err := c.listed(tx, c.key(id))
				if err != nil || text != nil {
					if !yield(Item{c.key(id), text}, recordError("list", c.key(id), err)) || err != nil {
						return
					}
				}
			}
		}
	}
}

// listIDs returns the ids behind after of one page of the file, and those between that
// the transaction edited.
func (c *typed) listIDs(tx *Tx, after string) (ids []string, err error) {
	if tx.b == nil {
		return nil, errTxOver
	}
	for rec, err := range tx.b.tx.Records(c.name, after, listPage) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, rec.Key.ID)
	}
	last := ""
	if len(ids) == listPage {
		last = ids[listPage-1]
	}
	for k := range tx.edits {
		if k.Collection == c.name && k.ID > after && (last == "" || k.ID < last) {
			ids = append(ids, k.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// listed returns the record's value, nil if it does not exist. What the transaction
// did not touch need not be held in memory for that.
func (c *typed) listed(tx *Tx, k crdt.Key) ([]byte, error) {
	if tx.b.touched[k] == nil {
		return c.r.stored(&tx.b.tx.Reader, k)
	}
	e, view, err := tx.open(k)
	if err != nil || !e.hist.Shows(view.View) {
		return nil, err
	}
	return e.hist.AppendJSON(nil, view.View)
}

// field runs fn on a field of a record that need not exist; shown is what it shows.
func (c *typed) field(tx *Tx, k crdt.Key, path string, fn func(ed *crdt.Edit, p crdt.Path, leaf *codec, shown any) error) error {
	p, leaf, err := c.at(path)
	if err != nil {
		return err
	}
	e, view, err := tx.open(k)
	if err != nil {
		return err
	}
	return tx.change(k, func(ed *crdt.Edit) error {
		return fn(ed, p, leaf, shownAt(e.hist.Value(view.View), p))
	})
}

func (c *typed) increment(tx *Tx, k crdt.Key, field string, by int64) error {
	return c.field(tx, k, field, func(ed *crdt.Edit, p crdt.Path, leaf *codec, shown any) error {
		if t := leaf.pointee(); t != nil && !isInteger(t.typ.Kind()) && (t.typ.Kind() < reflect.Uint || t.typ.Kind() > reflect.Uint64) {
			return &FieldError{Path: p, Want: t.want, Got: "an increment"}
		}
		n := int64(0)
		switch v := shown.(type) {
		case nil:
		case crdt.Counter:
			n = int64(v)
		case int64:
			n = v
		default:
			return &FieldError{Path: p, Want: "a counter or an integer", Got: kindOf(shown)}
		}
		if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
			return &FieldError{Path: p, Want: "a counter within int64", Got: "a greater one"}
		}
		if _, is := shown.(crdt.Counter); is {
			return ed.Increment(p, by)
		}
		return ed.Put(p, crdt.Counter(n+by), crdt.Replace)
	})
}

func (c *typed) append(tx *Tx, k crdt.Key, field string, values []any) error {
	return c.field(tx, k, field, func(ed *crdt.Edit, p crdt.Path, leaf *codec, shown any) error {
		t := leaf.pointee()
		if text, ok := shown.(crdt.Text); ok || t.isText() {
			if !ok && shown != nil {
				return &FieldError{Path: p, Want: wantText, Got: kindOf(shown)}
			}
			return appendText(ed, p, text, values)
		}
		var elem *codec
		if t != nil && t.typ.Kind() != reflect.Interface {
			if elem = t.elem; elem == nil || t.typ.Kind() != reflect.Slice {
				return &FieldError{Path: p, Want: t.want, Got: "values to be appended"}
			}
		}
		list, isList := shown.([]any)
		if shown != nil && !isList {
			return &FieldError{Path: p, Want: "a list", Got: kindOf(shown)}
		}
		trees := make([]any, len(values))
		for i, v := range values {
			var err error
			if trees[i], err = given(step(p, crdt.Step{Index: len(list) + i, InList: true}), elem, v); err != nil {
				return err
			}
		}
		if !isList {
			return ed.Put(p, trees, crdt.Replace)
		}
		return ed.Insert(p, len(list), trees...)
	})
}

func (c *codec) isText() bool { return c != nil && c.want == wantText }

// appendText adds strings at the end of a text, which may not exist yet.
func appendText(ed *crdt.Edit, p crdt.Path, text crdt.Text, values []any) error {
	var b strings.Builder
	for _, v := range values {
		s, err := given(p, nil, v)
		if err != nil {
			return err
		}
		str, ok := plainTree(s).(string)
		if !ok {
			return &FieldError{Path: p, Want: "a string at the end of a text", Got: kindOf(s)}
		}
		b.WriteString(str)
	}
	return ed.Put(p, text+crdt.Text(b.String()), crdt.Replace)
}

func (c *typed) setPath(tx *Tx, k crdt.Key, path string, value any) error {
	return c.field(tx, k, path, func(ed *crdt.Edit, p crdt.Path, leaf *codec, _ any) error {
		tree, err := given(p, leaf, value)
		if err != nil {
			return err
		}
		return ed.Put(p, orNull(tree), crdt.Replace)
	})
}

// kindOf says what a tree is, for errors.
func kindOf(tree any) string {
	text, err := crdt.AppendJSON(nil, tree)
	if err != nil {
		return err.Error()
	}
	return (&jsonReader{s: string(text)}).kind()
}
