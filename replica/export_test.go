package replica

import (
	"context"

	"github.com/godwitdb/godwit/crdt"
)

// PlaceOf is where reconciliation has a record.
func PlaceOf(k crdt.Key) uint64 { return placeOf(k) }

// PutSpaceRecord writes JSON to a record of the reserved collection, as a peer
// might that keeps to no rules.
func (r *Replica) PutSpaceRecord(ctx context.Context, id, text string) error {
	v, err := crdt.ParseJSON([]byte(text))
	if err != nil {
		return err
	}
	return r.Update(ctx, func(tx *Tx) error {
		return tx.edit(crdt.Key{Collection: spaceCollection, ID: id}, func(e *crdt.Edit) error { return e.Put(nil, v, crdt.Replace) })
	})
}
