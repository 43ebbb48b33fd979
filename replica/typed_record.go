package replica

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// typed reads and writes the records of a collection as values of one Go type, by
// reflection; Collection puts the type onto it.
type typed struct {
	r       *Replica
	name    string
	version int
	schema  *schema
	lens    *lens // nil: none
	err     error // the type or the lenses are none; every operation says so

	indexes []string // that WithIndex declares, by paths of the app's
	strategies
	fetches *fetches
}

func (c *typed) key(id string) crdt.Key { return crdt.Key{Collection: c.name, ID: id} }

// read decodes a stored value into v. It returns the fields in which something did
// not fit, and the error that names them.
func (c *typed) read(k crdt.Key, text []byte, v reflect.Value) (bad map[string]bool, err error) {
	var lensErr error
	if c.lens != nil {
		if text, bad, lensErr = c.lens.readText(text); text == nil {
			return nil, lensErr
		}
	}
	d := c.schema.read(string(text), v)
	if c.schema.id != nil {
		c.schema.id.of(v).SetString(k.ID)
	}
	for f := range bad {
		d.bad = set(d.bad, f)
	}
	return d.bad, errors.Join(lensErr, d.err())
}

func set(m map[string]bool, key string) map[string]bool {
	if m == nil {
		m = map[string]bool{}
	}
	m[key] = true
	return m
}

// tree returns the fields of v as they are to be stored, before lenses.
func (c *typed) tree(v reflect.Value) (map[string]any, int, error) {
	tree, size, err := c.schema.write(v)
	fields, _ := tree.(map[string]any)
	if err == nil && c.schema.id != nil {
		delete(fields, c.schema.id.name)
	}
	return fields, size, err
}

// put makes the record's fields that the type knows those of after.
func (c *typed) put(tx *Tx, k crdt.Key, after map[string]any) error {
	e, view, err := tx.open(k)
	if err != nil {
		return err
	}
	if !e.hist.Shows(view.View) {
		return c.create(tx, k, after)
	}
	text, err := e.hist.AppendJSON(nil, view.View)
	if err != nil {
		return err
	}
	v := reflect.New(c.schema.typ).Elem()
	bad, _ := c.read(k, text, v) // what does not fit is replaced
	before, _, err := c.tree(v)
	if err != nil {
		return err
	}
	for f := range bad {
		delete(before, f)
		if _, kept := after[f]; !kept {
			if err := c.drop(tx, k, f); err != nil {
				return err
			}
		}
	}
	return c.merge(tx, k, before, after)
}

// drop removes a field that cannot be read and is to be none.
func (c *typed) drop(tx *Tx, k crdt.Key, name string) error {
	p := crdt.Path{{Key: name}}
	if c.lens != nil {
		var err error
		if p, err = c.lens.pathDown(p); err != nil {
			return err
		}
	}
	return tx.change(k, func(ed *crdt.Edit) error { return ed.Delete(p) })
}

// create writes a record that shows nothing yet.
func (c *typed) create(tx *Tx, k crdt.Key, after map[string]any) error {
	if c.lens != nil {
		down, err := c.lens.down(after, nil)
		if err != nil {
			return err
		}
		after = down
	}
	if len(after) == 0 {
		return ErrEmpty
	}
	return tx.change(k, func(ed *crdt.Edit) error { return ed.Put(nil, after, crdt.Merge) })
}

// edit reads the record into v, calls fn, and writes what fn changed.
func (c *typed) edit(tx *Tx, k crdt.Key, v reflect.Value, fn func() error) error {
	text, err := tx.get(k)
	if err != nil {
		return err
	}
	bad, misfit := c.read(k, text, v)
	if bad == nil && misfit != nil {
		return misfit // of the record as a whole
	}
	before, _, err := c.tree(v)
	if err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	after, _, err := c.tree(v)
	if err != nil {
		return err
	}
	for f := range bad {
		if !sameTree(before[f], after[f]) {
			return fmt.Errorf("the field %s was to be changed, but could not be read: %w", f, misfit)
		}
	}
	return c.merge(tx, k, before, after)
}

