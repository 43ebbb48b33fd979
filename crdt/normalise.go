package crdt

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// normalise turns a Go value into what ParseJSON yields (and uint64s of any
// size): nil, bool, int64, uint64, float64, string, []byte, time.Time, Counter,
// Text, map[string]any, []any.
func normalise(v any) (any, error) { return normaliseAt(v, 0) }

func normaliseAt(v any, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("the value is nested deeper than %d", MaxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, uint64, float64, time.Time, Counter:
		return v, nil
	case []byte:
		if v == nil {
			return nil, nil
		}
		return v, nil
	case int:
		return int64(v), nil
	case string:
		return v, checkString(v)
	case Text:
		return v, checkString(string(v))
	case Value:
		return v.goValue(), nil
	case map[string]any:
		return normaliseMap(v, depth)
	case []any:
		return normaliseList(v, depth)
	case encoding.TextMarshaler:
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
			return nil, nil
		}
		text, err := v.MarshalText()
		if err != nil {
			return nil, err
		}
		return string(text), checkString(string(text))
	}
	return reflected(reflect.ValueOf(v), depth)
}

func checkString(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("invalid UTF-8 in the string %.40q", s)
	}
	return nil
}

func normaliseMap(m map[string]any, depth int) (any, error) {
	if m == nil {
		return nil, nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		if err := checkString(k); err != nil {
			return nil, err
		}
		n, err := normaliseAt(v, depth+1)
		if err != nil {
			return nil, err
		}
		out[k] = n
	}
	return out, nil
}

func normaliseList(list []any, depth int) (any, error) {
	if list == nil {
		return nil, nil
	}
	out := make([]any, len(list))
	for i, v := range list {
		n, err := normaliseAt(v, depth+1)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// reflected handles the types that only reflection can tell.
func reflected(r reflect.Value, depth int) (any, error) {
	switch r.Kind() {
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return nil, nil
		}
		return normaliseAt(r.Elem().Interface(), depth+1)
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return r.Uint(), nil
	case reflect.Float32, reflect.Float64:
		return r.Float(), nil
	case reflect.String:
		return r.String(), checkString(r.String())
	case reflect.Slice:
		if r.IsNil() {
			return nil, nil
		}
		if r.Type().Elem().Kind() == reflect.Uint8 {
			return r.Bytes(), nil
		}
		return reflectedList(r, depth)
	case reflect.Array:
		return reflectedList(r, depth)
	case reflect.Map:
		return reflectedMap(r, depth)
	case reflect.Struct:
		m := map[string]any{}
		return m, reflectedFields(m, r, depth)
	}
	return nil, fmt.Errorf("no record holds a value of type %s", r.Type())
}

func reflectedList(r reflect.Value, depth int) (any, error) {
	out := make([]any, r.Len())
	for i := range out {
		v, err := normaliseAt(r.Index(i).Interface(), depth+1)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func reflectedMap(r reflect.Value, depth int) (any, error) {
	if r.IsNil() {
		return nil, nil
	}
	if r.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("the keys of a map are strings, not %s", r.Type().Key())
	}
	out := make(map[string]any, r.Len())
	for it := r.MapRange(); it.Next(); {
		k := it.Key().String()
		if err := checkString(k); err != nil {
			return nil, err
		}
		v, err := normaliseAt(it.Value().Interface(), depth+1)
		if err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, nil
}

// reflectedFields adds a struct's exported fields, named as encoding/json names
// them, with "-" and omitempty and omitzero heeded and embedded structs merged.
func reflectedFields(m map[string]any, r reflect.Value, depth int) error {
	for i := range r.NumField() {
		f, v := r.Type().Field(i), r.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() && !f.Anonymous || name == "-" && options == "" {
			continue
		}
		if f.Anonymous && name == "" {
			if v.Kind() == reflect.Pointer {
				if v.IsNil() {
					continue
				}
				v = v.Elem()
			}
			if v.Kind() == reflect.Struct {
				if err := reflectedFields(m, v, depth); err != nil {
					return err
				}
				continue
			}
		}
		if !f.IsExported() || omitted(v, options) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		n, err := normaliseAt(v.Interface(), depth+1)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		m[name] = n
	}
	return nil
}

func omitted(v reflect.Value, options string) bool {
	for o := range strings.SplitSeq(options, ",") {
		switch {
		case o == "omitzero" && v.IsZero():
			return true
		case o != "omitempty":
		case v.Kind() == reflect.Map || v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
			if v.Len() == 0 {
				return true
			}
		case v.Kind() != reflect.Struct && v.IsZero():
			return true
		}
	}
	return false
}
