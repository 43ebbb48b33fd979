package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// jsonStream finds where values begin and end in a stream of JSON, in memory
// that is bounded by maxItem. Whether a value is right is for crdt.ParseJSON to
// say.
type jsonStream struct {
	in  *bufio.Reader
	at  int64  // offset of the next byte
	buf []byte // the value kept last
}

// badInput says where the input is not what it should be.
type badInput struct {
	item   int // counted from 1, 0 outside of items
	offset int64
	line   int // of a CSV, from 1, instead of both
	err    error
}

func (e *badInput) Error() string {
	if e.line > 0 {
		return fmt.Sprintf("line %d: %v", e.line, e.err)
	}
	if e.item == 0 {
		return fmt.Sprintf("at offset %d: %v", e.offset, e.err)
	}
	return fmt.Sprintf("item %d at offset %d: %v", e.item, e.offset, e.err)
}

func (e *badInput) Unwrap() error { return e.err }

var (
	errTruncated = errors.New("the input ends too early")
	errTooLong   = fmt.Errorf("longer than %d MiB; if it is an object around an array, name the array with --array", maxItem>>20)
)

func (s *jsonStream) bad(format string, args ...any) error {
	return &badInput{offset: s.at, err: fmt.Errorf(format, args...)}
}

// peek returns the next byte behind blanks without taking it, io.EOF at the end.
func (s *jsonStream) peek() (byte, error) {
	for {
		c, err := s.in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !isBlank(c) {
			return c, s.in.UnreadByte()
		}
		s.at++
	}
}

// must is peek where the input may not end.
func (s *jsonStream) must() (byte, error) {
	c, err := s.peek()
	return c, s.truncated(err)
}

// take takes the byte that was peeked at.
func (s *jsonStream) take() {
	_, _ = s.in.ReadByte() // it is in the buffer
	s.at++
}

// expect takes c, which has to come next.
func (s *jsonStream) expect(c byte, what string) error {
	got, err := s.must()
	if err != nil {
		return err
	}
	if got != c {
		return s.bad("expected %s", what)
	}
	s.take()
	return nil
}

// keep reads the string, object or array that comes next into buf.
func (s *jsonStream) keep() error {
	s.buf = s.buf[:0]
	return s.scan(func(c byte) error {
		if len(s.buf) == maxItem {
			return errTooLong
		}
		s.buf = append(s.buf, c)
		return nil
	})
}

// skip passes over the value that comes next, however long.
func (s *jsonStream) skip() error {
	c, err := s.must()
	if err != nil {
		return err
	}
	if c == '"' || c == '{' || c == '[' {
		return s.scan(func(byte) error { return nil })
	}
	for start := s.at; ; s.take() { // a number or a word
		next, err := s.in.Peek(1)
		if err != nil {
			return s.truncated(err)
		}
		if c := next[0]; isBlank(c) || c == ',' || c == '}' || c == ']' {
			if s.at == start {
				return s.bad("expected a value")
			}
			return nil
		}
	}
}

// scan hands each byte of a string, object or array to visit.
func (s *jsonStream) scan(visit func(byte) error) error {
	start := s.at
	quoted, escaped := false, false
	for depth := 0; ; {
		c, err := s.in.ReadByte()
		if err != nil {
			return s.truncated(err)
		}
		s.at++
		if err := visit(c); err != nil {
			return &badInput{offset: start, err: err}
		}
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 && !quoted {
			return nil
		}
	}
}

// truncated turns the end of the input into what is wrong with it.
func (s *jsonStream) truncated(err error) error {
	if err == io.EOF {
		return &badInput{offset: s.at, err: errTruncated}
	}
	return err
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
