package replica

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Import takes a file that any Automerge saved into a record: what
// crdt.ParseChunks reads, merged with what the record has. It returns how many
// changes were new. All of the file is taken, in one transaction and as many
// change sets as their bounds require, or nothing. The changes keep their actors,
// hashes and times, and reach peers as local ones do. Errors: ErrReserved, ErrPurged, those
// of crdt.ParseChunks and crdt.History.Add, ErrTooLarge for a change that no set
// can hold, and a refusal of changes that claim this replica's current actor.
func (r *Replica) Import(ctx context.Context, k crdt.Key, chunks []byte) (added int, err error) {
	added, err = r.importChunks(ctx, k, chunks)
	return added, recordError("import", k, err)
}

func (r *Replica) importChunks(ctx context.Context, k crdt.Key, chunks []byte) (added int, err error) {
	if strings.HasPrefix(k.Collection, "_") {
		return 0, ErrReserved
	}
	if err := k.Valid(); err != nil {
		return 0, err
	}
	changes, err := crdt.ParseChunks(chunks)
	if err != nil {
		return 0, err
	}
	err = r.commit(ctx, 0, func(b *batch) error {
		fresh, err := b.rehearse(k, changes)
		if err != nil {
			return err
		}
		sets, err := splitSets(k, fresh)
		if err != nil {
			return err
		}
		for i := range sets {
			ref, _, _, err := b.try(&sets[i])
			if err == nil && ref != nil {
				err = fmt.Errorf("change %s: %s", sets[i].hash(ref.member), ref.detail)
			}
			if err != nil {
				return err
			}
		}
		added = len(fresh)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

// rehearse adds the changes to a copy of the record's history, so that an error
// costs nobody the history in memory. It returns those that are new.
func (b *batch) rehearse(k crdt.Key, changes []*crdt.Change) (fresh []*crdt.Change, err error) {
	if purged, err := b.purged(k); err != nil || purged {
		return nil, cmp.Or(err, ErrPurged)
	}
	e, err := b.entry(k)
	if err != nil {
		return nil, err
	}
	scratch := &entry{row: e.row, pending: e.pending}
	if err := b.load(scratch); err != nil {
		return nil, err
	}
	for i, c := range changes {
		isNew, err := b.add(scratch, c)
		if err != nil {
			return nil, fmt.Errorf("change %d of %d, %s: %w", i+1, len(changes), c.Hash(), err)
		}
		if isNew {
			fresh = append(fresh, c)
		}
	}
	return fresh, nil
}

// splitSets puts changes of a record into sets within the bounds.
func splitSets(k crdt.Key, changes []*crdt.Change) (sets []inbound, err error) {
	size := 0
	for _, c := range changes {
		bytes := transport.Member{Collection: k.Collection, ID: k.ID, Data: c.Raw()}.Size()
		if bytes > MaxSetBytes || len(c.Ops()) > MaxSetOps {
			return nil, fmt.Errorf("change %s has %d operations and %d bytes: %w", c.Hash(), len(c.Ops()), bytes, ErrTooLarge)
		}
		last := len(sets) - 1
		if last < 0 || len(sets[last].members) == MaxSetChanges ||
			sets[last].ops+len(c.Ops()) > MaxSetOps || size+bytes > MaxSetBytes {
			sets, size, last = append(sets, inbound{}), 0, last+1
		}
		in := &sets[last]
		in.members = append(in.members, crdt.Member{Key: k, Change: c})
		in.ops += len(c.Ops())
		size += bytes
	}
	return sets, nil
}
