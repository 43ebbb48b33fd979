package crdt

import (
	"encoding/binary"
	"unicode/utf8"
)

// value takes the next scalar off the value column. meta holds its type in the
// low four bits and its length above them.
func (r *opReader) value(meta uint64) Value {
	n := meta >> 4
	if n > uint64(len(r.values)) {
		r.f.set(CodeValue, "truncated: %d bytes announced, %d there", n, len(r.values))
		return Value{}
	}
	b := r.values[:n]
	r.values = r.values[n:]
	v, ok := readValue(Kind(meta&15), b)
	if !ok {
		r.f.set(CodeValue, "type %d with %d bytes: unknown type or wrong form", meta&15, n)
	}
	return v
}

// readValue reads a scalar that b holds exactly. Strings share b's memory.
func readValue(kind Kind, b []byte) (Value, bool) {
	v := Value{kind: kind}
	switch kind {
	case KindNull, KindFalse, KindTrue:
		return v, len(b) == 0
	case KindUint:
		n, size := readUleb(b)
		v.num = n
		return v, size > 0 && size == len(b)
	case KindInt, KindCounter, KindTime:
		n, size := readSleb(b)
		v.num = uint64(n)
		return v, size > 0 && size == len(b)
	case KindFloat:
		if len(b) != 8 {
			return Value{}, false
		}
		v.num = binary.LittleEndian.Uint64(b)
		return v, true
	case KindString:
		v.str = view(b)
		return v, utf8.Valid(b)
	case KindBytes:
		v.str = view(b)
		return v, true
	}
	return Value{}, false
}

// valueSize returns the length of appendValue's output.
func valueSize(v Value) int {
	switch v.kind {
	case KindUint:
		return ulebLen(v.num)
	case KindInt, KindCounter, KindTime:
		return slebLen(int64(v.num))
	case KindFloat:
		return 8
	case KindString, KindBytes:
		return len(v.str)
	}
	return 0
}

// appendValue appends a scalar's bytes as they stand in the value column.
func appendValue(dst []byte, v Value) []byte {
	switch v.kind {
	case KindUint:
		return appendUleb(dst, v.num)
	case KindInt, KindCounter, KindTime:
		return appendSleb(dst, int64(v.num))
	case KindFloat:
		return binary.LittleEndian.AppendUint64(dst, v.num)
	case KindString, KindBytes:
		return append(dst, v.str...)
	}
	return dst
}

// valueMeta returns the number that stands in the value meta column.
func valueMeta(v Value) int64 { return int64(valueSize(v))<<4 | int64(v.kind) }
