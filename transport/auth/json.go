package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON.
const maxDepth = 16

// checkJSON holds b to one JSON value of valid UTF-8, no object of which has a
// name twice, at most depth levels deep.
func checkJSON(b []byte, depth int) error {
	if !utf8.Valid(b) {
		return errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := checkValue(d, depth); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func checkValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return notJSON(err)
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == 0 {
		return errors.New("its JSON is nested too deeply")
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return notJSON(err)
			}
			s, _ := name.(string) // a name is always one
			if seen[s] {
				return fmt.Errorf("%q is there twice", clip(s))
			}
			seen[s] = true
		}
		if err := checkValue(d, depth-1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return notJSON(err)
	}
	return nil
}

// notJSON hides the decoder's words, which can repeat what they are about.
func notJSON(error) error { return errors.New("it is not JSON") }

// fields are the members of an object that checkJSON has seen. Its methods take
// members out; the first that is of another type than wanted is the error.
type fields struct {
	members map[string]json.RawMessage
	err     error
}

func newFields(b []byte) *fields {
	f := &fields{}
	if err := json.Unmarshal(b, &f.members); err != nil || f.members == nil {
		f.err = errors.New("it is not a JSON object")
	}
	return f
}

// take decodes a member into v, if there is one, and forgets it.
func (f *fields) take(name, want string, v any) bool {
	raw, ok := f.members[name]
	if !ok {
		return false
	}
	delete(f.members, name)
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) || json.Unmarshal(raw, v) != nil {
		if f.err == nil {
			f.err = fmt.Errorf("%q is not %s", name, want)
		}
		return false
	}
	return true
}

func (f *fields) text(name string) (s string) {
	f.take(name, "a string", &s)
	return s
}

func (f *fields) texts(name string) (list []string) {
	var all []*string // a null among them stays one
	f.take(name, "a list of strings", &all)
	for _, s := range all {
		if s == nil {
			f.fail("%q is not a list of strings", name)
			return nil
		}
		list = append(list, *s)
	}
	return list
}

func (f *fields) flag(name string) (b bool) {
	f.take(name, "true or false", &b)
	return b
}

// date reads a NumericDate (RFC 7519, section 2): seconds since 1970, of this
// side of the year 10000.
func (f *fields) date(name string) time.Time {
	var n json.Number
	if raw := bytes.TrimSpace(f.members[name]); len(raw) > 0 && raw[0] == '"' { // json.Number takes a string too
		f.fail("%q is not a number of seconds", name)
		return time.Time{}
	}
	if !f.take(name, "a number of seconds", &n) {
		return time.Time{}
	}
	v, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || !(v >= 0 && v < 253402300800) {
		f.fail("%q is no time between 1970 and 9999", name)
		return time.Time{}
	}
	whole, part := math.Modf(v)
	return time.Unix(int64(whole), int64(part*1e9))
}

// objects returns the elements of a list of objects.
func (f *fields) objects(name string) []*fields {
	var all []json.RawMessage
	f.take(name, "a list", &all)
	var list []*fields
	for _, raw := range all {
		list = append(list, newFields(raw))
	}
	return list
}

// none refuses members that nobody took.
func (f *fields) none() {
	for name := range f.members {
		f.fail("%q is not known", clip(name))
	}
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// clip shortens what an error quotes.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
