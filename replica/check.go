package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Problem is an invariant that does not hold.
type Problem = persist.Problem

// Check walks the whole file and calls each for what is wrong: first the
// store's own invariants, then for each record whether its history gives the
// heads, the clock and the value that are stored. It changes nothing. The error
// is of reading, or ctx's; problems are none.
func (r *Replica) Check(ctx context.Context, each func(Problem)) error {
	if err := r.store.Check(ctx, each); err != nil {
		return fmt.Errorf("check: %w", translate(err))
	}
	names, err := r.Collections(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, name := range names {
		for after, more := "", true; more; {
			if after, more, err = r.checkPage(ctx, name, after, each); err != nil {
				return fmt.Errorf("check %s: %w", name, translate(err))
			}
		}
	}
	return nil
}

func (r *Replica) checkPage(ctx context.Context, collection, after string, each func(Problem)) (last string, more bool, err error) {
	n := 0
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
			n++
			checkSpacePolicy(rec, each)
			if err := checkPurged(rd, rec, each); err != nil {
				return err
			}
			if err := checkRecord(rd, rec, v); err != nil {
				each(Problem{Kind: "record", Key: rec.Key, LSN: rec.LSN, Detail: err.Error(),
					Advice: "doctor --repair brings it in order, with --from a peer also when its changes are damaged"})
			}
		}
		return ctx.Err()
	})
	return last, n == listPage, err
}

func checkRecord(rd *persist.Reader, rec *persist.Record, v view) error {
	h, err := loadHistory(rd, rec)
	if errors.Is(err, ErrForgotten) {
		return nil
	}
	if err != nil {
		return err
	}
	if !h.Heads().Equal(rec.Heads) {
		return fmt.Errorf("the changes give heads %v, stored are %v", h.Heads(), rec.Heads)
	}
	want := persist.Record{Key: rec.Key}
	if err := fillRow(&want, h, v); err != nil {
		return err
	}
	if !equalClocks(want.Clock, rec.Clock) || want.MaxOp != rec.MaxOp {
		return fmt.Errorf("the stored clock differs from that of the changes")
	}
	if rec.PolicyVersion != v.version {
		return nil // computed when read
	}
	if want.Deleted != rec.Deleted || want.Conflicts != rec.Conflicts || !bytes.Equal(want.JSON, rec.JSON) {
		return fmt.Errorf("the stored value is %s, the changes give %s", rec.JSON, want.JSON)
	}
	return nil
}

func equalClocks(a, b crdt.Clock) bool { return len(a) == len(b) && a.Covers(b) && b.Covers(a) }
