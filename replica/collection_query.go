package replica

import (
	"context"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Query yields the records of this collection that a query selects, whose Collection
// does not matter. Its fields are those of the records as they are stored, whatever
// lenses the collection has. A record that does not fit T is yielded with an error that
// names it, and the loop may go on.
func (c *Collection[T]) Query(ctx context.Context, q Query) iter.Seq2[string, Result[T]] {
	q.Collection = c.name
	return func(yield func(string, Result[T]) bool) {
		if c.err != nil {
			yield("", Result[T]{Err: c.err})
			return
		}
		for it, err := range c.r.Query(ctx, q) {
			if err != nil {
				yield("", Result[T]{Err: err})
				return
			}
			if !yield(it.Key.ID, c.result(it)) {
				return
			}
		}
	}
}

// EnsureIndexes declares an index, as Replica.EnsureIndex does, on each field of T that
// has the tag index, as it is stored.
func (c *Collection[T]) EnsureIndexes(ctx context.Context) error {
	if c.err != nil {
		return c.err
	}
	var fields []string
	for _, f := range c.schema.fields {
		if !f.indexed {
			continue
		}
		path, err := crdt.Path{{Key: f.name}}, error(nil)
		if c.lens != nil {
			path, err = c.lens.pathDown(path)
		}
		if err != nil {
			return &Error{Op: "index " + c.name, Err: err}
		}
		fields = append(fields, path.String())
	}
	return c.r.EnsureIndex(ctx, c.name, fields...)
}
