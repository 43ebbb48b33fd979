package replica

import (
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// Rename gives a field another name. It stays stored under the old one, so both
// versions edit the same field: texts merge, counters add up. The new version's type
// may not use the old name for something else.
func Rename(from, to string) Lens {
	return Lens{
		what:    "rename " + from,
		renames: map[string]string{from: to},
		up: func(m map[string]any) []error {
			if v, ok := m[from]; ok {
				m[to] = v
				delete(m, from)
			}
			return nil
		},
		down: func(m, _ map[string]any, _ map[string]bool) error {
			if v, ok := m[to]; ok {
				m[from] = v
				delete(m, to)
			}
			return nil
		},
		path: func(p crdt.Path) (crdt.Path, error) {
			if p[0].Key == to {
				p = append(crdt.Path{{Key: from}}, p[1:]...)
			}
			return p, nil
		},
		names: func(known map[string]bool) error {
			if known[from] {
				return fmt.Errorf("the type has a field %s, which is the old name of %s", from, to)
			}
			if known[to] {
				delete(known, to)
				known[from] = true
			}
			return nil
		},
	}
}

// Default shows a value where a record lacks the field or has null in it. Nothing is
// written for it, so older versions go on seeing none.
func Default(field string, value any) Lens {
	tree, err := given(crdt.Path{{Key: field}}, nil, value)
	l := sameNames("default "+field, func(m map[string]any) []error {
		if m[field] == nil {
			m[field] = tree
		}
		return nil
	})
	if err != nil {
		l.names = func(map[string]bool) error { return err }
	}
	return l
}

// sameNames is a lens that shows something and writes nothing.
func sameNames(what string, up func(map[string]any) []error) Lens {
	return Lens{
		what:  what,
		up:    up,
		down:  func(_, _ map[string]any, _ map[string]bool) error { return nil },
		path:  func(p crdt.Path) (crdt.Path, error) { return p, nil },
		names: func(map[string]bool) error { return nil },
	}
}

// Convert shows a field as what up makes of it, and stores what down makes of that.
// Both see what crdt.ParseJSON yields, texts as strings and counters as int64. An
// error of up makes the field one that cannot be read, an error of down one that
// cannot be written. They have to be inverse to each other for what records hold:
// down is called only when the new version changes the field.
func Convert(field string, up, down func(any) (any, error)) Lens {
	apply := func(fn func(any) (any, error), m map[string]any) error {
		v, ok := m[field]
		if !ok {
			return nil
		}
		out, err := fn(plainTree(v))
		if err == nil {
			out, err = given(crdt.Path{{Key: field}}, nil, out)
		}
		if err != nil {
			delete(m, field)
			return &FieldError{Path: crdt.Path{{Key: field}}, Want: "a value that the lens converts", Got: err.Error()}
		}
		m[field] = out
		return nil
	}
	l := sameNames("convert "+field, func(m map[string]any) []error { return someError(apply(up, m)) })
	l.down = func(m, _ map[string]any, _ map[string]bool) error { return apply(down, m) }
	l.path = func(p crdt.Path) (crdt.Path, error) { return p, convertedPath(p, field) }
	return l
}

func someError(err error) []error {
	if err == nil {
		return nil
	}
	return []error{err}
}

func convertedPath(p crdt.Path, fields ...string) error {
	if slices.Contains(fields, p[0].Key) {
		return fmt.Errorf("the field %s is converted by a lens, use Edit", p[0].Key)
	}
	return nil
}
