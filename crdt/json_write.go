package crdt

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends v as JSON, without blanks, in one way only: keys sorted, a
// float64 always with a fraction or an exponent, Counter as a number, Text as a
// string. It takes what ParseJSON yields, a Value, and the other integer and
// float types. Errors: other types, invalid UTF-8, nesting beyond MaxDepth.
func AppendJSON(dst []byte, v any) ([]byte, error) { return appendJSON(dst, v, 0) }

func appendJSON(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case map[string]any:
		return appendJSONMap(dst, v, depth)
	case []any:
		return appendJSONList(dst, v, depth)
	case Value:
		return appendJSONValue(dst, v), nil
	case string:
		return appendCheckedString(dst, v)
	case Text:
		return appendCheckedString(dst, string(v))
	}
	if s, ok := scalarOf(v); ok {
		return appendJSONValue(dst, s), nil
	}
	return dst, fmt.Errorf("write JSON: no form for a value of type %T", v)
}

// scalarOf returns the scalar for a Go value that needs no check.
func scalarOf(v any) (Value, bool) {
	switch v := v.(type) {
	case nil:
		return Null(), true
	case bool:
		return Bool(v), true
	case int:
		return Int(int64(v)), true
	case int8:
		return Int(int64(v)), true
	case int16:
		return Int(int64(v)), true
	case int32:
		return Int(int64(v)), true
	case int64:
		return Int(v), true
	case uint:
		return Uint(uint64(v)), true
	case uint8:
		return Uint(uint64(v)), true
	case uint16:
		return Uint(uint64(v)), true
	case uint32:
		return Uint(uint64(v)), true
	case uint64:
		return Uint(v), true
	case float32:
		return Float(float64(v)), true
	case float64:
		return Float(v), true
	case Counter:
		return CounterOf(int64(v)), true
	case []byte:
		return Bytes(v), true
	case time.Time:
		return Timestamp(v.UnixMilli()), true
	}
	return Value{}, false
}

func appendJSONMap(dst []byte, m map[string]any, depth int) ([]byte, error) {
	keys := slices.Sorted(maps.Keys(m))
	literal := len(keys) == 1 && isForm(keys[0])
	if literal {
		dst = append(dst, `{"$map":`...)
		depth++
	}
	if depth >= MaxDepth {
		return dst, fmt.Errorf("write JSON: nested deeper than %d", MaxDepth)
	}
	dst = append(dst, '{')
	var err error
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendCheckedString(dst, k); err != nil {
			return dst, err
		}
		if dst, err = appendJSON(append(dst, ':'), m[k], depth+1); err != nil {
			return dst, err
		}
	}
	if literal {
		dst = append(dst, '}')
	}
	return append(dst, '}'), nil
}

func appendJSONList(dst []byte, list []any, depth int) ([]byte, error) {
	if depth >= MaxDepth {
		return dst, fmt.Errorf("write JSON: nested deeper than %d", MaxDepth)
	}
	dst = append(dst, '[')
	var err error
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendJSON(dst, v, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendCheckedString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return dst, fmt.Errorf("write JSON: invalid UTF-8 in the string %.40q", s)
	}
	return appendJSONString(dst, s), nil
}

// appendJSONValue appends a scalar.
func appendJSONValue(dst []byte, v Value) []byte {
	switch v.kind {
	case KindFalse:
		return append(dst, "false"...)
	case KindTrue:
		return append(dst, "true"...)
	case KindUint:
		return strconv.AppendUint(dst, v.num, 10)
	case KindInt, KindCounter:
		return strconv.AppendInt(dst, int64(v.num), 10)
	case KindFloat:
		return appendJSONFloat(dst, v.Float())
	case KindString:
		return appendJSONString(dst, v.str)
	case KindBytes:
		dst = append(dst, `{"`+formBytes+`":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.str))
		return append(dst, `"}`...)
	case KindTime:
		return appendJSONTime(dst, v.Int())
	}
	return append(dst, "null"...)
}

// appendJSONFloat writes the shortest digits that read back as f, with a
// fraction or an exponent, so that it reads back as a float.
func appendJSONFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `{"$float":"NaN"}`...)
	case math.IsInf(f, 1):
		return append(dst, `{"$float":"Infinity"}`...)
	case math.IsInf(f, -1):
		return append(dst, `{"$float":"-Infinity"}`...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if format == 'f' && f == math.Trunc(f) {
		dst = append(dst, ".0"...)
	}
	return dst
}

// appendJSONTime writes RFC 3339 in UTC, or the bare number where a year has not
// four digits.
func appendJSONTime(dst []byte, ms int64) []byte {
	dst = append(dst, `{"`+formTime+`":`...)
	const year0, year10000 = -62167219200000, 253402300800000
	if ms < year0 || ms >= year10000 {
		return append(strconv.AppendInt(dst, ms, 10), '}')
	}
	dst = time.UnixMilli(ms).UTC().AppendFormat(append(dst, '"'), "2006-01-02T15:04:05.999Z07:00")
	return append(dst, `"}`...)
}

// appendJSONString appends a string, which has to be valid UTF-8, quoted. Only
// what has to be escaped is.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
