package crdt

import (
	"time"
	"unsafe"
)

const objectReplacement = "\uFFFC" // what a text shows for anything but a string

// AppendJSON appends the record's value under a view, as AppendJSON of its Value
// would, straight from the history. The error is always nil; what a resolver
// fails at is shown as automerge would (see ViewOptions).
func (h *History) AppendJSON(dst []byte, v *View) ([]byte, error) {
	h = h.under(v)
	r := jsonWriter{h: h}
	return r.object(dst, h.root, v.fields().top()), nil
}

// jsonWriter writes values as JSON.
type jsonWriter struct {
	h    *History
	text []byte // scratch
}

// outcome appends what a scope shows.
func (r *jsonWriter) outcome(dst []byte, o outcome, sc scope) []byte {
	if !o.valued {
		return r.candidate(dst, o.id, sc)
	}
	out, err := AppendJSON(dst, o.value)
	if err != nil { // unreachable: values of resolvers are checked
		return append(dst, "null"...)
	}
	return out
}

func (r *jsonWriter) candidate(dst []byte, id opID, sc scope) []byte {
	o := r.h.op(id)
	if o.Action != Set {
		return r.object(dst, r.h.objects[id], sc)
	}
	return appendJSONValue(dst, r.h.scalar(id, o))
}

// scalar returns the value of a set operation; of a counter the sum.
func (h *History) scalar(id opID, o *Op) Value {
	if o.Value.kind == KindCounter && h.sums != nil {
		return CounterOf(o.Value.Int() + h.sums[id])
	}
	return o.Value
}

func (r *jsonWriter) object(dst []byte, obj *object, sc scope) []byte {
	switch obj.kind {
	case MakeMap:
		return r.fields(dst, obj, sc)
	case MakeList:
		return r.list(dst, obj, sc)
	}
	r.text = r.h.appendText(r.text[:0], obj)
	return appendJSONString(dst, unsafe.String(unsafe.SliceData(r.text), len(r.text)))
}

func (r *jsonWriter) fields(dst []byte, obj *object, sc scope) []byte {
	literal := (obj.visible == 1 || sc.rule != nil || len(sc.alive) > 0) && r.h.looksLikeForm(obj, sc)
	if literal {
		dst = append(dst, `{"`+formMap+`":`...)
	}
	dst = append(dst, '{')
	comma, differs := false, r.h.mayDiffer(sc)
	for f := range obj.fields.all {
		if f.slot.empty() && !differs {
			continue
		}
		in := sc.key(f.key)
		o := outcome{shown: !f.slot.empty(), id: f.slot.first}
		if in.rule != nil {
			o = r.h.show(place{obj: obj, key: f.key, slot: &f.slot}, in)
		}
		if !o.shown {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = append(appendJSONString(dst, f.key), ':')
		dst = r.outcome(dst, o, in)
	}
	if literal {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// looksLikeForm reports whether the only field that is shown has the key of a
// special form of JSON.
func (h *History) looksLikeForm(obj *object, sc scope) bool {
	if obj.visible != 1 && !h.mayDiffer(sc) {
		return false
	}
	form, n := false, 0
	for f := range obj.fields.all {
		if h.show(place{obj: obj, key: f.key, slot: &f.slot}, sc.key(f.key)).shown {
			form = isForm(f.key)
			n++
		}
	}
	return form && n == 1
}

// mayDiffer reports whether a scope may show nothing where something is visible,
// or the reverse.
func (h *History) mayDiffer(sc scope) bool {
	return sc.view != nil && sc.view.heeds && h.contested()
}

func (r *jsonWriter) list(dst []byte, obj *object, sc scope) []byte {
	dst = append(dst, '[')
	i, differs := 0, r.h.mayDiffer(sc)
	for e := range obj.seq.all {
		if e.slot.empty() && !differs {
			continue
		}
		in := sc.index(i)
		o := r.h.show(place{obj: obj, elem: e.id, slot: &e.slot}, in)
		if !o.shown {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.outcome(dst, o, in)
		i++
	}
	return append(dst, ']')
}

// appendText appends a text's characters. Those that were overwritten
// concurrently, which no editor of texts does, show alike in every view, so that
// positions mean the same in all.
func (h *History) appendText(dst []byte, obj *object) []byte {
	for e := range obj.seq.all {
		if !e.slot.empty() {
			dst = append(dst, h.char(e.slot.first)...)
		}
	}
	return dst
}

func (h *History) char(id opID) string {
	if o := h.op(id); o.Action == Set && o.Value.kind == KindString {
		return o.Value.str
	}
	return objectReplacement
}

// Value returns the record's value under a view, of the types that ParseJSON
// yields; an unsigned integer is always a uint64.
func (h *History) Value(v *View) map[string]any {
	h = h.under(v)
	return h.mapValue(h.root, v.fields().top())
}

func (h *History) mapValue(obj *object, sc scope) map[string]any {
	m := make(map[string]any, obj.visible)
	differs := h.mayDiffer(sc)
	for f := range obj.fields.all {
		if f.slot.empty() && !differs {
			continue
		}
		in := sc.key(f.key)
		if o := h.show(place{obj: obj, key: f.key, slot: &f.slot}, in); o.shown {
			m[f.key] = h.outcomeValue(o, in)
		}
	}
	return m
}

func (h *History) outcomeValue(o outcome, sc scope) any {
	if o.valued {
		return o.value
	}
	return h.candidateValue(o.id, sc)
}

func (h *History) candidateValue(id opID, sc scope) any {
	o := h.op(id)
	if o.Action == Set {
		return h.scalar(id, o).goValue()
	}
	obj := h.objects[id]
	switch obj.kind {
	case MakeMap:
		return h.mapValue(obj, sc)
	case MakeText:
		return Text(h.appendText(nil, obj))
	}
	list := make([]any, 0, obj.seq.len())
	differs := h.mayDiffer(sc)
	for e := range obj.seq.all {
		if e.slot.empty() && !differs {
			continue
		}
		in := sc.index(len(list))
		if o := h.show(place{obj: obj, elem: e.id, slot: &e.slot}, in); o.shown {
			list = append(list, h.outcomeValue(o, in))
		}
	}
	return list
}

// goValue returns the Go form of a scalar.
func (v Value) goValue() any {
	switch v.kind {
	case KindFalse, KindTrue:
		return v.kind == KindTrue
	case KindUint:
		return v.num
	case KindInt:
		return v.Int()
	case KindFloat:
		return v.Float()
	case KindString:
		return v.str
	case KindBytes:
		return []byte(v.str)
	case KindCounter:
		return Counter(v.Int())
	case KindTime:
		return time.UnixMilli(v.Int()).UTC()
	}
	return nil
}
