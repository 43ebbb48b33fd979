package persist

import (
	"database/sql/driver"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwitdb/godwit/crdt"
)

// A field's key is what conditions compare and indexes hold: one SQLite value that
// is equal, less or greater as the field's value is, whatever its type. Numbers and
// strings are themselves; everything else is a blob, which SQLite sorts behind both,
// of a tag and what the value is told by.
const (
	tagFalse   = 0x01
	tagTrue    = 0x02
	tagTime    = 0x03 // RFC 3339 without the Z, which sorts: fractions end in no zero
	tagBytes   = 0x04 // base64
	tagJSON    = 0x05 // a list or a map, as it is written
	tagNaN     = 0x06
	tagNull    = 0xfe
	tagMissing = 0xff
)

// keyMissing is the last key: a field that is there is less.
const keyMissing = "x'ff'"

// keyOf is the SQL of a field's key, from SQL for the JSON type of what it holds and
// for the value as json_extract gives it. A special form is an object of one key, so
// it is what json_object makes of that key's value.
func keyOf(kind, value string) string {
	form := func(name string) string { return "json_extract(" + value + ", '$.\"" + name + "\"')" }
	is := func(name string) string { return value + " = json_object('" + name + "', " + form(name) + ")" }
	tagged := func(tag byte, rest string) string { return fmt.Sprintf("CAST(char(%d) || %s AS BLOB)", tag, rest) }
	t := form("$time")
	return "CASE " + kind +
		" WHEN 'text' THEN " + value + " WHEN 'integer' THEN " + value + " WHEN 'real' THEN " + value +
		" WHEN 'true' THEN x'02' WHEN 'false' THEN x'01' WHEN 'null' THEN x'fe'" +
		" WHEN 'array' THEN " + tagged(tagJSON, value) +
		" WHEN 'object' THEN CASE WHEN substr(" + value + ", 1, 3) <> '{\"$' THEN " + tagged(tagJSON, value) +
		" WHEN " + is("$time") + " THEN " + tagged(tagTime, "CASE WHEN typeof("+t+") = 'text' THEN rtrim("+t+", 'Z')"+
		" WHEN "+t+" < 0 THEN '-' || printf('%019d', "+t+" + 9223372036854775807) ELSE ':' || printf('%019d', "+t+") END") +
		" WHEN " + is("$bytes") + " THEN " + tagged(tagBytes, form("$bytes")) +
		" WHEN " + is("$float") + " THEN CASE " + form("$float") + " WHEN 'Infinity' THEN 9e999 WHEN '-Infinity' THEN -9e999 ELSE x'06' END" +
		" ELSE " + tagged(tagJSON, value) + " END" +
		" ELSE " + keyMissing + " END"
}

// keyAt is the SQL of the key of a field; at is what JSON functions are to be called
// with, in parentheses.
func keyAt(at string) string { return keyOf("json_type"+at, "json_extract"+at) }

// literal writes a string into SQL that takes no arguments, as CREATE does not.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// fieldPath returns the path that a condition's field names, for SQLite's JSON
// functions.
func fieldPath(field string) (string, error) {
	if len(field) > MaxFieldPath {
		return "", &QueryError{Field: field, Reason: fmt.Sprintf("the path has %d bytes, at most %d are allowed", len(field), MaxFieldPath)}
	}
	path, err := crdt.ParsePath(field)
	if err != nil {
		return "", &QueryError{Field: field, Reason: err.Error()}
	}
	if len(path) == 0 {
		return "", &QueryError{Field: field, Reason: "the path is empty"}
	}
	for _, s := range path {
		if !utf8.ValidString(s.Key) || strings.ContainsRune(s.Key, 0) {
			return "", &QueryError{Field: field, Reason: "the path is not valid UTF-8"}
		}
	}
	p, err := JSONPath(path)
	if err != nil {
		return "", &QueryError{Field: field, Reason: err.Error()}
	}
	return p, nil
}

// keyValue returns the key of a Go value.
func keyValue(v any) (driver.Value, error) {
	switch v := v.(type) {
	case nil:
		return []byte{tagNull}, nil
	case bool:
		if v {
			return []byte{tagTrue}, nil
		}
		return []byte{tagFalse}, nil
	case string:
		return checkedText(v)
	case time.Time:
		return timeKey(v.UnixMilli()), nil
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return nil, err
		}
		return checkedText(string(text))
	case map[string]any, []any:
		text, err := crdt.AppendJSON([]byte{tagJSON}, v)
		return text, err
	case []byte:
		text, err := crdt.AppendJSON(nil, v) // {"$bytes":"..."}
		if err != nil {
			return nil, err
		}
		return append([]byte{tagBytes}, text[len(`{"$bytes":"`):len(text)-len(`"}`)]...), nil
	}
	return reflectKey(reflect.ValueOf(v))
}

// reflectKey is keyValue for types with a name, and for all widths of numbers.
func reflectKey(v reflect.Value) (driver.Value, error) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return keyValue(nil)
		}
		return keyValue(v.Elem().Interface())
	case reflect.Bool:
		return keyValue(v.Bool())
	case reflect.String:
		return checkedText(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n := v.Uint(); n > math.MaxInt64 {
			return float64(n), nil // as SQLite reads it
		}
		return int64(v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		if math.IsNaN(v.Float()) {
			return []byte{tagNaN}, nil
		}
		return v.Float(), nil
	case reflect.Slice:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = v.Index(i).Interface()
		}
		return keyValue(all)
	}
	return nil, fmt.Errorf("no record holds a value of type %s", v.Type())
}

func checkedText(s string) (driver.Value, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("the string %.40q is not valid UTF-8", s)
	}
	return s, nil
}

// timeKey is the key of a time in milliseconds since 1970. Those that have no year of
// four digits, which JSON has as numbers, go before and behind the others.
func timeKey(ms int64) []byte {
	const year0, year10000 = -62167219200000, 253402300800000
	switch {
	case ms < year0:
		return fmt.Appendf([]byte{tagTime}, "-%019d", ms+math.MaxInt64)
	case ms >= year10000:
		return fmt.Appendf([]byte{tagTime}, ":%019d", ms)
	}
	return time.UnixMilli(ms).UTC().AppendFormat([]byte{tagTime}, "2006-01-02T15:04:05.999")
}

// keyRange returns the first key of a value's type and the first behind it; nil
// where there is no bound. ok is false for types that have no order.
func keyRange(key driver.Value) (from, to driver.Value, ok bool) {
	switch k := key.(type) {
	case int64, float64:
		return nil, "", true
	case string:
		return "", []byte{}, true
	case []byte:
		if k[0] == tagTime {
			return []byte{tagTime}, []byte{tagTime + 1}, true
		}
	}
	return nil, nil, false
}

// behindPrefix returns the first key behind all strings that begin with prefix, which
// is UTF-8, so that its bytes have successors.
func behindPrefix(prefix string) driver.Value {
	if prefix == "" {
		return []byte{}
	}
	last := len(prefix) - 1
	return prefix[:last] + string([]byte{prefix[last] + 1})
}
