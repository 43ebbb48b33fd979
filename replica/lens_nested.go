package replica

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// Split shows a field as several: split is given its value and returns theirs, join
// the reverse. What Convert says of its functions holds for them. Fields that the
// new version's type does not have are joined as the record shows them.
func Split(field string, into []string, split func(any) (map[string]any, error), join func(map[string]any) (any, error)) Lens {
	s := splitter{field, into, split, join}
	return Lens{
		what:  "split " + field,
		up:    s.up,
		down:  s.down,
		path:  func(p crdt.Path) (crdt.Path, error) { return p, convertedPath(p, into...) },
		names: s.names,
	}
}

type splitter struct {
	field string
	into  []string
	split func(any) (map[string]any, error)
	join  func(map[string]any) (any, error)
}

func (s *splitter) fail(at string, err error) error {
	return &FieldError{Path: crdt.Path{{Key: at}}, Want: "a value that the lens divides", Got: err.Error()}
}

func (s *splitter) up(m map[string]any) (errs []error) {
	v, ok := m[s.field]
	if !ok {
		return nil
	}
	delete(m, s.field)
	parts, err := s.split(plainTree(v))
	for _, name := range s.into {
		if part, there := parts[name]; there && err == nil {
			m[name], err = given(crdt.Path{{Key: name}}, nil, part)
		}
	}
	if err == nil {
		return nil
	}
	for _, name := range s.into {
		delete(m, name)
		errs = append(errs, s.fail(name, err))
	}
	return errs
}

func (s *splitter) down(m, full map[string]any, known map[string]bool) error {
	parts := map[string]any{}
	touched := false
	for _, name := range s.into {
		v, ok := m[name]
		touched = touched || ok
		if !ok && known != nil && !known[name] {
			v, ok = full[name]
		}
		if ok {
			parts[name] = plainTree(v)
		}
		delete(m, name)
	}
	if !touched {
		return nil
	}
	v, err := s.join(parts)
	if err == nil {
		v, err = given(crdt.Path{{Key: s.field}}, nil, v)
	}
	if err != nil {
		return s.fail(s.field, err)
	}
	m[s.field] = v
	return nil
}

func (s *splitter) names(known map[string]bool) error {
	if known[s.field] && !slices.Contains(s.into, s.field) {
		return fmt.Errorf("the type has a field %s, which is split into others", s.field)
	}
	for _, name := range s.into {
		if known[name] {
			delete(known, name)
			known[s.field] = true
		}
	}
	return nil
}

// Within applies lenses to the map in a field, or to each map of a list there.
func Within(field string, lenses ...Lens) Lens {
	w := within{field, lenses}
	return Lens{
		what:  "within " + field,
		up:    w.up,
		down:  w.down,
		path:  w.path,
		names: func(map[string]bool) error { return w.check() },
	}
}

type within struct {
	field  string
	lenses []Lens
}

func (w *within) check() error {
	for _, l := range w.lenses {
		if l.up == nil {
			return errors.New("an empty Lens within it")
		}
	}
	return nil
}

// each calls fn with a copy of each map in the field, which takes its place.
func (w *within) each(m map[string]any, fn func(inner map[string]any) []error) (errs []error) {
	at := crdt.Path{{Key: w.field}}
	switch v := m[w.field].(type) {
	case map[string]any:
		inner := maps.Clone(v)
		m[w.field] = inner
		errs = inside(at, fn(inner))
	case []any:
		list := slices.Clone(v)
		m[w.field] = list
		for i := range list {
			if v, ok := list[i].(map[string]any); ok {
				inner := maps.Clone(v)
				list[i] = inner
				errs = append(errs, inside(step(at, crdt.Step{Index: i, InList: true}), fn(inner))...)
			}
		}
	}
	return errs
}

// inside says of errors in a map where that map is.
func inside(at crdt.Path, errs []error) []error {
	for i, err := range errs {
		if f := (*FieldError)(nil); errors.As(err, &f) {
			errs[i] = &FieldError{Path: append(slices.Clone(at), f.Path...), Want: f.Want, Got: f.Got}
		}
	}
	return errs
}

func (w *within) up(m map[string]any) []error {
	return w.each(m, func(inner map[string]any) (errs []error) {
		for _, l := range w.lenses {
			errs = append(errs, l.up(inner)...)
		}
		return errs
	})
}

func (w *within) down(m, _ map[string]any, _ map[string]bool) error {
	return errors.Join(w.each(m, func(inner map[string]any) []error {
		for i := len(w.lenses) - 1; i >= 0; i-- {
			if err := w.lenses[i].down(inner, nil, nil); err != nil {
				return []error{err}
			}
		}
		return nil
	})...)
}

func (w *within) path(p crdt.Path) (crdt.Path, error) {
	from := 1
	if len(p) > 1 && p[1].InList {
		from = 2
	}
	if p[0].Key != w.field || len(p) <= from {
		return p, nil
	}
	inner := p[from:]
	var err error
	for i := len(w.lenses) - 1; i >= 0 && err == nil; i-- {
		inner, err = w.lenses[i].path(inner)
	}
	return append(slices.Clone(p[:from]), inner...), err
}
