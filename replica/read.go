package replica

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Get returns the record's value as JSON, one line with sorted keys, under the
// collection's policy. ErrNotFound if there is none, ErrPurged, which is one too, if it
// was purged, ErrForgotten if it was forgotten here.
func (r *Replica) Get(ctx context.Context, k crdt.Key) (json.RawMessage, error) {
	if err := k.Valid(); err != nil {
		return nil, recordError("get", k, err)
	}
	value, ok, err := r.store.View(ctx, k)
	if ok || err != nil {
		return value, recordError("get", k, translate(err))
	}
	err = r.read(ctx, "get", k, func(rd *persist.Reader) (err error) {
		if value, err = r.stored(rd, k); err != nil || value != nil {
			return err
		}
		if purged, err := isPurged(rd, k); err != nil || purged {
			return cmp.Or(err, ErrPurged)
		}
		f, err := rd.ForgottenKey(k)
		if f != nil && !f.Wanted {
			return ErrForgotten
		}
		return err
	})
	if err == nil && value == nil {
		err = recordError("get", k, ErrNotFound)
	}
	return value, err
}

// View returns the record's value as JSON under the given policy instead of its
// collection's. Nothing is stored.
func (r *Replica) View(ctx context.Context, k crdt.Key, p crdt.Policy) (json.RawMessage, error) {
	v, err := r.compile(p)
	if err != nil {
		return nil, recordError("view", k, err)
	}
	h, err := r.History(ctx, k)
	if err != nil {
		return nil, err
	}
	if !h.Shows(v) {
		return nil, recordError("view", k, ErrNotFound)
	}
	b, err := h.AppendJSON(nil, v)
	return b, recordError("view", k, err)
}

// History returns the record's operations, deleted records included, as a copy
// that is the caller's own. ErrNotFound if the record never existed.
func (r *Replica) History(ctx context.Context, k crdt.Key) (h *crdt.History, err error) {
	err = r.read(ctx, "history", k, func(rd *persist.Reader) error {
		rec, err := recordOf(rd, k)
		if err != nil {
			return err
		}
		if err := missing(rd, k, rec); err != nil {
			return err
		}
		h, err = loadHistory(rd, rec)
		return err
	})
	return h, err
}

// Heads returns the record's heads, deleted records included. ErrNotFound if the
// record never existed.
func (r *Replica) Heads(ctx context.Context, k crdt.Key) (heads crdt.Heads, err error) {
	err = r.read(ctx, "heads", k, func(rd *persist.Reader) error {
		rec, err := recordOf(rd, k)
		if err == nil {
			err = missing(rd, k, rec)
		}
		if err == nil {
			heads = rec.Heads
		}
		return err
	})
	return heads, err
}

// Export returns the record's changes as concatenated Automerge chunks, which
// every Automerge loads.
func (r *Replica) Export(ctx context.Context, k crdt.Key) (chunks []byte, err error) {
	err = r.read(ctx, "export", k, func(rd *persist.Reader) error {
		rec, err := recordOf(rd, k)
		if err != nil {
			return err
		}
		if err := missing(rd, k, rec); err != nil {
			return err
		}
		for raw, err := range rd.Changes(rec.RID) {
			if err != nil {
				return err
			}
			chunks = append(chunks, raw...)
		}
		return isForgotten(rd, rec.RID)
	})
	return chunks, err
}

// Item is a record of a listing.
type Item struct {
	Key   crdt.Key
	Value json.RawMessage
}

// listPage is how many records a listing reads at once, so that a slow caller
// holds no snapshot of the file open.
const listPage = 256

// List yields the records of a collection that exist, by id, up to limit
// (0: all). It is no snapshot: pages are read as the loop goes on.
func (r *Replica) List(ctx context.Context, collection string, limit int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		after, n := "", 0
		for {
			page, last, err := r.listPage(ctx, collection, after)
			if err != nil {
				yield(Item{}, &Error{Op: "list " + collection, Err: translate(err)})
				return
			}
			for _, it := range page {
				if !yield(it, nil) {
					return
				}
				if n++; n == limit {
					return
				}
			}
			if last == "" {
				return
			}
			after = last
		}
	}
}

// listPage reads one page; last is "" behind the end.
func (r *Replica) listPage(ctx context.Context, collection, after string) (page []Item, last string, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		v, err := r.loadView(rd, collection)
		if err != nil {
			return err
		}
		for rec, err := range rd.Records(collection, after, listPage) {
			if err != nil {
				return err
			}
			last = rec.Key.ID
			value, err := r.value(rd, rec, v)
			if err != nil {
				return err
			}
			if value != nil {
				page = append(page, Item{rec.Key, value})
			}
		}
		return nil
	})
	return page, last, err
}

// Collections returns the names of the collections that hold a record, deleted
// ones included, ascending.
func (r *Replica) Collections(ctx context.Context) (names []string, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		names, err = rd.Collections()
		return err
	})
	return names, translate(err)
}

// recordOf returns the record, nil if nothing of it is here, nor was forgotten: it never
// existed, or was abandoned.
func recordOf(rd *persist.Reader, k crdt.Key) (*persist.Record, error) {
	rec, err := rd.Record(k)
	if err != nil || rec == nil || len(rec.Heads) > 0 {
		return rec, err
	}
	f, err := rd.Forgotten(rec.RID)
	if f == nil {
		return nil, err
	}
	return rec, err
}

// read runs fn on a snapshot and names operation and record in its error.
func (r *Replica) read(ctx context.Context, op string, k crdt.Key, fn func(*persist.Reader) error) error {
	if err := k.Valid(); err != nil {
		return recordError(op, k, err)
	}
	return recordError(op, k, translate(r.store.Read(ctx, fn)))
}

// stored returns the record's value under its collection's policy, nil if there
// is no record.
func (r *Replica) stored(rd *persist.Reader, k crdt.Key) (json.RawMessage, error) {
	rec, err := rd.Record(k)
	if rec == nil || err != nil {
		return nil, err
	}
	v, err := r.loadView(rd, k.Collection)
	if err != nil {
		return nil, err
	}
	return r.value(rd, rec, v)
}

// value returns what the file stores of the record, or computes it if that
// follows an older policy.
func (r *Replica) value(rd *persist.Reader, rec *persist.Record, v view) (json.RawMessage, error) {
	if rec.PolicyVersion != v.version {
		h, err := loadHistory(rd, rec)
		if errors.Is(err, ErrForgotten) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := fillRow(rec, h, v); err != nil {
			return nil, err
		}
	}
	if rec.Deleted {
		return nil, nil
	}
	return rec.JSON, nil
}
