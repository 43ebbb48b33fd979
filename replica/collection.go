package replica

import (
	"context"
	"iter"
	"reflect"

	"github.com/godwitdb/godwit/persist"
)

// Collection reads and writes the records of one collection as values of T, a
// struct or a map with string keys. It is safe for concurrent use.
//
// Fields are named by the tag godwit:"name,options", else by json's, else as in Go;
// "-" leaves one out. The options are omitempty (a zero value is no field), text (a
// string that is edited character by character, as crdt.Text), counter (an integer
// that concurrent increments add up on, as crdt.Counter), id (the record's id, which
// is not stored; in the elements of a list, what tells them apart when it is edited),
// index (queries over it use an index) and plain (readable in an encrypted file).
//
// Structs, maps with string keys, lists, arrays, pointers, []byte, time.Time (in
// milliseconds, UTC), types with MarshalText or MarshalJSON and their reverse, and
// interfaces without methods have their place in a record. A nil pointer is null; a
// nil list or map is stored as an empty one, so that two replicas that append to it
// at the same time append to the same; what is read is never a nil list.
//
// A field of the record that T lacks is kept by every edit, also within structs and
// the elements of lists. A stored value that does not fit its field is an error
// (*FieldError) that comes with the rest of the record.
type Collection[T any] struct{ typed }

// CollectionOption is an option of NewCollection.
type CollectionOption func(*collectionOptions)

type collectionOptions struct {
	version int
	lenses  []Lens
	orderly bool // versions ascend
	indexes []string
	strategies
}

// WithLens says that the records of this version of the collection, 2 or later, differ
// by the lenses from those of the version before; it is given once for each version,
// in ascending order. Records are stored as version 1 has them, always. The newer
// version looks at them through the lenses, and what it writes goes back through them:
// so apps of all versions read and write the same space, and merge with each other
// field by field. Fields that are new in a version need no lens.
//
// Everything but Collection sees records as stored: Replica.Get, queries in SQL, the
// command line, conflicts and policies.
func WithLens(version int, lenses ...Lens) CollectionOption {
	return func(o *collectionOptions) {
		o.orderly = o.orderly && version > o.version
		o.version = version
		o.lenses = append(o.lenses, lenses...)
	}
}

// NewCollection returns the named collection of the replica. A type, tag or lens that
// does not fit is the error of each of its methods.
func NewCollection[T any](r *Replica, name string, options ...CollectionOption) *Collection[T] {
	return &Collection[T]{newTyped(r, name, reflect.TypeFor[T](), options)}
}

func newTyped(r *Replica, name string, t reflect.Type, options []CollectionOption) typed {
	o := collectionOptions{version: 1, orderly: true}
	for _, set := range options {
		set(&o)
	}
	c := typed{r: r, name: name, version: o.version, indexes: o.indexes, strategies: o.strategies, fetches: &fetches{}}
	if c.schema, c.err = r.schema(t); c.err == nil && !o.orderly {
		c.err = errLensOrder
	}
	if c.err == nil {
		c.err = o.check()
	}
	if c.err == nil && len(o.lenses) > 0 {
		c.lens, c.err = newLens(c.schema, o.lenses)
	}
	if c.err != nil {
		c.err = &Error{Op: "collection " + name, Err: c.err}
	}
	return c
}

// Version returns the version that the app sees: 1 without lenses.
func (c *Collection[T]) Version() int { return c.version }

// Get returns the record. ErrNotFound if there is none. If fields do not fit T, it is
// returned without them, together with the error.
func (c *Collection[T]) Get(ctx context.Context, id string) (v T, err error) {
	if c.err != nil {
		return v, c.err
	}
	k := c.key(id)
	defer c.fetched(ctx, id)()
	text, err := c.r.Get(ctx, k)
	if err == nil {
		_, err = c.read(k, text, reflect.ValueOf(&v).Elem())
		err = recordError("get", k, err)
	}
	return v, err
}

