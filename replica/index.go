package replica

import (
	"context"
	"fmt"

	"github.com/godwitdb/godwit/persist"
)

// indexBatch is how many records one transaction enters into an index: other writers
// wait for it.
const indexBatch = 1000

// EnsureIndex declares indexes on fields of a collection, one for each, named by their
// paths. They are built in the background, also after the next Open, and used by
// queries when they are ready. They stay in the file and are kept up to date by
// whatever program writes to it, in the transaction of each change.
func (r *Replica) EnsureIndex(ctx context.Context, collection string, fields ...string) error {
	return r.declare(ctx, collection, declared{indexes: fields})
}

// declare declares plaintext, beside what was declared before, and indexes.
func (r *Replica) declare(ctx context.Context, collection string, d declared) error {
	err := r.commit(ctx, 0, func(b *batch) error {
		if len(d.plain) > 0 {
			before, err := b.tx.PlainFields(collection)
			if err == nil {
				err = b.tx.SetPlainFields(collection, append(before, d.plain...))
			}
			if err != nil {
				return err
			}
		}
		for _, f := range d.indexes {
			if _, err := b.tx.EnsureIndex(collection, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return &Error{Op: "index " + collection, Err: err}
	}
	r.indexSoon()
	return nil
}

// DropIndex removes indexes. It is no error if there are none.
func (r *Replica) DropIndex(ctx context.Context, collection string, fields ...string) error {
	err := r.commit(ctx, 0, func(b *batch) error {
		for _, f := range fields {
			if _, err := b.tx.DropIndex(collection, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return &Error{Op: "drop index of " + collection, Err: err}
	}
	return nil
}

// Index is an index on a field.
type Index struct {
	Collection string
	Field      string
	Ready      bool // queries use it
}

// Indexes returns the indexes of a collection ("" for all) by collection and field.
func (r *Replica) Indexes(ctx context.Context, collection string) (all []Index, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		found, err := rd.Indexes(collection)
		for _, x := range found {
			all = append(all, Index{x.Collection, x.Field, x.Ready})
		}
		return err
	})
	return all, translate(err)
}

// BuildIndexes returns when all indexes are ready. It works on them beside the
// background.
func (r *Replica) BuildIndexes(ctx context.Context) error {
	for {
		more, err := r.buildIndex(ctx)
		if err != nil {
			return fmt.Errorf("build indexes: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// buildIndex enters the next records into an index that is not ready, and reports
// whether there was one.
func (r *Replica) buildIndex(ctx context.Context) (more bool, err error) {
	var x *persist.FieldIndex
	var rids []int64
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		x, rids, err = rd.Unbuilt(ctx)
		return err
	})
	for x != nil && err == nil {
		some := rids[:min(len(rids), indexBatch)]
		rids = rids[len(some):]
		err = r.commit(ctx, 0, func(b *batch) error { return b.tx.EnterIndex(ctx, x, some, len(rids) == 0) })
		if len(rids) == 0 {
			break
		}
	}
	return x != nil, translate(err)
}

// indexSoon has indexes built in the background. One goroutine does so at a time, and
// looks again when told to.
func (r *Replica) indexSoon() {
	if r.indexing.begin() && !r.goRun(r.indexAll) {
		r.indexing.end()
	}
}

func (r *Replica) indexAll() {
	for more := true; more; more = !r.indexing.end() {
		if err := r.BuildIndexes(r.ctx); err != nil && r.ctx.Err() == nil {
			r.opts.Logger.Error("build indexes", logError, err)
		}
	}
}

// resumeIndexes has the background go on with what an earlier opening left.
func (r *Replica) resumeIndexes(ctx context.Context) error {
	all, err := r.Indexes(ctx, "")
	for _, x := range all {
		if !x.Ready {
			r.indexSoon()
			break
		}
	}
	return err
}

// EnsureText declares the fields of a collection that Search looks into, strings and
// lists of strings, instead of those declared before; none removes the full text. It
// is filled by the first search or by UpdateText.
//
// Full text needs a program that was built with -tags sqlite_fts5, else this and a
// Search are ErrNoFullText. Any program can write to the file: the text follows the log
// when somebody searches.
func (r *Replica) EnsureText(ctx context.Context, collection string, fields ...string) error {
	err := r.commit(ctx, 0, func(b *batch) error {
		_, err := b.tx.EnsureText(collection, fields)
		return err
	})
	if err != nil {
		return &Error{Op: "full text of " + collection, Err: err}
	}
	return nil
}

// UpdateText brings the full text of a collection up to date, as a search would do.
func (r *Replica) UpdateText(ctx context.Context, collection string) error {
	if err := r.updateText(ctx, collection); err != nil {
		return &Error{Op: "full text of " + collection, Err: translate(err)}
	}
	return nil
}

// updateText follows the log to where it ended when this began.
func (r *Replica) updateText(ctx context.Context, collection string) error {
	for more := true; more; {
		err := r.commit(ctx, 0, func(b *batch) error {
			t, err := b.tx.TextIndex(collection)
			if more = t != nil; !more || err != nil {
				return err
			}
			more, err = b.tx.UpdateText(ctx, t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
