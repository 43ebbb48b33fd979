package replica

import (
	"bytes"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// merger writes to a record what differs between two trees of a Go value: as it was
// read, and as it is to be. What the Go type does not know is in neither, and stays.
type merger struct {
	ed *crdt.Edit
}

// value brings what differs between before and after to the value at p, which the
// record shows as actual. c is the codec of the place, or nil.
func (m *merger) value(p crdt.Path, c *codec, actual, before, after any) error {
	if sameTree(before, after) {
		return nil
	}
	c = c.pointee()
	switch after := after.(type) {
	case map[string]any:
		a, isMap := actual.(map[string]any)
		if b, ok := before.(map[string]any); ok && isMap {
			return m.fields(p, c, a, b, after)
		}
	case []any:
		a, isList := actual.([]any)
		if b, ok := before.([]any); ok && isList && len(a) == len(b) {
			return m.list(p, c, a, b, after)
		}
	}
	return m.ed.Put(p, after, crdt.Replace)
}

func (m *merger) fields(p crdt.Path, c *codec, actual, before, after map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[key]; !kept {
			if err := m.ed.Delete(step(p, crdt.Step{Key: key})); err != nil {
				return err
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		at := step(p, crdt.Step{Key: key})
		old, had := before[key]
		var err error
		if had {
			err = m.value(at, c.under(key), actual[key], old, after[key])
		} else {
			err = m.ed.Put(at, after[key], crdt.Replace)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// under returns the codec of a field or of a map's values, nil if it is not known.
func (c *codec) under(key string) *codec {
	switch {
	case c == nil:
		return nil
	case c.byName == nil:
		return c.elem
	case c.byName[key] == nil:
		return nil
	}
	return c.byName[key].codec
}

// pointee returns the codec of what a pointer points to; others are their own.
func (c *codec) pointee() *codec {
	if c != nil && c.typ.Kind() == reflect.Pointer {
		return c.elem
	}
	return c
}

// step returns the path with one step more, which shares nothing with p.
func step(p crdt.Path, s crdt.Step) crdt.Path { return append(slices.Clone(p), s) }

// list deletes, moves and inserts as few elements as make the list what it is to be,
// and then edits those that stay.
func (m *merger) list(p crdt.Path, c *codec, actual, before, after []any) error {
	var elem *codec
	if c != nil {
		elem = c.elem
	}
	from := alignLists(elem, before, after)
	if err := m.place(p, after, from, len(before)); err != nil {
		return err
	}
	for j, i := range from {
		if i < 0 {
			continue
		}
		if err := m.value(step(p, crdt.Step{Index: j, InList: true}), elem, actual[i], before[i], after[j]); err != nil {
			return err
		}
	}
	return nil
}

// place brings the list's elements into their places: from[j] is the old index of
// what is to be at j, -1 for what is new; the list has n elements.
func (m *merger) place(p crdt.Path, after []any, from []int, n int) error {
	cur := make([]int, 0, n) // what stands where: old indices, -1 for new ones
	kept := make([]bool, n)
	for _, i := range from {
		if i >= 0 {
			kept[i] = true
		}
	}
	for i := n - 1; i >= 0; i-- {
		if kept[i] {
			cur = append(cur, i)
		} else if err := m.ed.Delete(step(p, crdt.Step{Index: i, InList: true})); err != nil {
			return err
		}
	}
	slices.Reverse(cur)
	stays := ascending(from)
	at := 0 // behind the element last placed
	for j := 0; j < len(from); j++ {
		switch {
		case from[j] < 0:
			end := j + 1
			for end < len(from) && from[end] < 0 {
				end++
			}
			if err := m.ed.Insert(p, at, after[j:end]...); err != nil {
				return err
			}
			cur = slices.Insert(cur, at, from[j:end]...)
			at += end - j
			j = end - 1
		case stays[j]:
			at += slices.Index(cur[at:], from[j]) + 1
		default:
			old := slices.Index(cur, from[j])
			to := at
			if old < at {
				to--
			}
			if err := m.ed.Move(p, old, to); err != nil {
				return err
			}
			cur = slices.Insert(slices.Delete(cur, old, old+1), to, from[j])
			at = to + 1
		}
	}
	return nil
}

// sameTree reports whether two trees of an encoder are the same, types included.
func sameTree(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, sameTree)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameTree)
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b)
	case float64:
		b, ok := b.(float64)
		return ok && (a == b && math.Signbit(a) == math.Signbit(b) || a != a && b != b)
	}
	switch b.(type) {
	case map[string]any, []any, []byte:
		return false // not comparable
	}
	return a == b
}
