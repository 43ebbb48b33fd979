package replica

import (
	"bytes"
	"context"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// Repaired says what Repair did.
type Repaired struct {
	Rewritten []crdt.Key // records of which what is stored follows from their changes again
	Damaged   []Damage   // records the changes of which cannot be read
}

// Damage is a record with a change that cannot be read.
type Damage struct {
	Key crdt.Key
	Err error // names the change
}

// Repair rewrites what Check finds wrong in records and what follows from their
// changes: heads, clock, the stored value and the place in the log. No change of a
// record is touched. Records of which the changes themselves are damaged are listed;
// they stay as they are, and the others are not concerned.
func (r *Replica) Repair(ctx context.Context) (done Repaired, err error) {
	// The store's check reads rows that the other one cannot.
	for _, check := range []func(context.Context, func(Problem)) error{r.store.Check, r.Check} {
		done.Damaged = nil // the second one finds them again
		found := map[crdt.Key]bool{}
		var order []crdt.Key
		err := check(ctx, func(p Problem) {
			if derived(p) && !found[p.Key] {
				found[p.Key] = true
				order = append(order, p.Key)
			}
		})
		if err != nil {
			return done, fmt.Errorf("repair: %w", translate(err))
		}
		for _, k := range order {
			err := r.commit(ctx, 0, func(b *batch) error { return b.rewrite(k) })
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			if err != nil {
				done.Damaged = append(done.Damaged, Damage{k, err})
				continue
			}
			done.Rewritten = append(done.Rewritten, k)
		}
		r.digests.forget() // trees follow the log, in which this leaves nothing
	}
	return done, nil
}

// derived reports whether a problem is one of a record's row.
func derived(p Problem) bool {
	switch p.Kind {
	case "row", "heads", "clock", "lsn", "record", kindPurged:
		return p.Key != crdt.Key{} && (p.LSN == 0 || p.Kind == "record")
	}
	return false
}

// rewrite computes a record's row from its changes, or purges it again.
func (b *batch) rewrite(k crdt.Key) error {
	if again, err := b.purgeAgain(k); again || err != nil {
		return err
	}
	stored, err := b.tx.Stored(k)
	if err != nil {
		return err
	}
	if stored == nil {
		return ErrNotFound
	}
	e := &entry{row: *stored}
	before := bytes.Clone(stored.JSON)
	if e.row.LSN, err = b.tx.FindLast(e.row.RID); err != nil {
		return err
	}
	if err := b.load(e); err != nil {
		return err
	}
	v, err := b.w.view(&b.tx.Reader, k.Collection)
	if err != nil {
		return err
	}
	if err := fillRow(&e.row, e.hist, v); err != nil {
		return err
	}
	if err := b.tx.PutRecord(&e.row); err != nil {
		return err
	}
	b.tx.OnCommit(func() {
		b.w.reset()
		b.w.r.tail.forget()
	})
	if bytes.Equal(before, e.row.JSON) {
		return nil
	}
	return b.tx.AddView(e.row.RID)
}
