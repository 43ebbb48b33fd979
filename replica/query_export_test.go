package replica

import (
	"context"
	"encoding/json"

	"github.com/godwitdb/godwit/persist"
)

// Matches is matches on a snapshot of its own.
func (r *Replica) Matches(ctx context.Context, q Query, id string, value json.RawMessage) (ok bool, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		ok, err = r.matches(ctx, rd, q, 0, id, value)
		return err
	})
	return ok, err
}

// DeclareIndex declares an index and leaves it to the next opening to build it.
func (r *Replica) DeclareIndex(ctx context.Context, collection, field string) error {
	return r.commit(ctx, 0, func(b *batch) error {
		_, err := b.tx.EnsureIndex(collection, field)
		return err
	})
}
