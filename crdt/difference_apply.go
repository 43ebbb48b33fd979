package crdt

import (
	"fmt"
	"maps"
	"slices"
)

// Patch returns what differences make of a value. The value itself stays as it
// is; maps and lists that are not concerned are shared with the result. The error
// says which difference does not fit.
func Patch(value map[string]any, diffs []Difference) (map[string]any, error) {
	var v any = value
	for i := range diffs {
		next, err := diffs[i].patch(v, diffs[i].Path)
		if err != nil {
			return nil, fmt.Errorf("difference %d, at %s: %w", i, diffs[i].Path, err)
		}
		v = next
	}
	return v.(map[string]any), nil
}

// patch applies the difference at the given path below v.
func (d *Difference) patch(v any, p Path) (any, error) {
	if d.Kind == Spliced && len(p) == 0 {
		return d.splice(v)
	}
	if len(p) == 0 {
		return nil, fmt.Errorf("a record as a whole is not %s", d.Kind)
	}
	switch x := v.(type) {
	case map[string]any:
		if !p[0].InList {
			return d.patchMap(x, p)
		}
	case []any:
		if p[0].InList {
			return d.patchList(x, p)
		}
	}
	return nil, fmt.Errorf("%T has no %s", v, p[:1])
}

func (d *Difference) patchMap(m map[string]any, p Path) (any, error) {
	k := p[0].Key
	old, there := m[k]
	if last := len(p) == 1 && d.Kind != Spliced; there == (last && d.Kind == Added) {
		return nil, fmt.Errorf("the field %q is there: %t", k, there)
	} else if !last {
		v, err := d.patch(old, p[1:])
		if err != nil {
			return nil, err
		}
		m = maps.Clone(m)
		m[k] = v
		return m, nil
	}
	m = maps.Clone(m)
	if d.Kind == Removed {
		delete(m, k)
	} else {
		m[k] = d.After
	}
	return m, nil
}

func (d *Difference) patchList(list []any, p Path) (any, error) {
	i := p[0].Index
	if i < 0 || i >= len(list) {
		return nil, fmt.Errorf("index %d of %d elements", i, len(list))
	}
	v := d.After
	if len(p) > 1 || d.Kind == Spliced {
		var err error
		if v, err = d.patch(list[i], p[1:]); err != nil {
			return nil, err
		}
	} else if d.Kind != Changed {
		return nil, fmt.Errorf("a list element is not %s", d.Kind)
	}
	list = slices.Clone(list)
	list[i] = v
	return list, nil
}

// splice replaces a part of a list or text.
func (d *Difference) splice(v any) (any, error) {
	switch x := v.(type) {
	case []any:
		before, ok := d.Before.([]any)
		after, alsoOK := d.After.([]any)
		if ok && alsoOK && d.fits(len(before), len(x)) {
			return append(append(append([]any{}, x[:d.Pos]...), after...), x[d.Pos+len(before):]...), nil
		}
	case Text:
		before, ok := d.Before.(Text)
		after, alsoOK := d.After.(Text)
		text, n := []rune(x), len([]rune(before))
		if ok && alsoOK && d.fits(n, len(text)) {
			return Text(slices.Concat(text[:d.Pos], []rune(after), text[d.Pos+n:])), nil
		}
	}
	return nil, fmt.Errorf("there is nothing of this kind and length at %d", d.Pos)
}

func (d *Difference) fits(n, length int) bool { return d.Pos >= 0 && n <= length && d.Pos <= length-n }
