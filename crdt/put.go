package crdt

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"time"
)

// PutMode says what Put does with the keys of a map that the new value lacks.
type PutMode int

// Modes of Put.
const (
	Merge   PutMode = iota // they stay
	Replace                // they are deleted
)

// Put makes the smallest change that makes the value at p equal v, compared with
// what the view shows: maps field by field, lists element by element (maps in
// them are replaced, whatever the mode), a string put onto a text as splices, an
// integer put onto a counter as an increment. An equal value changes nothing, in
// a conflict either; a different one settles the conflict, except that a merged
// map keeps its rivals. Maps missing on the way to p are made.
//
// v is what ParseJSON yields, or any Go value of structs (with json tags), maps
// with string keys, slices, pointers, numbers, strings, time.Time, []byte,
// Counter, Text, encoding.TextMarshaler. At the root it has to be a map or
// struct.
func (e *Edit) Put(p Path, v any, mode PutMode) error {
	v, err := normalise(v)
	if err != nil {
		return editError(p, "%v", err)
	}
	m, isMap := v.(map[string]any)
	if len(p) == 0 && !isMap {
		return editError(p, "it is a map, not %T", v)
	}
	if e.idle(p, v, mode) {
		return nil
	}
	if err := e.adopt(); err != nil {
		return err
	}
	if len(p) == 0 {
		return e.putFields(e.h.root, e.view.top(), m, mode)
	}
	t, err := e.find(p, true)
	if err != nil {
		return err
	}
	return e.put(&t, v, mode)
}

func (e *Edit) putFields(obj *object, sc scope, m map[string]any, mode PutMode) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		t := target{obj: obj, key: k, scope: sc.key(k)}
		if err := e.put(&t, m[k], mode); err != nil {
			return err
		}
	}
	if mode == Merge {
		return nil
	}
	return e.removeFields(obj, sc, func(k string) bool {
		_, kept := m[k]
		return !kept && e.shown(&target{obj: obj, key: k, scope: sc.key(k)}).shown
	})
}

// put writes a normalised value.
func (e *Edit) put(t *target, v any, mode PutMode) error {
	shown := e.shown(t)
	switch {
	case !shown.shown:
		return e.replace(t, v)
	case shown.made():
		return e.putMade(t, shown, v, mode)
	case shown.hidden:
		return e.putHidden(t, shown.id, v, mode)
	}
	id := shown.id
	o := e.h.op(id)
	if o.Action == Set {
		return e.putScalar(t, id, e.h.scalar(id, o), v)
	}
	obj := e.h.objects[id]
	before := len(e.c.ops)
	fits, err := e.putObject(obj, t.scope, v, mode)
	switch {
	case err != nil:
		return err
	case !fits:
		return e.replace(t, v)
	case len(e.c.ops) == before || obj.kind == MakeMap && mode == Merge && !shown.valued:
		return nil
	}
	return e.settle(t, id)
}

// putObject changes an object in place; fits is false if v is of another kind.
func (e *Edit) putObject(obj *object, sc scope, v any, mode PutMode) (fits bool, err error) {
	switch v := v.(type) {
	case map[string]any:
		if obj.kind == MakeMap {
			return true, e.putFields(obj, sc, v, mode)
		}
	case []any:
		if obj.kind == MakeList {
			return true, e.putList(obj, sc, v)
		}
	case string:
		if obj.kind == MakeText {
			return true, e.putText(obj, v)
		}
	case Text:
		if obj.kind == MakeText {
			return true, e.putText(obj, string(v))
		}
	}
	return false, nil
}

func (e *Edit) putScalar(t *target, id opID, old Value, v any) error {
	if exact, _ := scalarOf(v); sameScalar(old, v) && (!e.exact || exact.kind == old.kind || old.kind == KindString) {
		return nil
	}
	if old.kind == KindCounter {
		_, counter := v.(Counter)
		if n, ok := integer(v); ok && (counter || !e.exact) {
			if err := e.increase(t, id, n-old.Int()); err != nil {
				return err
			}
			return e.settle(t, id)
		}
	}
	return e.replace(t, v)
}

// sameScalar reports whether a scalar shows as v would.
func sameScalar(old Value, v any) bool {
	switch v := v.(type) {
	case nil:
		return old.kind == KindNull
	case bool:
		return old == Bool(v)
	case string:
		return old == String(v)
	case float64:
		return old == Float(v) || old.kind == KindFloat && math.IsNaN(v) && math.IsNaN(old.Float())
	case []byte:
		return old.kind == KindBytes && bytes.Equal([]byte(old.str), v)
	case time.Time:
		return old == Timestamp(v.UnixMilli())
	case Counter:
		return old == CounterOf(int64(v))
	case int64:
		return (old.kind == KindInt || old.kind == KindCounter || old.kind == KindUint && v >= 0) && old.num == uint64(v)
	case uint64:
		return (old.kind == KindUint || (old.kind == KindInt || old.kind == KindCounter) && v <= math.MaxInt64) && old.num == v
	}
	return false
}

// integer returns the number that a counter can be brought to.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case Counter:
		return int64(v), true
	}
	return 0, false
}

