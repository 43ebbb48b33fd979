package crdt

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON reads one JSON value, strictly: duplicate keys, invalid UTF-8, lone
// surrogates, nesting beyond MaxDepth, integers beyond 64 bits, floats beyond
// float64 and anything after the value are errors (*JSONError).
//
// It yields nil, bool, string, map[string]any, []any; for numbers without
// fraction and exponent int64, or uint64 beyond its range; float64 for others;
// and Counter, time.Time (UTC, in milliseconds), []byte, float64 and Text for
// the forms {"$counter": 1}, {"$time": "2026-01-02T03:04:05Z"},
// {"$bytes": "base64"}, {"$float": "NaN"} and {"$text": "..."}. An object in
// {"$map": {}} is taken literally.
func ParseJSON(data []byte) (any, error) {
	p := jsonParser{in: view(data)}
	v := p.value(0)
	p.space()
	if p.err == nil && p.at < len(p.in) {
		p.fail(p.at, "something follows the value")
	}
	if p.err == nil && p.formed {
		v = p.resolve(v)
	}
	if p.err != nil {
		return nil, p.err
	}
	return v, nil
}

type jsonParser struct {
	in     string
	at     int
	err    error
	formed bool // there is a form to resolve
}

// form is an object that looks like one of the special forms. Whether it is one
// depends on what is around it, so it is resolved when all is read.
type form struct {
	key   string
	value any
	at    int
}

func (p *jsonParser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = &JSONError{Offset: at, Detail: fmt.Sprintf(format, args...)}
	}
}

