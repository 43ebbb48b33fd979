package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Collection reads and writes the records of one collection as values of T, a
// struct or a map with string keys. Fields follow the rules of encoding/json
// tags; crdt.Text, crdt.Counter, time.Time and []byte have types of their own in
// the record. It is safe for concurrent use.
type Collection[T any] struct {
	r    *Replica
	name string
}

// NewCollection returns the named collection of the replica.
func NewCollection[T any](r *Replica, name string) *Collection[T] {
	return &Collection[T]{r: r, name: name}
}

func (c *Collection[T]) key(id string) crdt.Key { return crdt.Key{Collection: c.name, ID: id} }

// Get returns the record. ErrNotFound if there is none.
func (c *Collection[T]) Get(ctx context.Context, id string) (T, error) {
	var v T
	text, err := c.r.Get(ctx, c.key(id))
	if err == nil {
		err = recordError("get", c.key(id), decode(text, &v))
	}
	return v, err
}

// Put merges v into the record: only fields that differ are written.
func (c *Collection[T]) Put(ctx context.Context, id string, v T) error {
	return c.r.Update(ctx, func(tx *Tx) error { return tx.Put(c.key(id), v) })
}

// Edit reads the record, lets fn change it and writes the fields that differ.
// Fields of the record that T lacks are kept. ErrNotFound if there is none.
func (c *Collection[T]) Edit(ctx context.Context, id string, fn func(*T) error) error {
	return c.r.Update(ctx, func(tx *Tx) error {
		text, err := tx.Get(c.key(id))
		if err != nil {
			return err
		}
		var v T
		if err := decode(text, &v); err != nil {
			return recordError("edit", c.key(id), err)
		}
		if err := fn(&v); err != nil {
			return err
		}
		return tx.Put(c.key(id), v)
	})
}

// Delete removes the record. ErrNotFound if there is none.
func (c *Collection[T]) Delete(ctx context.Context, id string) error {
	return c.r.Update(ctx, func(tx *Tx) error { return tx.Delete(c.key(id)) })
}

// All yields the records by id. A record that is no T is yielded with an error
// that names it, and the loop may go on.
func (c *Collection[T]) All(ctx context.Context) iter.Seq2[string, Result[T]] {
	return func(yield func(string, Result[T]) bool) {
		for it, err := range c.r.List(ctx, c.name, 0) {
			var res Result[T]
			if res.Err = err; err == nil {
				res.Err = recordError("list", it.Key, decode(it.Value, &res.Value))
			}
			if !yield(it.Key.ID, res) || err != nil {
				return
			}
		}
	}
}

// Result is a record or the reason why it cannot be read.
type Result[T any] struct {
	Value T
	Err   error
}

// decode reads a record's JSON into v. The special forms of crdt's JSON mapping
// become what encoding/json reads.
func decode(text []byte, v any) error {
	if bytes.Contains(text, []byte(`{"$`)) {
		tree, err := crdt.ParseJSON(text)
		if err != nil {
			return err
		}
		if text, err = json.Marshal(tree); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("the record does not fit %T: %w", v, err)
	}
	return nil
}