// merge writes what differs between two trees.
func (c *typed) merge(tx *Tx, k crdt.Key, before, after map[string]any) error {
	if sameTree(before, after) {
		return nil
	}
	e, view, err := tx.open(k)
	if err != nil {
		return err
	}
	actual, codec := e.hist.Value(view.View), c.schema.codec
	if c.lens != nil {
		codec = nil // it knows the names of its own version
		if before, after, err = c.lens.downBoth(before, after, actual); err != nil {
			return err
		}
	}
	err = tx.change(k, func(ed *crdt.Edit) error {
		m := merger{ed: ed}
		if err := m.value(nil, codec, actual, before, after); err != nil {
			return err
		}
		if !e.hist.Shows(view.View) {
			return ErrEmpty
		}
		return nil
	})
	return err
}

// at finds a field that is named by its path.
func (c *typed) at(field string) (p crdt.Path, leaf *codec, err error) {
	p, err = crdt.ParsePath(field)
	if err != nil {
		return nil, nil, err
	}
	if len(p) == 0 {
		return nil, nil, errors.New("no field is named")
	}
	if c.schema.id != nil && p[0].Key == c.schema.id.name {
		return nil, nil, fmt.Errorf("the field %s is the record's id and is not stored", p[0].Key)
	}
	leaf = c.schema.codec
	for i, s := range p {
		leaf = leaf.pointee()
		switch {
		case leaf == nil || leaf.typ.Kind() == reflect.Interface:
			leaf = nil
		case s.InList && (leaf.elem == nil || leaf.typ.Kind() == reflect.Map), !s.InList && leaf.byName == nil && leaf.typ.Kind() != reflect.Map:
			return nil, nil, &FieldError{Path: p[:i], Want: "what " + p.String() + " leads into", Got: leaf.want}
		case !s.InList && leaf.byName != nil && leaf.byName[s.Key] == nil:
			return nil, nil, &FieldError{Path: p[:i+1], Want: "a field of " + leaf.typ.String(), Got: "an unknown name"}
		case s.InList:
			leaf = leaf.elem
		default:
			leaf = leaf.under(s.Key)
		}
	}
	if c.lens != nil {
		p, err = c.lens.pathDown(p)
	}
	return p, leaf, err
}

// given returns the tree of a value that is to be stored where leaf belongs.
func given(p crdt.Path, leaf *codec, value any) (any, error) {
	e := &encoder{path: slices.Clone(p)}
	v := reflect.ValueOf(value)
	if !v.IsValid() {
		if leaf != nil && !isNullable(leaf.typ.Kind()) {
			e.fail(leaf.want, "null")
		}
		return nil, e.err
	}
	leaf = leaf.pointee()
	if leaf == nil {
		return e.any(v), e.err
	}
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Type() != leaf.typ {
		v = v.Elem()
	}
	out := v
	switch t := leaf.typ; {
	case v.Type().AssignableTo(t):
		out = reflect.New(t).Elem()
		out.Set(v)
	case v.CanInt() && (isInteger(t.Kind()) && !reflect.Zero(t).OverflowInt(v.Int()) || reflect.Zero(t).CanFloat()),
		v.CanInt() && reflect.Zero(t).CanUint() && v.Int() >= 0 && !reflect.Zero(t).OverflowUint(uint64(v.Int())),
		v.CanUint() && reflect.Zero(t).CanUint() && !reflect.Zero(t).OverflowUint(v.Uint()),
		v.CanFloat() && reflect.Zero(t).CanFloat(),
		v.Kind() == reflect.String && t.Kind() == reflect.String:
		out = v.Convert(t)
	default:
		e.fail(leaf.want, "a "+v.Type().String())
		return nil, e.err
	}
	tree := leaf.encode(e, out)
	return tree, e.err
}

func isNullable(k reflect.Kind) bool {
	return k == reflect.Map || k == reflect.Slice || k == reflect.Pointer || k == reflect.Interface
}

// shownAt returns what a tree has at a path, nil if nothing.
func shownAt(tree any, p crdt.Path) any {
	for _, s := range p {
		switch at := tree.(type) {
		case map[string]any:
			tree = at[s.Key]
		case []any:
			if tree = nil; s.InList && s.Index < len(at) {
				tree = at[s.Index]
			}
		default:
			return nil
		}
	}
	return tree
}
