package crdt

import (
	"maps"
	"slices"
)

// Views may show what is no candidate, or nothing where something is visible, or
// an older record. The first edit of such a place makes it what is shown.

// idle reports whether a view that shows more than visible operations shows v at p
// already. Comparing before anything is written keeps such views from being
// adopted by an edit that changes nothing.
func (e *Edit) idle(p Path, v any, mode PutMode) bool {
	if v := e.view; v == nil || !v.makes && !(v.heeds && e.h.anyHidden()) && e.h.under(v) == e.h {
		return false
	}
	var at any = e.h.Value(e.view)
	for _, s := range p {
		m, _ := at.(map[string]any)
		list, _ := at.([]any)
		ok := false
		if !s.InList {
			at, ok = m[s.Key]
		} else if ok = 0 <= s.Index && s.Index < len(list); ok {
			at = list[s.Index]
		}
		if !ok {
			return false
		}
	}
	return shows(at, v, mode)
}

// shows reports whether putting v changes nothing of a value.
func shows(at, v any, mode PutMode) bool {
	switch v := v.(type) {
	case map[string]any:
		m, ok := at.(map[string]any)
		if !ok || mode == Replace && len(m) != len(v) {
			return false
		}
		for k := range v {
			if have, ok := m[k]; !ok || !shows(have, v[k], mode) {
				return false
			}
		}
		return true
	case []any:
		list, ok := at.([]any)
		return ok && slices.EqualFunc(list, v, func(a, b any) bool { return shows(a, b, Replace) })
	case Text:
		return at == v
	case string:
		if t, ok := at.(Text); ok {
			return string(t) == v
		}
	}
	old, ok := scalarOf(at)
	if s, is := at.(string); is {
		old, ok = String(s), true
	}
	return ok && sameScalar(old, v)
}

// adopt makes the record what a view of whole records shows, before the first
// edit under it: the edit will have seen all there is, so nothing is hidden any
// more behind it.
func (e *Edit) adopt() error {
	v := e.view
	if v == nil || v.record == byAutomerge {
		return nil
	}
	e.view = v.fields()
	seen := e.h.under(v)
	if seen == e.h {
		return nil
	}
	return e.become(seen.Value(e.view))
}

// become makes the record show a value, of exactly its types.
func (e *Edit) become(value map[string]any) error {
	e.exact = true
	defer func() { e.exact = false }()
	return e.putFields(e.h.root, e.view.top(), value, Replace)
}

// resolveRecord makes the record one of its candidates. If it shows that one
// already, the change has no operations: it settles the conflict by having seen
// all heads.
func (e *Edit) resolveRecord(winner OpID) error {
	c, _ := e.h.recordConflict(e.view)
	i := slices.IndexFunc(c.Candidates, func(c Candidate) bool { return c.Op == winner })
	if i < 0 {
		return editError(nil, "the record itself has no candidate %s", winner)
	}
	e.view = e.view.fields()
	value, _ := c.Candidates[i].Value.(map[string]any) // nil of a deletion
	if err := e.become(value); err != nil {
		return err
	}
	if !e.begun {
		e.begin()
	}
	return nil
}

// resolveSeen settles a conflict in the older record that a view of whole records
// shows: its candidates may be none of the record that the edit adopts.
func (e *Edit) resolveSeen(seen *History, p Path, winner OpID) error {
	var chosen *Candidate
	for _, c := range seen.Conflicts(e.view.fields()) {
		i := slices.IndexFunc(c.Candidates, func(c Candidate) bool { return c.Op == winner })
		if slices.Equal(c.Path, p) && i >= 0 {
			chosen = &c.Candidates[i]
		}
	}
	if chosen == nil {
		return editError(p, "it has no candidate %s", winner)
	}
	if err := e.adopt(); err != nil {
		return err
	}
	if !e.begun {
		e.begin()
	}
	t, err := e.find(p, false)
	switch {
	case err != nil && chosen.Deleted:
		return nil // an element that was hidden, and is gone now
	case err != nil:
		return err
	case chosen.Deleted:
		return e.remove(&t)
	}
	if err := e.put(&t, chosen.Value, Replace); err != nil {
		return err
	}
	if o := e.shown(&t); o.shown && !o.made() {
		return e.settle(&t, o.id)
	}
	return nil
}

// materialise makes what a view made of several candidates the only one.
func (e *Edit) materialise(t *target, o outcome) (opID, error) {
	if err := e.putOnto(t, o.value); err != nil {
		return opID{}, err
	}
	return e.slot(t).first, nil
}

