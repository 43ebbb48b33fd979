package crdt

import (
	"time"
	"unsafe"
)

const objectReplacement = "\uFFFC" // what a text shows for anything but a string

// AppendJSON appends the record's value under a view, as AppendJSON of its Value
// would, straight from the history. The error is always nil; it is there so that
// resolvers which can fail change no signature.
func (h *History) AppendJSON(dst []byte, v *View) ([]byte, error) {
	r := jsonWriter{h: h}
	return r.object(dst, h.root, v.top()), nil
}

// jsonWriter writes values as JSON.
type jsonWriter struct {
	h    *History
	text []byte // scratch
}

// slot appends what a scope shows of a slot, which is not empty.
func (r *jsonWriter) slot(dst []byte, s *slot, sc scope) []byte {
	return r.candidate(dst, r.h.pick(s, sc), sc)
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
	literal := obj.visible == 1 && obj.looksLikeForm()
	if literal {
		dst = append(dst, `{"`+formMap+`":`...)
	}
	dst = append(dst, '{')
	comma := false
	for f := range obj.fields.all {
		if f.slot.empty() {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = append(appendJSONString(dst, f.key), ':')
		dst = r.slot(dst, &f.slot, sc.key(f.key))
	}
	if literal {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// looksLikeForm reports whether the only visible field has the key of a special
// form of JSON.
func (o *object) looksLikeForm() bool {
	for f := range o.fields.all {
		if !f.slot.empty() {
			return isForm(f.key)
		}
	}
	return false
}

func (r *jsonWriter) list(dst []byte, obj *object, sc scope) []byte {
	dst = append(dst, '[')
	i := 0
	for e := range obj.seq.all {
		if e.slot.empty() {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.slot(dst, &e.slot, sc.index(i))
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
	return h.mapValue(h.root, v.top())
}

func (h *History) mapValue(obj *object, sc scope) map[string]any {
	m := make(map[string]any, obj.visible)
	for f := range obj.fields.all {
		if !f.slot.empty() {
			in := sc.key(f.key)
			m[f.key] = h.candidateValue(h.pick(&f.slot, in), in)
		}
	}
	return m
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
	for e := range obj.seq.all {
		if !e.slot.empty() {
			in := sc.index(len(list))
			list = append(list, h.candidateValue(h.pick(&e.slot, in), in))
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
