package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of a change set. Update refuses what is beyond them.
const (
	MaxSetChanges = 20_000
	MaxSetOps     = 1 << 20 // operations of its changes: they can be many times larger in memory than in bytes
	MaxSetBytes   = 8 << 20 // of its changes and keys, as transport.Set.Size counts them
)

// Update runs fn, and commits what it edited as one change set: all of it when
// Update returns nil, nothing of it otherwise. An error or panic of fn, or the
// end of ctx before fn returns, rolls everything back.
//
// Closures run one after the other, and several may share a transaction; each
// sees what those before it did. fn must not keep tx, nor call Update of the
// same replica (ErrNested).
func (r *Replica) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return r.update(ctx, fn, nil)
}

// update is Update; at, unless nil, is set to the position of the last change, if there
// is one.
func (r *Replica) update(ctx context.Context, fn func(tx *Tx) error, at *crdt.LSN) error {
	for {
		actor, err := r.incarnate(ctx)
		if err != nil {
			return err
		}
		if err = r.updateAs(ctx, actor, fn, at); !errors.Is(err, errRetired) {
			return err
		}
	}
}

// updateAs is update by an actor, unless that was retired meanwhile.
func (r *Replica) updateAs(ctx context.Context, actor crdt.ActorID, fn func(tx *Tx) error, at *crdt.LSN) error {
	return r.commit(ctx, 0, func(b *batch) error {
		if now := r.actor.Load(); now == nil || *now != actor {
			return errRetired
		}
		tx := &Tx{b: b, actor: actor, time: r.hlc.Now(), edits: map[crdt.Key]*crdt.Edit{}}
		defer func() { tx.b = nil }()
		if bug(bugClockBack) {
			tx.time = r.opts.Now().UnixMilli()
		}
		if err := fn(tx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := tx.commit()
		if at != nil && len(b.rows) > 0 {
			*at = b.tx.Head().LSN + crdt.LSN(len(b.rows))
		}
		return err
	})
}

// incarnate returns this opening's actor. It is new: the first write records
// it, on disk, before any change carries it.
func (r *Replica) incarnate(ctx context.Context) (crdt.ActorID, error) {
	if a := r.actor.Load(); a != nil {
		return *a, nil
	}
	r.actorMu.Lock()
	defer r.actorMu.Unlock()
	if a := r.actor.Load(); a != nil {
		return *a, nil
	}
	a, err := r.store.NewIncarnation(ctx)
	if err != nil {
		return "", fmt.Errorf("begin incarnation: %w", translate(err))
	}
	if bug(bugReuseActor) {
		a = r.id.Actor([8]byte{a[len(a)-1] % 4}) // one that was retired is not taken for ever
	}
	r.actor.Store(&a)
	return a, nil
}

// Tx edits records within Update. It is not safe for concurrent use.
type Tx struct {
	b       *batch
	actor   crdt.ActorID
	time    int64
	message string
	edits   map[crdt.Key]*crdt.Edit
	order   []crdt.Key
	torn    error // an edit that failed half-way
}

// SetMessage gives the changes of this set a commit message.
func (tx *Tx) SetMessage(s string) { tx.message = s }

// Get returns the record's value as JSON under the collection's policy, with
// what this transaction edited. ErrNotFound if there is none.
func (tx *Tx) Get(k crdt.Key) ([]byte, error) {
	b, err := tx.get(k)
	return b, recordError("get", k, err)
}

// get is Get with an error that names nothing.
func (tx *Tx) get(k crdt.Key) ([]byte, error) {
	e, v, err := tx.open(k)
	if err != nil {
		return nil, err
	}
	if !e.hist.Shows(v.View) {
		return nil, ErrNotFound
	}
	return e.hist.AppendJSON(nil, v.View)
}

// Put merges an object into the record: fields that differ are written, fields
// that v lacks are kept. v is a map, a struct, or what crdt.ParseJSON returned; of a
// struct json's tags count, those of godwit are a Collection's.
func (tx *Tx) Put(k crdt.Key, v any) error { return tx.put(k, v, crdt.Merge) }

// Replace makes the record's value equal v: as Put, and fields that v lacks are
// removed.
func (tx *Tx) Replace(k crdt.Key, v any) error { return tx.put(k, v, crdt.Replace) }

func (tx *Tx) put(k crdt.Key, v any, mode crdt.PutMode) error {
	return tx.Edit(k, func(e *crdt.Edit) error { return e.Put(nil, v, mode) })
}

// Delete removes the record. ErrNotFound if there is none.
func (tx *Tx) Delete(k crdt.Key) error { return recordError("delete", k, tx.remove(k)) }

func (tx *Tx) remove(k crdt.Key) error {
	e, v, err := tx.open(k)
	if err != nil {
		return err
	}
	if !e.hist.Shows(v.View) {
		return ErrNotFound
	}
	return tx.change(k, func(ed *crdt.Edit) error { return ed.Clear() })
}

// Edit gives fn the record to edit, field by field. All edits of a record in one
// Update become one change. If fn fails when it has written something, so does the
// Update, also if its closure passes over the error: half an edit is never kept.
func (tx *Tx) Edit(k crdt.Key, fn func(*crdt.Edit) error) error {
	return recordError("edit", k, tx.change(k, fn))
}

// change is Edit with an error that names nothing.
func (tx *Tx) change(k crdt.Key, fn func(*crdt.Edit) error) error {
	if strings.HasPrefix(k.Collection, "_") {
		return ErrReserved
	}
	return tx.apply(k, fn)
}

// edit is Edit for godwit's own collections too.
func (tx *Tx) edit(k crdt.Key, fn func(*crdt.Edit) error) error {
	return recordError("edit", k, tx.apply(k, fn))
}

func (tx *Tx) apply(k crdt.Key, fn func(*crdt.Edit) error) error {
	e, v, err := tx.open(k)
	if err != nil {
		return err
	}
	ed := tx.edits[k]
	if ed == nil {
		ed = e.hist.Begin(tx.actor, tx.time, v.View)
		tx.edits[k] = ed
		tx.order = append(tx.order, k)
	}
	before := ed.Len()
	if err = fn(ed); err == nil {
		return nil
	}
	if invalid := (*crdt.InvalidError)(nil); errors.As(err, &invalid) && invalid.Code == crdt.CodeSize {
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if ed.Len() != before {
		tx.torn = recordError("edit", k, err)
	}
	return err
}

func (tx *Tx) open(k crdt.Key) (*entry, view, error) {
	if err := k.Valid(); err != nil {
		return nil, view{}, err
	}
	if purged, err := tx.b.purged(k); err != nil || purged {
		return nil, view{}, cmp.Or(err, ErrPurged)
	}
	e, err := tx.b.entry(k)
	// What has not come back has sequence numbers that must not be given out again.
	if err == nil && e.mark != nil && (!e.mark.Damaged || e.mark.Clock[tx.actor] > e.hist.Seq(tx.actor)) {
		err = ErrForgotten
	}
	if err != nil {
		return nil, view{}, err
	}
	v, err := tx.b.w.view(&tx.b.tx.Reader, k.Collection)
	return e, v, err
}

// commit ends the edits and stages their changes as one set.
func (tx *Tx) commit() error {
	if tx.torn != nil {
		return tx.torn
	}
	var members []crdt.Member
	size, ops := 0, 0
	for _, k := range tx.order {
		c, err := tx.edits[k].Commit(tx.message)
		if err != nil {
			return recordError("commit", k, err)
		}
		if c == nil {
			continue
		}
		members = append(members, crdt.Member{Key: k, Change: c})
		size += transport.Member{Collection: k.Collection, ID: k.ID, Data: c.Raw()}.Size()
		ops += len(c.Ops())
	}
	if len(members) > MaxSetChanges || size > MaxSetBytes || ops > MaxSetOps {
		return fmt.Errorf("%d changes of %d operations and %d bytes, at most %d of %d and %d are allowed: %w",
			len(members), ops, size, MaxSetChanges, MaxSetOps, MaxSetBytes, ErrTooLarge)
	}
	if len(members) == 0 {
		return nil
	}
	return tx.b.log(crdt.SetIDOf(members), members)
}
