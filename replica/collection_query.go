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
		defer c.fetched(ctx, "")()
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
// has the tag index, and on those of WithIndex, as they are stored. Fields that have the
// tag plain are added, in the same transaction and before that, to those that may stand as
// plain text in an encrypted file, see SetPlaintext, which takes them away again.
func (c *Collection[T]) EnsureIndexes(ctx context.Context) error {
	if c.err != nil {
		return c.err
	}
	d, err := c.indexed()
	if err != nil {
		return &Error{Op: "index " + c.name, Err: err}
	}
	return c.r.declare(ctx, c.name, d)
}

// declared is what a collection declares of its fields, by their paths as they are stored.
type declared struct{ indexes, plain []string }

// indexed returns what the tags of T and the options declare.
func (c *typed) indexed() (d declared, err error) {
	add := func(to *[]string, path crdt.Path) {
		if c.lens != nil && err == nil {
			path, err = c.lens.pathDown(path)
		}
		*to = append(*to, path.String())
	}
	for _, f := range c.schema.fields {
		if f.indexed {
			add(&d.indexes, crdt.Path{{Key: f.name}})
		}
		if f.plain {
			add(&d.plain, crdt.Path{{Key: f.name}})
		}
	}
	for _, f := range c.indexes {
		path, bad := crdt.ParsePath(f)
		if bad != nil {
			return d, bad
		}
		add(&d.indexes, path)
	}
	return d, err
}

// WithIndex has EnsureIndexes declare indexes on fields, named by their paths, as the tag
// index does for fields of the struct itself: it is for maps and for fields further down.
func WithIndex(fields ...string) CollectionOption {
	return func(o *collectionOptions) { o.indexes = append(o.indexes, fields...) }
}
