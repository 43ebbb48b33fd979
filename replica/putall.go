package replica

import (
	"context"
	"iter"
	"reflect"

	"github.com/godwitdb/godwit/crdt"
)

// Bounds of what PutAll commits at once. They keep the memory of an import bounded,
// and let other writers in between.
const (
	PutAllRecords = 500
	PutAllBytes   = 1 << 20 // of the values, or one record that has more
)

// PutAll puts many records, as Put does, and creates an id for those whose id is "".
// It returns how many are durable: the first n of the sequence. They are written in
// change sets of at most PutAllRecords records and PutAllBytes bytes, each whole or
// not at all. After an error, which names the record if it is due to one, or when the
// sequence panics, the sets before are there and nothing of the one at hand is; so
// going on behind the first n, or doing all again, which writes only what differs, is
// right. Memory is bounded by a set, however long the sequence is.
//
// The sequence is read outside of any transaction: it may read this replica.
func (c *Collection[T]) PutAll(ctx context.Context, records iter.Seq2[string, T]) (n int, err error) {
	if c.err != nil {
		return 0, c.err
	}
	imp := importer{c: &c.typed}
	for id, v := range records {
		if id == "" {
			id = c.r.uuids.next(c.r.opts.Now())
		}
		if err := ctx.Err(); err != nil {
			return imp.done, recordError("put", c.key(id), err)
		}
		if err := imp.add(ctx, c.key(id), reflect.ValueOf(&v).Elem()); err != nil {
			return imp.done, err
		}
	}
	if err := imp.flush(ctx); err != nil {
		return imp.done, err
	}
	return imp.done, c.r.waitRemote(ctx, c.save, imp.lsn)
}

// importer gathers records into change sets.
type importer struct {
	c     *typed
	keys  []crdt.Key
	trees []map[string]any
	size  int
	done  int
	lsn   crdt.LSN // of the last set; 0: nothing was written
}

func (imp *importer) add(ctx context.Context, k crdt.Key, v reflect.Value) error {
	if err := k.Valid(); err != nil {
		return recordError("put", k, err)
	}
	tree, size, err := imp.c.tree(v)
	if err != nil {
		return recordError("put", k, err)
	}
	if imp.size+size > PutAllBytes && len(imp.keys) > 0 {
		if err := imp.flush(ctx); err != nil {
			return err
		}
	}
	imp.keys, imp.trees, imp.size = append(imp.keys, k), append(imp.trees, tree), imp.size+size
	if len(imp.keys) < PutAllRecords {
		return nil
	}
	return imp.flush(ctx)
}

// flush commits what was gathered.
func (imp *importer) flush(ctx context.Context) error {
	if len(imp.keys) == 0 {
		return nil
	}
	lsn, err := imp.c.r.UpdateLSN(ctx, func(tx *Tx) error {
		tx.b.tx.OnCommit(tx.b.release)
		for i, k := range imp.keys {
			if err := imp.c.put(tx, k, imp.trees[i]); err != nil {
				return recordError("put", k, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	imp.done, imp.lsn = imp.done+len(imp.keys), max(imp.lsn, lsn)
	clear(imp.trees)
	imp.keys, imp.trees, imp.size = imp.keys[:0], imp.trees[:0], 0
	return nil
}
