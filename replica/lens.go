package replica

import (
	"errors"
	"fmt"
	"maps"

	"github.com/godwitdb/godwit/crdt"
)

// Lens is one difference between two versions of a collection's records: how the
// older one looks to the newer, and how what the newer writes looks to the older.
// Make one with Rename, Default, Split, Convert or Within.
type Lens struct {
	what string
	// up turns fields of the older version into those of the newer, in place. It
	// returns what could not be turned; the rest is.
	up func(fields map[string]any) []error
	// down turns fields of the newer version, all or some, into those of the older,
	// in place. full are all fields of the newer version, as the record shows them;
	// of these it takes what the newer type, which knows some, cannot have left out.
	down func(fields, full map[string]any, known map[string]bool) error
	// path turns the path of a field of the newer version into the older's.
	path func(crdt.Path) (crdt.Path, error)
	// renames are new names of fields, by their old ones.
	renames map[string]string
	// names turns the names of fields that a newer type knows into the older's.
	names func(known map[string]bool) error
}

// lens is how a collection's stored records, which are all of version 1, look at the
// version of the app, and back.
type lens struct {
	steps []Lens
	known []map[string]bool // for each step, the fields that the type knows above it; nil: all
}

var errLensOrder = errors.New("the versions of WithLens have to ascend, from 2 on")

// newLens checks that the lenses fit the type.
func newLens(s *schema, steps []Lens) (*lens, error) {
	l := &lens{steps: steps, known: make([]map[string]bool, len(steps))}
	var known map[string]bool
	if s.byName != nil {
		known = map[string]bool{}
		for name := range s.byName {
			known[name] = true
		}
	}
	for i := len(steps) - 1; i >= 0; i-- {
		l.known[i] = maps.Clone(known)
		if steps[i].up == nil {
			return nil, errors.New("an empty Lens: make one with Rename, Default, Split, Convert or Within")
		}
		if known == nil {
			continue
		}
		if err := steps[i].names(known); err != nil {
			return nil, fmt.Errorf("lens %s: %w", steps[i].what, err)
		}
	}
	return l, nil
}

// readText returns a stored value as the newest version shows it. If some fields
// cannot be shown, it names them; text is nil if nothing can.
func (l *lens) readText(stored []byte) (text []byte, bad map[string]bool, err error) {
	tree, err := crdt.ParseJSON(stored)
	if err != nil {
		return nil, nil, err
	}
	fields, _ := tree.(map[string]any)
	if fields == nil {
		return nil, nil, &FieldError{Want: "a map", Got: "another value"}
	}
	stages, errs := l.up(fields)
	for _, err := range errs {
		var f *FieldError
		if errors.As(err, &f) {
			bad = set(bad, f.Path[0].Key)
		}
	}
	text, err = crdt.AppendJSON(nil, stages[len(stages)-1])
	if err != nil {
		return nil, nil, err
	}
	return text, bad, errors.Join(errs...)
}

// up returns the fields as each version shows them, the stored one first, and what
// could not be shown, by the newest names.
func (l *lens) up(fields map[string]any) (stages []map[string]any, errs []error) {
	stages = append(stages, fields)
	for _, s := range l.steps {
		fields = maps.Clone(fields)
		for _, err := range errs {
			if f := (*FieldError)(nil); errors.As(err, &f) && s.renames[f.Path[0].Key] != "" {
				f.Path[0].Key = s.renames[f.Path[0].Key]
			}
		}
		errs = append(errs, s.up(fields)...)
		stages = append(stages, fields)
	}
	return stages, errs
}

// down returns fields of the newest version as they are to be stored. stages are
// what up made of the record, nil if there is none.
func (l *lens) down(fields map[string]any, stages []map[string]any) (map[string]any, error) {
	fields = maps.Clone(fields)
	for i := len(l.steps) - 1; i >= 0; i-- {
		var full map[string]any
		if stages != nil {
			full = stages[i+1]
		}
		if err := l.steps[i].down(fields, full, l.known[i]); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// downBoth takes down what was read and what is to be written over it.
func (l *lens) downBoth(before, after, actual map[string]any) (b, a map[string]any, err error) {
	stages, _ := l.up(plainTree(actual).(map[string]any))
	if a, err = l.down(after, stages); err != nil {
		return nil, nil, err
	}
	b, err = l.down(before, stages)
	return b, a, err
}

func (l *lens) pathDown(p crdt.Path) (_ crdt.Path, err error) {
	for i := len(l.steps) - 1; i >= 0 && err == nil; i-- {
		p, err = l.steps[i].path(p)
	}
	return p, err
}

// plainTree returns a tree as a lens' functions see it: texts are strings, counters
// integers.
func plainTree(v any) any {
	switch v := v.(type) {
	case crdt.Text:
		return string(v)
	case crdt.Counter:
		return int64(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plainTree(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plainTree(e)
		}
		return out
	}
	return v
}
