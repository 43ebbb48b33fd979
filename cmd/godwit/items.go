package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/godwitdb/godwit/crdt"
)

// itemReader cuts a stream of JSON into items, holding one at a time. Items are
// the elements of an array, those of an array inside an object, or objects that
// follow each other, as in NDJSON.
type itemReader struct {
	jsonStream
	array string // the key of the array, "" for none
	state itemState
	count int // items begun
}

type itemState int

const (
	atBegin itemState = iota
	inLines           // objects follow each other
	inArray
	behindArray
)

// item is an object, not parsed yet.
type item struct {
	number int     // from 1
	offset int64   // of its first byte
	line   int     // of a CSV, from 1; else 0
	data   []byte  // valid until the next item is read
	id     *string // the record's, if no field has it; valid as long
}

// bad says where an item is that is not what it should be.
func (it *item) bad(err error) error {
	return &badInput{item: it.number, offset: it.offset, line: it.line, err: err}
}

func newItemReader(in io.Reader, array string) *itemReader {
	return &itemReader{jsonStream: jsonStream{in: bufio.NewReaderSize(in, 256<<10)}, array: array}
}

// offset returns how much was read.
func (r *itemReader) offset() int64 { return r.at }

// next returns the next item, io.EOF behind the last one. Other errors are a
// *badInput or the failure to read.
func (r *itemReader) next() (item, error) {
	if r.state == atBegin {
		if err := r.begin(); err != nil {
			return item{}, err
		}
	}
	if r.state == inArray {
		more, err := r.element()
		if err != nil {
			return item{}, err
		}
		if more {
			return r.item()
		}
		r.state = behindArray
		if err := r.leaveObject(); err != nil {
			return item{}, err
		}
	}
	if _, err := r.peek(); err != nil {
		return item{}, err
	}
	if r.state == behindArray {
		return item{}, r.bad("something follows the end")
	}
	return r.item()
}

// begin finds out how the items are arranged.
func (r *itemReader) begin() error {
	if mark, _ := r.in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // a byte order mark
		for range mark {
			r.take()
		}
	}
	if r.array != "" {
		r.state = inArray
		return r.enterObject()
	}
	c, err := r.peek()
	if err == nil && c == '[' {
		r.take()
		r.state = inArray
		return nil
	}
	r.state = inLines
	if err == io.EOF {
		err = nil // next finds it again
	}
	return err
}

// enterObject goes to the first element of the array inside the top object.
func (r *itemReader) enterObject() error {
	if err := r.expect('{', "an object around the array"); err != nil {
		return err
	}
	if c, err := r.must(); err == nil && c == '}' {
		return r.noArray()
	}
	for {
		key, err := r.key()
		if err != nil {
			return err
		}
		if key == r.array {
			return r.expect('[', "an array here")
		}
		if err := r.skip(); err != nil {
			return err
		}
		c, err := r.must()
		if err != nil {
			return err
		}
		if c == '}' {
			return r.noArray()
		}
		if err := r.expect(',', ", or }"); err != nil {
			return err
		}
	}
}

func (r *itemReader) noArray() error { return r.bad("there is no array %q", r.array) }

// leaveObject goes from the end of the array to the end of the object around
// it, if there is one.
func (r *itemReader) leaveObject() error {
	for r.array != "" {
		c, err := r.must()
		if err != nil {
			return err
		}
		if c == '}' {
			r.take()
			return nil
		}
		if err := r.expect(',', ", or }"); err != nil {
			return err
		}
		if _, err := r.must(); err != nil {
			return err
		}
		start := r.at
		key, err := r.key()
		if err != nil {
			return err
		}
		if key == r.array {
			return &badInput{offset: start, err: fmt.Errorf("the key %q is there twice", key)}
		}
		if err := r.skip(); err != nil {
			return err
		}
	}
	return nil
}

// key reads a key of the top object, and its colon.
func (r *itemReader) key() (string, error) {
	c, err := r.must()
	if err != nil {
		return "", err
	}
	start := r.at
	if c != '"' {
		return "", r.bad("expected a key")
	}
	if err := r.keep(); err != nil {
		return "", err
	}
	v, err := crdt.ParseJSON(r.buf)
	if err != nil {
		return "", &badInput{offset: start, err: err}
	}
	key, _ := v.(string) // it began with a quote
	return key, r.expect(':', ":")
}

// element moves to the next element of the array.
func (r *itemReader) element() (more bool, err error) {
	c, err := r.must()
	if err != nil {
		return false, err
	}
	if c == ']' {
		r.take()
		return false, nil
	}
	if r.count > 0 {
		if err := r.expect(',', ", or ]"); err != nil {
			return false, err
		}
	}
	_, err = r.must()
	return true, err
}

// item reads the object that comes next; a byte of it was peeked at.
func (r *itemReader) item() (item, error) {
	r.count++
	it := item{number: r.count, offset: r.at}
	c, err := r.peek()
	if err == nil && c != '{' {
		err = &badInput{offset: r.at, err: errNoObject}
	}
	if err == nil {
		err = r.keep()
	}
	var bad *badInput
	if errors.As(err, &bad) {
		bad.item = it.number
	}
	it.data = r.buf
	return it, err
}
