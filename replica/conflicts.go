package replica

import (
	"context"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Conflict is a place of a record that holds several values at once.
type Conflict struct {
	Key crdt.Key
	crdt.Conflict
}

// Conflicts yields the conflicts of a collection ("" for all) under its policy,
// by record and path.
func (r *Replica) Conflicts(ctx context.Context, collection string) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		all, err := r.conflicts(ctx, collection)
		if err != nil {
			yield(Conflict{}, &Error{Op: "conflicts " + collection, Err: translate(err)})
			return
		}
		for _, c := range all {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (r *Replica) conflicts(ctx context.Context, collection string) (all []Conflict, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		for rec, err := range rd.Conflicted(collection) {
			if err != nil {
				return err
			}
			v, err := r.loadView(rd, rec.Key.Collection)
			if err != nil {
				return err
			}
			h, err := loadHistory(rd, rec)
			if err != nil {
				return err
			}
			for _, c := range h.Conflicts(v.View) {
				all = append(all, Conflict{rec.Key, c})
			}
		}
		return nil
	})
	return all, err
}