// replace writes a value in place of all candidates.
func (e *Edit) replace(t *target, v any) error {
	o := Op{}
	if t.elem.ctr == 0 {
		o.InMap, o.Key = true, t.key
	}
	_, err := e.create(t.obj, o, t.elem, e.candidates(t), v)
	return err
}

// create emits the operations that write a normalised value with all that is in
// it; o says where.
func (e *Edit) create(obj *object, o Op, elem opID, preds []opID, v any) (id opID, err error) {
	switch v := v.(type) {
	case map[string]any:
		o.Action = MakeMap
		if id, err = e.emit(obj, o, elem, preds); err != nil {
			return id, err
		}
		made := e.h.objects[id]
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if _, err = e.create(made, Op{InMap: true, Key: k}, opID{}, nil, v[k]); err != nil {
				return id, err
			}
		}
		return id, nil
	case []any:
		o.Action = MakeList
		if id, err = e.emit(obj, o, elem, preds); err != nil {
			return id, err
		}
		return id, e.insertValues(e.h.objects[id], opID{}, v)
	case Text:
		o.Action = MakeText
		if id, err = e.emit(obj, o, elem, preds); err != nil {
			return id, err
		}
		return id, e.insertText(e.h.objects[id], opID{}, string(v))
	}
	o.Action = Set
	o.Value, _ = scalarOf(v)
	if s, ok := v.(string); ok {
		o.Value = String(s)
	}
	return e.emit(obj, o, elem, preds)
}

// insertValues inserts normalised values into a list, the first behind ref.
func (e *Edit) insertValues(obj *object, ref opID, vals []any) (err error) {
	for _, v := range vals {
		if ref, err = e.create(obj, Op{Insert: true}, ref, nil, v); err != nil {
			return err
		}
	}
	return nil
}

// putText splices a text into s.
func (e *Edit) putText(obj *object, s string) error {
	old := string(e.h.appendText(nil, obj))
	if old == s {
		return nil
	}
	a, b := []rune(old), []rune(s)
	script := diff(a, b)
	for i := len(script) - 1; i >= 0; i-- { // from the end, so that positions stay
		d := script[i]
		if err := e.splice(obj, d.a, d.del, string(b[d.b:d.b+d.ins])); err != nil {
			return err
		}
	}
	return nil
}

// putList makes a list equal v by deleting, inserting and changing elements,
// which are aligned by their JSON.
func (e *Edit) putList(obj *object, sc scope, v []any) error {
	elems, a := e.listTokens(obj, sc)
	b := make([]string, len(v))
	for i := range v {
		json, err := AppendJSON(nil, v[i])
		if err != nil {
			return err
		}
		b[i] = string(json)
	}
	script := diff(a, b)
	if err := e.putMatched(obj, sc, elems, v, script); err != nil {
		return err
	}
	for _, d := range script {
		both := min(d.del, d.ins)
		for k := range both {
			t := target{obj: obj, elem: elems[d.a+k], scope: sc.index(d.a + k)}
			if err := e.put(&t, v[d.b+k], Replace); err != nil {
				return err
			}
		}
		for k := d.a + both; k < d.a+d.del; k++ {
			if err := e.remove(&target{obj: obj, elem: elems[k], scope: sc.index(k)}); err != nil {
				return err
			}
		}
		ref := opID{}
		if d.a+both > 0 {
			ref = elems[d.a+both-1]
		}
		if err := e.insertValues(obj, ref, v[d.b+both:d.b+d.ins]); err != nil {
			return err
		}
	}
	return nil
}

// putMatched puts the elements that print alike, which changes those of another
// type: a string into a Text, a number into a Counter.
func (e *Edit) putMatched(obj *object, sc scope, elems []opID, v []any, script []splice) error {
	i, j := 0, 0
	for k := 0; k <= len(script); k++ {
		end, next := len(elems), splice{}
		if k < len(script) {
			next = script[k]
			end = next.a
		}
		for ; i < end; i, j = i+1, j+1 {
			if !e.exact && !typed(v[j]) {
				continue
			}
			t := target{obj: obj, elem: elems[i], scope: sc.index(i)}
			if err := e.put(&t, v[j], Replace); err != nil {
				return err
			}
		}
		i, j = i+next.del, j+next.ins
	}
	return nil
}

// typed reports whether another type may print as a value does.
func typed(v any) bool {
	switch v.(type) {
	case Text, Counter, map[string]any, []any:
		return true
	}
	return false
}

// listTokens returns the elements of a list that are shown and what they print as.
func (e *Edit) listTokens(obj *object, sc scope) (ids []opID, json []string) {
	w := jsonWriter{h: e.h}
	var buf []byte
	differs := e.h.mayDiffer(sc)
	for el := range obj.seq.all {
		if el.slot.empty() && !differs {
			continue
		}
		in := sc.index(len(ids))
		o := e.h.show(place{obj: obj, elem: el.id, slot: &el.slot}, in)
		if !o.shown {
			continue
		}
		buf = w.outcome(buf[:0], o, in)
		ids = append(ids, el.id)
		json = append(json, string(buf))
	}
	return ids, json
}