func (p *jsonParser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take consumes c if it comes next.
func (p *jsonParser) take(c byte) bool {
	p.space()
	if p.at < len(p.in) && p.in[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) any {
	p.space()
	if p.at >= len(p.in) {
		p.fail(p.at, "ends where a value is expected")
		return nil
	}
	switch c := p.in[p.at]; c {
	case '{', '[':
		return p.container(c, depth)
	case '"':
		return p.string()
	case 't':
		p.word("true")
		return true
	case 'f':
		p.word("false")
		return false
	case 'n':
		p.word("null")
		return nil
	}
	return p.number()
}

// container reads an array or an object. Forms of scalars are no further level.
func (p *jsonParser) container(open byte, depth int) any {
	at := p.at
	p.at++
	if open == '[' && depth < MaxDepth {
		return p.array(depth + 1)
	}
	if open == '{' && depth <= MaxDepth {
		v := p.object(depth + 1)
		if f, ok := v.(*form); depth < MaxDepth || (ok && f.key != formMap) {
			return v
		}
	}
	p.fail(at, "nested deeper than %d", MaxDepth)
	return nil
}

func (p *jsonParser) word(w string) {
	if !strings.HasPrefix(p.in[p.at:], w) {
		p.fail(p.at, "expected %s", w)
		return
	}
	p.at += len(w)
}

func (p *jsonParser) array(depth int) any {
	list := []any{}
	if p.take(']') {
		return list
	}
	for p.err == nil {
		list = append(list, p.value(depth))
		if p.take(']') {
			break
		}
		if !p.take(',') {
			p.fail(p.at, "expected , or ]")
		}
	}
	return list
}

func (p *jsonParser) object(depth int) any {
	start := p.at - 1
	object := map[string]any{}
	if p.take('}') {
		return object
	}
	var key string
	for p.err == nil {
		p.space()
		at := p.at
		key = p.string()
		if _, twice := object[key]; twice {
			p.fail(at, "the key %q is there twice", key)
		}
		if !p.take(':') {
			p.fail(p.at, "expected :")
			break
		}
		object[key] = p.value(depth)
		if p.take('}') {
			break
		}
		if !p.take(',') {
			p.fail(p.at, "expected , or }")
		}
	}
	if len(object) == 1 && isForm(key) {
		p.formed = true
		return &form{key, object[key], start}
	}
	return object
}

// number reads a number; its grammar is RFC 8259's.
func (p *jsonParser) number() any {
	start := p.at
	p.skip('-')
	zero := p.skip('0')
	ok := zero || p.digits()
	whole := true
	if p.skip('.') {
		whole = false
		ok = p.digits() && ok
	}
	if p.skip('e') || p.skip('E') {
		whole = false
		_ = p.skip('+') || p.skip('-')
		ok = p.digits() && ok
	}
	text := p.in[start:p.at]
	if !ok {
		p.fail(start, "not a value")
		return nil
	}
	if zero && p.digits() {
		p.fail(start, "a number with a leading zero")
		return nil
	}
	if !whole {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			p.fail(start, "the number %.40s is beyond a 64-bit float", text)
		}
		return f
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	u, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p.fail(start, "the integer %.40s is beyond 64 bits", text)
	}
	return u
}

func (p *jsonParser) skip(c byte) bool {
	if p.at < len(p.in) && p.in[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *jsonParser) digits() bool {
	from := p.at
	for p.at < len(p.in) && p.in[p.at]-'0' <= 9 {
		p.at++
	}
	return p.at > from
}

// string reads a string, whose opening quote has to come next. The result does
// not share memory with the input.
func (p *jsonParser) string() string {
	start := p.at
	if !p.skip('"') {
		p.fail(p.at, "expected a string")
		return ""
	}
	plain := p.at
	for p.at < len(p.in) && p.in[p.at] >= ' ' && p.in[p.at] != '"' && p.in[p.at] != '\\' {
		p.at++
	}
	if p.at < len(p.in) && p.in[p.at] == '"' {
		s := p.in[plain:p.at]
		p.at++
		p.checkUTF8(s, plain)
		return strings.Clone(s)
	}
	return p.escaped(start, plain)
}

func (p *jsonParser) escaped(start, plain int) string {
	b := []byte(p.in[plain:p.at])
	p.checkUTF8(p.in[plain:p.at], plain)
	for p.err == nil {
		if p.at >= len(p.in) {
			p.fail(start, "a string without an end")
			break
		}
		c := p.in[p.at]
		switch {
		case c == '"':
			p.at++
			return string(b)
		case c == '\\':
			b = p.escape(b)
		case c < ' ':
			p.fail(p.at, "a control character in a string")
		case c < utf8.RuneSelf:
			b = append(b, c)
			p.at++
		default:
			r, n := utf8.DecodeRuneInString(p.in[p.at:])
			if r == utf8.RuneError && n == 1 {
				p.fail(p.at, "invalid UTF-8")
			}
			b = append(b, p.in[p.at:p.at+n]...)
			p.at += n
		}
	}
	return ""
}

func (p *jsonParser) checkUTF8(s string, at int) {
	if !utf8.ValidString(s) {
		p.fail(at, "invalid UTF-8 in a string")
	}
}

// escape reads an escape sequence and appends what it stands for.
func (p *jsonParser) escape(b []byte) []byte {
	at := p.at
	if p.at++; p.at >= len(p.in) {
		p.fail(at, "a string without an end")
		return b
	}
	c := p.in[p.at]
	p.at++
	switch c {
	case '"', '\\', '/':
		return append(b, c)
	case 'b':
		return append(b, '\b')
	case 'f':
		return append(b, '\f')
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
		r := p.hex4(at)
		if utf16.IsSurrogate(r) {
			if !p.skip('\\') || !p.skip('u') {
				p.fail(at, "a lone surrogate")
			} else if r = utf16.DecodeRune(r, p.hex4(at)); r == utf8.RuneError {
				p.fail(at, "a lone surrogate")
			}
		}
		return utf8.AppendRune(b, r)
	}
	p.fail(at, "an unknown escape sequence")
	return b
}

func (p *jsonParser) hex4(at int) rune {
	if len(p.in)-p.at >= 4 {
		if n, err := strconv.ParseUint(p.in[p.at:p.at+4], 16, 16); err == nil {
			p.at += 4
			return rune(n)
		}
	}
	p.fail(at, "expected four hex digits")
	return 0
}

// resolve replaces what looks like a special form by what it stands for.
func (p *jsonParser) resolve(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = p.resolve(e)
		}
	case []any:
		for i, e := range v {
			v[i] = p.resolve(e)
		}
	case *form:
		return p.resolveForm(v)
	}
	return v
}

func (p *jsonParser) resolveForm(f *form) any {
	if f.key == formMap {
		switch inner := f.value.(type) {
		case map[string]any:
			return p.resolve(inner)
		case *form:
			return map[string]any{inner.key: p.resolve(inner.value)}
		}
	}
	if v, ok := scalarForm(f.key, f.value); ok {
		return v
	}
	p.fail(f.at, `the value of {%q: ..} is not one it can have; for a map with this key write {"$map": {%q: ..}}`, f.key, f.key)
	return nil
}

func scalarForm(key string, v any) (any, bool) {
	n, isInt := v.(int64)
	s, isString := v.(string)
	switch {
	case key == formCounter && isInt:
		return Counter(n), true
	case key == formTime && isInt:
		return time.UnixMilli(n).UTC(), true
	case key == formTime && isString:
		var t time.Time
		err := t.UnmarshalText([]byte(s))
		return t.Truncate(time.Millisecond).UTC(), err == nil
	case key == formText && isString:
		return Text(s), true
	case key == formBytes && isString:
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		return b, err == nil && !strings.ContainsAny(s, "\r\n")
	case key == formFloat && isString:
		return namedFloat(s)
	}
	return nil, false
}

func namedFloat(s string) (any, bool) {
	switch s {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return nil, false
}
