package replica

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/godwitdb/godwit/crdt"
)

// maxFieldErrors bounds how many fields one error names.
const maxFieldErrors = 16

// jsonReader reads a record's stored value, as crdt prints it: without blanks, the
// keys sorted. A field that does not fit is noted and passed over; the rest is
// read. Text that is not such JSON at all ends the reading.
type jsonReader struct {
	s    string
	at   int
	path crdt.Path
	errs []error
	more int             // misfits beyond those in errs
	bad  map[string]bool // fields of the record in which something does not fit
	torn bool            // it is no JSON
}

// decode reads a stored value into v, which c was made for.
func (c *codec) read(text string, v reflect.Value) *jsonReader {
	d := &jsonReader{s: text}
	c.decode(d, v)
	if d.at != len(d.s) {
		d.torn = true
	}
	return d
}

// err returns what did not fit, nil if all did.
func (d *jsonReader) err() error {
	if d.torn {
		return errors.Join(append(d.errs, fmt.Errorf("the stored value is damaged at byte %d, run doctor", d.at))...)
	}
	if d.more > 0 {
		return errors.Join(append(d.errs, fmt.Errorf("and %d values more", d.more))...)
	}
	return errors.Join(d.errs...)
}

// peek returns the next byte, 0 at the end.
func (d *jsonReader) peek() byte {
	if d.at < len(d.s) {
		return d.s[d.at]
	}
	return 0
}

func (d *jsonReader) take(c byte) bool {
	if d.peek() == c {
		d.at++
		return true
	}
	return false
}

// need consumes c, or ends the reading.
func (d *jsonReader) need(c byte) bool {
	if !d.take(c) {
		d.tear()
	}
	return !d.torn
}

func (d *jsonReader) tear() {
	if !d.torn {
		d.torn = true
		d.s = d.s[:d.at] // every reader stops here
	}
}

// null consumes a null.
func (d *jsonReader) null() bool {
	if strings.HasPrefix(d.s[d.at:], "null") {
		d.at += 4
		return true
	}
	return false
}

// wrong notes that the next value is not what is wanted, and passes over it.
func (d *jsonReader) wrong(want string) {
	d.misfit(want, d.kind())
	d.skip()
}

func (d *jsonReader) misfit(want, got string) {
	if len(d.path) > 0 {
		if d.bad == nil {
			d.bad = map[string]bool{}
		}
		d.bad[d.path[0].Key] = true
	}
	if len(d.errs) == maxFieldErrors {
		d.more++
	} else {
		d.errs = append(d.errs, &FieldError{Path: append(crdt.Path(nil), d.path...), Want: want, Got: got})
	}
}

// kind says what comes next.
func (d *jsonReader) kind() string {
	switch d.peek() {
	case '"':
		return "a string"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case '{':
		switch key, _, _ := d.form(); key {
		case "$time":
			return "a time"
		case "$bytes":
			return "bytes"
		case "$float":
			return "a number"
		}
		return "a map"
	}
	if start := d.at; strings.ContainsAny(d.s[start:numberEnd(d.s, start)], ".eE") {
		return "a number with a fraction"
	}
	return "an integer"
}

// form returns the key and the value of a special form that comes next, and where
// it ends; "" if none does.
func (d *jsonReader) form() (key, value string, end int) {
	if !strings.HasPrefix(d.s[d.at:], `{"$`) {
		return "", "", 0
	}
	look := jsonReader{s: d.s, at: d.at + 1}
	key = look.string()
	look.need(':')
	from := look.at
	look.skip()
	value = look.s[min(from, look.at):look.at]
	if !look.need('}') {
		return "", "", 0
	}
	switch key {
	case "$time", "$bytes", "$float", "$map":
		return key, value, look.at
	}
	return "", "", 0
}

// formValue consumes a special form with this key and a string in it.
func (d *jsonReader) formValue(want string) (string, bool) {
	key, value, end := d.form()
	if key != want || !strings.HasPrefix(value, `"`) {
		return "", false
	}
	d.at = end
	return (&jsonReader{s: value}).string(), true
}

// skip passes over a value.
func (d *jsonReader) skip() {
	depth := 0
	for !d.torn {
		switch c := d.peek(); c {
		case '{', '[':
			depth++
			d.at++
		case '}', ']':
			depth--
			d.at++
		case ',', ':':
			d.at++
		case '"':
			d.skipString()
		default:
			end := wordEnd(d.s, d.at)
			if end == d.at {
				d.tear()
				return
			}
			d.at = end
		}
		if depth < 0 {
			d.tear()
		}
		if depth == 0 {
			return
		}
	}
}

func (d *jsonReader) skipString() {
	for i := d.at + 1; i < len(d.s); i++ {
		switch d.s[i] {
		case '\\':
			i++
		case '"':
			d.at = i + 1
			return
		}
	}
	d.tear()
}

// wordEnd returns where a number, true, false or null ends.
func wordEnd(s string, at int) int {
	for at < len(s) && (s[at] >= '0' && s[at] <= '9' || s[at] >= 'a' && s[at] <= 'z' || s[at] == '-' || s[at] == '+' || s[at] == '.' || s[at] == 'E') {
		at++
	}
	return at
}

// numberEnd returns where a number ends; at itself if none comes.
func numberEnd(s string, at int) int {
	if at < len(s) && (s[at] == '-' || s[at] >= '0' && s[at] <= '9') {
		return wordEnd(s, at)
	}
	return at
}

// string reads a string, whose quote has to come next. It shares no memory with
// the stored value.
func (d *jsonReader) string() string {
	from := d.at
	if d.peek() != '"' {
		d.tear()
		return ""
	}
	for i := from + 1; i < len(d.s); i++ {
		switch d.s[i] {
		case '"':
			d.at = i + 1
			return strings.Clone(d.s[from+1 : i])
		case '\\':
			return d.escaped(from)
		}
	}
	d.tear()
	return ""
}

// escaped reads a string with escapes in it.
func (d *jsonReader) escaped(from int) string {
	d.skipString()
	if d.torn {
		return ""
	}
	v, err := crdt.ParseJSON([]byte(d.s[from:d.at]))
	s, ok := v.(string)
	if err != nil || !ok {
		d.tear()
	}
	return s
}

// object reads a map that goes into v; each is called behind every key, and has to
// consume the value.
func (d *jsonReader) object(c *codec, v reflect.Value, each func(key string)) {
	if d.null() {
		v.SetZero()
		return
	}
	if d.peek() != '{' {
		d.wrong(c.want)
		return
	}
	switch key, _, _ := d.form(); key {
	case "":
		d.entries(each)
	case "$map": // so written because it looks like a form
		d.at += len(`{"$map":`)
		d.entries(each)
		d.need('}')
	default:
		d.wrong(c.want)
	}
}

// entries reads a map's keys and values.
func (d *jsonReader) entries(each func(key string)) {
	d.need('{')
	if d.take('}') {
		return
	}
	for !d.torn {
		key := d.string()
		if !d.need(':') {
			return
		}
		d.path = append(d.path, crdt.Step{Key: key})
		each(key)
		d.path = d.path[:len(d.path)-1]
		if d.take('}') {
			return
		}
		d.need(',')
	}
}

// elements reads a list; each is called for every element, and has to consume it.
func (d *jsonReader) elements(each func(i int)) {
	d.need('[')
	if d.take(']') {
		return
	}
	for i := 0; !d.torn; i++ {
		d.path = append(d.path, crdt.Step{Index: i, InList: true})
		each(i)
		d.path = d.path[:len(d.path)-1]
		if d.take(']') {
			return
		}
		d.need(',')
	}
}
