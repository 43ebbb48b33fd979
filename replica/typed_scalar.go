package replica

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwitdb/godwit/crdt"
)

func (c *codec) asBool() {
	c.want = "a boolean"
	c.decode = func(d *jsonReader, v reflect.Value) {
		switch {
		case strings.HasPrefix(d.s[d.at:], "true"):
			d.at += 4
			v.SetBool(true)
		case strings.HasPrefix(d.s[d.at:], "false"):
			d.at += 5
			v.SetBool(false)
		case !d.null():
			d.wrong(c.want)
		}
	}
	c.encode = func(_ *encoder, v reflect.Value) any { return v.Bool() }
}

// number consumes a number without fraction and exponent, "" if none comes.
func (d *jsonReader) integer() string {
	end := numberEnd(d.s, d.at)
	text := d.s[d.at:end]
	if strings.ContainsAny(text, ".eE") {
		return ""
	}
	d.at = end
	return text
}

func (c *codec) asInteger(want string, wrap func(int64) any) {
	c.want = want
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			return
		}
		text := d.integer()
		if text == "" {
			d.wrong(want)
			return
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(n) {
			d.misfit(want+" within "+c.typ.Kind().String(), text)
			return
		}
		v.SetInt(n)
	}
	c.encode = func(_ *encoder, v reflect.Value) any { return wrap(v.Int()) }
}

func (c *codec) asUnsigned() {
	c.want = "an integer"
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			return
		}
		text := d.integer()
		if text == "" {
			d.wrong(c.want)
			return
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || v.OverflowUint(n) {
			d.misfit("an integer within "+c.typ.Kind().String(), text)
			return
		}
		v.SetUint(n)
	}
	c.encode = func(_ *encoder, v reflect.Value) any {
		if n := v.Uint(); n > math.MaxInt64 {
			return n
		}
		return int64(v.Uint())
	}
}

func (c *codec) asFloat() {
	c.want = "a number"
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			return
		}
		if name, ok := d.formValue("$float"); ok {
			f, _ := strconv.ParseFloat(name, 64) // it knows all three
			v.SetFloat(f)
			return
		}
		end := numberEnd(d.s, d.at)
		f, err := strconv.ParseFloat(d.s[d.at:end], 64)
		switch {
		case end == d.at:
			d.wrong(c.want)
			return
		case err != nil || v.OverflowFloat(f):
			d.misfit("a number within "+c.typ.Kind().String(), d.s[d.at:end])
		default:
			v.SetFloat(f)
		}
		d.at = end
	}
	c.encode = func(_ *encoder, v reflect.Value) any { return v.Float() }
}

func (c *codec) asString() {
	c.want = "a string"
	c.decode = func(d *jsonReader, v reflect.Value) {
		switch {
		case d.peek() == '"':
			v.SetString(d.string())
		case !d.null():
			d.wrong("a string") // as which texts are stored, too
		}
	}
	c.encode = func(e *encoder, v reflect.Value) any { return e.text(v.String()) }
}

func (c *codec) asText() {
	c.asString()
	c.want = wantText
	c.encode = func(e *encoder, v reflect.Value) any {
		s := e.text(v.String())
		e.count(0, utf8.RuneCountInString(s))
		return crdt.Text(s)
	}
}

// asTime also reads strings of RFC 3339: values that came from JSON have them.
func (c *codec) asTime() {
	c.want = "a time"
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			return
		}
		if key, value, end := d.form(); key == "$time" && !strings.HasPrefix(value, `"`) {
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
				v.Set(reflect.ValueOf(time.UnixMilli(ms).UTC()))
				d.at = end
				return
			}
		}
		text, ok := d.formValue("$time")
		if !ok && d.peek() == '"' {
			text, ok = d.string(), true
		}
		if !ok {
			d.wrong(c.want)
			return
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			d.misfit("a time", "the string "+strconv.Quote(clip(text)))
			return
		}
		v.Set(reflect.ValueOf(t.UTC()))
	}
	c.encode = func(_ *encoder, v reflect.Value) any {
		return v.Interface().(time.Time).Truncate(time.Millisecond).UTC()
	}
}

// clip shortens what an error quotes.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}

func (c *codec) asBytes() {
	c.want = "bytes"
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			v.SetZero()
			return
		}
		text, ok := d.formValue("$bytes")
		if !ok {
			d.wrong(c.want)
			return
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			d.misfit(c.want, "invalid base64")
			return
		}
		v.SetBytes(b)
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		if v.IsNil() {
			return nil
		}
		return append([]byte{}, e.bytes(v.Bytes())...)
	}
}

// omitted stands for a value that is no field: the zero of an enum that has no text
// for it. Where a value is needed it is null.
type omitted struct{}

// asMarshaledText is for enums and other types that are written as a string.
func (c *codec) asMarshaledText() {
	c.want = "a string for " + c.typ.String()
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			return
		}
		if d.peek() != '"' {
			d.wrong(c.want)
			return
		}
		text := d.string()
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			d.misfit(c.want, strconv.Quote(clip(text))+": "+err.Error())
		}
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		text, err := addressed(v).(encoding.TextMarshaler).MarshalText()
		if err != nil && v.IsZero() {
			return omitted{}
		}
		if err != nil {
			e.fail(c.want, err.Error())
		}
		return e.text(string(text))
	}
}

// asMarshaledJSON is for types that write themselves as JSON, in crdt's mapping.
func (c *codec) asMarshaledJSON() {
	c.want = "JSON for " + c.typ.String()
	c.decode = func(d *jsonReader, v reflect.Value) {
		from, what := d.at, d.kind()
		d.skip()
		if d.torn {
			return
		}
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON([]byte(d.s[from:d.at])); err != nil {
			d.misfit(c.want, what+": "+err.Error())
		}
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		text, err := addressed(v).(json.Marshaler).MarshalJSON()
		if err == nil && len(e.bytes(text)) > 0 {
			var tree any
			if tree, err = crdt.ParseJSON(text); err == nil {
				return tree
			}
		}
		if err != nil {
			e.fail(c.want, err.Error())
		}
		return nil
	}
}

// addressed returns v so that the methods of its pointer are there, too.
func addressed(v reflect.Value) any {
	if !v.CanAddr() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p.Elem()
	}
	return v.Addr().Interface()
}

// asAny reads what crdt.ParseJSON yields, and writes values of any type that a
// record holds.
func (c *codec) asAny() {
	c.want = "any value"
	c.decode = func(d *jsonReader, v reflect.Value) {
		from := d.at
		d.skip()
		if d.torn {
			return
		}
		tree, err := crdt.ParseJSON([]byte(d.s[from:d.at]))
		switch {
		case err != nil:
			d.misfit(c.want, err.Error())
		case tree == nil:
			v.SetZero()
		default:
			v.Set(reflect.ValueOf(tree))
		}
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		if v.IsNil() {
			return nil
		}
		return e.any(v.Elem())
	}
}