// Create writes a new record and returns its id: that in v's field tagged id, if
// there is one and it is not empty, else a new UUIDv7, which sorts by time. ErrExists
// if there is such a record.
func (c *Collection[T]) Create(ctx context.Context, v T) (id string, err error) {
	err = c.update(ctx, c.save, func(tx *Tx) error { id, err = c.In(tx).Create(v); return err })
	if !kept(err) {
		return "", err
	}
	return id, err
}

// Put makes the record one that reads as v, and creates it if there is none. Only
// what differs is written; fields that T lacks are kept. The id is the argument's,
// whatever v's field says.
func (c *Collection[T]) Put(ctx context.Context, id string, v T) error {
	return c.update(ctx, c.save, func(tx *Tx) error { return c.In(tx).Put(id, v) })
}

// Edit reads the record, lets fn change it, and writes just what fn changed: a text
// as splices, a counter as an increment, a list by the fewest elements deleted, moved
// and inserted. ErrNotFound if there is none. A field that cannot be read may not be
// changed by fn; Put or SetPath replaces it. fn must not keep what it is given.
func (c *Collection[T]) Edit(ctx context.Context, id string, fn func(*T) error) error {
	return c.update(ctx, c.save, func(tx *Tx) error { return c.In(tx).Edit(id, fn) })
}

// Delete removes the record. ErrNotFound if there is none.
func (c *Collection[T]) Delete(ctx context.Context, id string) error {
	return c.update(ctx, c.delete, func(tx *Tx) error { return c.In(tx).Delete(id) })
}

// Increment adds to a counter, named by its path, like "votes" or "stock.red". A field
// that is not there, or is an ordinary integer, becomes a counter, and a record that
// is not there is created. Two replicas that do so before they met have made two
// counters: the policy sum shows them added up.
func (c *Collection[T]) Increment(ctx context.Context, id, field string, by int64) error {
	return c.update(ctx, c.save, func(tx *Tx) error { return c.In(tx).Increment(id, field, by) })
}

// Append adds values at the end of a list, or strings at the end of a text. A field or
// record that is not there is created.
func (c *Collection[T]) Append(ctx context.Context, id, field string, values ...any) error {
	return c.update(ctx, c.save, func(tx *Tx) error { return c.In(tx).Append(id, field, values...) })
}

// SetPath sets one field, named by its path, like "address.zip" or "lines[2].qty", to a
// value of its type. Maps on the way, and the record, are created.
func (c *Collection[T]) SetPath(ctx context.Context, id, path string, value any) error {
	return c.update(ctx, c.save, func(tx *Tx) error { return c.In(tx).SetPath(id, path, value) })
}

// Result is a record or the reason why it cannot be read, wholly or in part.
type Result[T any] struct {
	Value T
	Err   error
}

// All yields the records by id, as they are when the loop comes to them. One that does
// not fit T is yielded with an error that names it, and the loop may go on; behind an
// error of reading the file it ends.
func (c *Collection[T]) All(ctx context.Context) iter.Seq2[string, Result[T]] {
	return func(yield func(string, Result[T]) bool) {
		if c.err != nil {
			yield("", Result[T]{Err: c.err})
			return
		}
		defer c.fetched(ctx, "")()
		for it, err := range c.r.List(ctx, c.name, 0) {
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

func (c *Collection[T]) result(it Item) (res Result[T]) {
	_, err := c.read(it.Key, it.Value, reflect.ValueOf(&res.Value).Elem())
	res.Err = recordError("list", it.Key, err)
	return res
}

// Count returns how many records there are.
func (c *Collection[T]) Count(ctx context.Context) (n int, err error) {
	if c.err != nil {
		return 0, c.err
	}
	defer c.fetched(ctx, "")()
	if err := c.r.freshen(ctx, c.name); err != nil {
		return 0, &Error{Op: "count " + c.name, Err: translate(err)}
	}
	err = c.r.store.Read(ctx, func(rd *persist.Reader) error {
		n, err = rd.CountRecords(c.name)
		return err
	})
	if err != nil {
		return 0, &Error{Op: "count " + c.name, Err: translate(err)}
	}
	return n, nil
}