// putMade puts a value where the view shows one made of several candidates.
func (e *Edit) putMade(t *target, o outcome, v any, mode PutMode) error {
	if shows(o.value, v, mode) && (!e.exact || sameValue(o.value, v)) {
		return nil
	}
	return e.putOnto(t, overlay(o.value, v, mode))
}

// putHidden puts a value where the view shows a hidden candidate: into a copy of it,
// if it is an object of the right kind.
func (e *Edit) putHidden(t *target, id opID, v any, mode PutMode) error {
	old := e.h.candidateValue(id, t.scope)
	if shows(old, v, mode) && (!e.exact || sameValue(old, v)) {
		return nil
	}
	if obj := e.h.objects[id]; obj == nil || !obj.holds(v) {
		return e.replace(t, overlay(old, v, mode))
	}
	if _, err := e.revive(t, id); err != nil {
		return err
	}
	return e.put(t, v, mode)
}

// holds reports whether an object is of the kind that holds a value.
func (o *object) holds(v any) bool {
	switch v.(type) {
	case map[string]any:
		return o.kind == MakeMap
	case []any:
		return o.kind == MakeList
	case string, Text:
		return o.kind == MakeText
	}
	return false
}

// overlay returns v as it is to stand in place of an old value: a string as a
// Text where there was one, an integer as a Counter, and a merged map with the
// keys that only the old one has.
func overlay(old, v any, mode PutMode) any {
	switch was := old.(type) {
	case Text:
		if s, ok := v.(string); ok {
			return Text(s)
		}
	case Counter:
		if n, ok := integer(v); ok {
			return Counter(n)
		}
	case map[string]any:
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		all := map[string]any{}
		if mode == Merge {
			all = maps.Clone(was)
		}
		for k := range m {
			all[k] = overlay(was[k], m[k], mode)
		}
		return all
	}
	return v
}

// putOnto changes the first candidate of the right kind in place and deletes the
// others, so that what is edited in it meanwhile is not lost; without one the
// value takes the place of all.
func (e *Edit) putOnto(t *target, v any) error {
	ids := slices.Clone(e.candidates(t))
	slices.SortFunc(ids, func(a, b opID) int { return e.h.compare(b, a) })
	for _, id := range ids {
		if c, ok := v.(Counter); ok && e.h.isCounter(id) {
			old := e.h.scalar(id, e.h.op(id))
			if err := e.increase(t, id, int64(c)-old.Int()); err != nil {
				return err
			}
			return e.settle(t, id)
		}
		obj := e.h.objects[id]
		if obj == nil {
			continue
		}
		if fits, err := e.putObject(obj, t.scope, v, Replace); err != nil {
			return err
		} else if fits {
			return e.settle(t, id)
		}
	}
	return e.replace(t, v)
}

// elementAt returns the element that the view shows at an index of a list, the
// zero opID beyond the end, and how many there are.
func (e *Edit) elementAt(obj *object, sc scope, index int) (opID, int) {
	if !e.h.mayDiffer(sc) {
		n := obj.seq.len()
		if index < 0 || index >= n {
			return opID{}, n
		}
		leaf, i, _ := obj.seq.at(index)
		return leaf.elems[i].id, n
	}
	var found opID
	n := 0
	for el := range obj.seq.all {
		at := place{obj: obj, elem: el.id, slot: &el.slot}
		if !e.h.show(at, sc.index(n)).shown {
			continue
		}
		if n == index {
			found = el.id
		}
		n++
	}
	return found, n
}

// targets returns the slots at a path: one, or, in a list, also elements that the
// view does not show there, as the path of their conflict says.
func (e *Edit) targets(p Path) (ts []target, err error) {
	last := p[len(p)-1]
	if !last.InList || !e.h.mayDiffer(e.view.top()) && !e.h.anyHidden() {
		t, err := e.find(p, false)
		return []target{t}, err
	}
	obj, sc, err := e.findObject(p[:len(p)-1], MakeList, "list")
	if err != nil {
		return nil, err
	}
	n := 0
	for el := range obj.seq.all {
		in := sc.index(n)
		if n == last.Index {
			ts = append(ts, target{path: p, obj: obj, elem: el.id, scope: in})
		}
		if e.h.show(place{obj: obj, elem: el.id, slot: &el.slot}, in).shown {
			n++
		}
	}
	return ts, nil
}
