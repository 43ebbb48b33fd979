package replica

import (
	"context"
	"iter"
)

// Query yields the records of this collection that a query selects, whose Collection
// does not matter. A record that is no T is yielded with an error that names it, and
// the loop may go on.
func (c *Collection[T]) Query(ctx context.Context, q Query) iter.Seq2[string, Result[T]] {
	q.Collection = c.name
	return func(yield func(string, Result[T]) bool) {
		for it, err := range c.r.Query(ctx, q) {
			var res Result[T]
			if res.Err = err; err == nil {
				res.Err = recordError("query", it.Key, decode(it.Value, &res.Value))
			}
			if !yield(it.Key.ID, res) || err != nil {
				return
			}
		}
	}
}
