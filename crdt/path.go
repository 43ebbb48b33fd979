package crdt

import (
	"fmt"
	"math"
	"strconv"
)

// Path leads from a record's root to a value in it. The empty path is the root.
type Path []Step

// Step is a key of a map, or an index of a list or text.
type Step struct {
	Key    string
	Index  int
	InList bool // Index counts, not Key
}

// String writes the path as a.b[2].c. Keys of other characters than A-Z, a-z,
// 0-9, _ and - stand as JSON strings: a["full name"].
func (p Path) String() string {
	var b []byte
	for i, s := range p {
		switch {
		case s.InList:
			b = append(strconv.AppendInt(append(b, '['), int64(s.Index), 10), ']')
		case !isPlainKey(s.Key):
			b = append(appendJSONString(append(b, '['), s.Key), ']')
		case i > 0:
			b = append(append(b, '.'), s.Key...)
		default:
			b = append(b, s.Key...)
		}
	}
	return string(b)
}

// ParsePath reads what String writes. Indices are below 2^31.
func ParsePath(s string) (Path, error) {
	var path Path
	p := jsonParser{in: s}
	for p.at < len(s) && p.err == nil {
		if p.skip('[') {
			path = append(path, p.bracket())
			continue
		}
		if len(path) > 0 && !p.skip('.') {
			p.fail(p.at, "expected . or [")
			break
		}
		key := plainPrefix(s[p.at:])
		if key == "" {
			p.fail(p.at, `expected a key of letters, digits, _ and -; others are written ["..."]`)
		}
		p.at += len(key)
		path = append(path, Step{Key: key})
	}
	if p.err != nil {
		e := p.err.(*JSONError)
		return nil, fmt.Errorf("parse path %q: at offset %d: %s", s, e.Offset, e.Detail)
	}
	return path, nil
}

// bracket reads an index or a quoted key, behind the opening bracket.
func (p *jsonParser) bracket() (step Step) {
	if p.at < len(p.in) && p.in[p.at] == '"' {
		step.Key = p.string()
	} else {
		from := p.at
		step.InList = true
		p.digits()
		digits := p.in[from:p.at]
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n > math.MaxInt32 || (digits[0] == '0' && len(digits) > 1) {
			p.fail(from, "expected an index or a quoted key")
			return step
		}
		step.Index = int(n)
	}
	if !p.skip(']') {
		p.fail(p.at, "expected ]")
	}
	return step
}

func isPlainKey(s string) bool { return s != "" && len(plainPrefix(s)) == len(s) }

// plainPrefix returns the beginning of s that needs no quotes.
func plainPrefix(s string) string {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return s[:i]
		}
	}
	return s
}
