package crdt

import (
	"maps"
	"slices"
)

// revertValues reverts by values instead of operations, for views that show what
// no operation set: where the record shows what it did after the change, it gets
// what it showed before. Lists and texts count as a whole.
func (e *Edit) revertValues(before, after *History) (kept []Path, err error) {
	v := e.view
	m := valueReverter{}
	now := e.h.Value(v)
	want := m.value(before.Value(v), after.Value(v), now)
	if sameValue(want, now) {
		return m.kept, nil
	}
	if err := e.adopt(); err != nil {
		return nil, err
	}
	return m.kept, e.become(want)
}

type valueReverter struct {
	path Path
	kept []Path
}

func (r *valueReverter) value(before, after, now map[string]any) map[string]any {
	out := maps.Clone(now)
	keys := slices.AppendSeq(slices.Collect(maps.Keys(before)), maps.Keys(after))
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		b, had := before[k]
		a, has := after[k]
		n, is := now[k]
		if had == has && sameValue(b, a) {
			continue
		}
		r.path = append(r.path, Step{Key: k})
		mb, okB := b.(map[string]any)
		ma, okA := a.(map[string]any)
		mn, okN := n.(map[string]any)
		switch {
		case has == is && sameValue(a, n) && had:
			out[k] = b
		case has == is && sameValue(a, n):
			delete(out, k)
		case okB && okA && okN:
			out[k] = r.value(mb, ma, mn)
		default:
			r.kept = append(r.kept, slices.Clone(r.path))
		}
		r.path = r.path[:len(r.path)-1]
	}
	return out
}
