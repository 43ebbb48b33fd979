package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// ErrKeeper: the replica has declared that it forgets nothing.
var ErrKeeper = errors.New("this replica is a keeper: others may have forgotten what it holds")

// Why Forget left a record as it was.
const (
	KeptUnknown  = "there is no such record"
	KeptAlready  = "it was forgotten already"
	KeptWanted   = "it is being fetched"
	KeptReserved = "it is godwit's own"
	KeptForked   = "it is or was forked"
	KeptParked   = "changes wait that build on it"
	KeptChanged  = "it was changed meanwhile"
	KeptPurged   = "it was purged, nothing of it is here"
	KeptOnly     = "the peer is not known to hold the same of it"
)

// Forgetting says what Forget did.
type Forgetting struct {
	Forgotten int                 // records
	Kept      map[crdt.Key]string // the others, and why
}

// forgetBatch is how many records are forgotten in one transaction.
const forgetBatch = 256

// Forget drops the data of records here, and nowhere else: what is left of each is its
// heads, as a stub. It is not shown, sent, taken or compared any more until Fetch brings
// it back; the space in the file is free for other records (Compact with Vacuum gives it
// back to the disk).
//
// Nothing is lost by it: the peer that link leads to is asked first, over a session that
// changes nothing, and only what it holds in the same state is forgotten, if it is a
// keeper (Options.Keeper), which will not forget it too. The options are those under
// which it is compared. Records that are kept are told in Forgetting.
func (r *Replica) Forget(ctx context.Context, link transport.Link, keys []crdt.Key, opts ...LinkOption) (Forgetting, error) {
	if r.opts.Keeper {
		return Forgetting{}, &Error{Op: "forget", Err: ErrKeeper}
	}
	held, err := r.askKeeper(ctx, link, opts)
	if err != nil {
		return Forgetting{}, &Error{Op: "forget", Peer: link.String(), Err: err}
	}
	if bug(bugForgetNeeded) {
		held = nil
	}
	return r.forget(ctx, keys, held)
}

// ForgetUnasked forgets records that no peer may hold: then they are lost. A keeper does
// not do that either.
func (r *Replica) ForgetUnasked(ctx context.Context, keys []crdt.Key) (Forgetting, error) {
	if r.opts.Keeper {
		return Forgetting{}, &Error{Op: "forget", Err: ErrKeeper}
	}
	return r.forget(ctx, keys, nil)
}

// holding is what a peer is known to hold as this replica does.
type holding struct {
	upTo    crdt.LSN // where this side's log ended before it was asked: what came behind may be another state
	of      *carry   // of which records
	differs map[crdt.Key]bool
}

// askKeeper compares with the peer.
func (r *Replica) askKeeper(ctx context.Context, link transport.Link, opts []LinkOption) (*holding, error) {
	h := &holding{differs: map[crdt.Key]bool{}}
	err := r.store.Read(ctx, func(rd *persist.Reader) error {
		h.upTo = rd.Head().LSN
		return nil
	})
	if err != nil {
		return nil, translate(err)
	}
	v, err := r.Verify(ctx, link, nil, opts...)
	switch {
	case err != nil:
		return nil, err
	case !v.Keeper:
		return nil, errors.New("the peer is no keeper, it may forget what is forgotten here")
	case v.Differing > len(v.Differences):
		return nil, fmt.Errorf("%d records differ: sync first", v.Differing)
	}
	for _, d := range v.Differences {
		h.differs[d.Key] = true
	}
	h.of, err = carryOf(v.Scopes...)
	return h, err
}

// has reports whether the peer holds the record as it is now.
func (h *holding) has(b *batch, rec *persist.Record) (why string, err error) {
	in, err := h.of.holds(b.w.r, &b.tx.Reader, rec.Key)
	switch {
	case err != nil:
		return "", err
	case !in || h.differs[rec.Key]:
		return KeptOnly, nil
	case rec.LSN > h.upTo:
		return KeptChanged, nil
	}
	return "", nil
}

func (r *Replica) forget(ctx context.Context, keys []crdt.Key, held *holding) (Forgetting, error) {
	all := Forgetting{Kept: map[crdt.Key]string{}}
	for some := range slices.Chunk(keys, forgetBatch) {
		kept, n := map[crdt.Key]string{}, 0
		err := r.commit(ctx, 0, func(b *batch) error {
			clear(kept)
			n = 0
			for _, k := range some {
				why, err := b.forgetRecord(k, held)
				if err != nil {
					return recordError("forget", k, err)
				}
				if why != "" {
					kept[k] = why
				} else {
					n++
				}
			}
			return b.tx.TrimViews()
		})
		if err != nil {
			return all, err
		}
		all.Forgotten += n
		for k, why := range kept {
			all.Kept[k] = why
		}
	}
	return all, nil
}

// forgetRecord forgets a record, or says why not.
func (b *batch) forgetRecord(k crdt.Key, held *holding) (why string, err error) {
	rec, why, err := b.forgettable(k, held)
	if why != "" || err != nil {
		return why, err
	}
	v, err := b.w.view(&b.tx.Reader, k.Collection)
	if err != nil {
		return "", err
	}
	f := &persist.Forgotten{RID: rec.RID, Clock: rec.Clock, Time: b.w.r.opts.Now().UnixMilli()}
	if err := b.tx.Forget(f); err != nil {
		return "", err
	}
	rec.JSON, rec.Deleted, rec.Conflicts, rec.PolicyVersion = nil, true, 0, v.version
	return "", b.restate(rec)
}

// restate writes the row of a record that is forgotten or wanted back, of which nothing
// may stay in memory.
func (b *batch) restate(rec *persist.Record) error {
	if e := b.w.cache.byKey[rec.Key]; e != nil {
		b.w.cache.remove(e)
	}
	b.w.marks = -1
	b.tx.OnCommit(b.w.r.tail.forget)
	if err := b.tx.PutRecord(rec); err != nil {
		return err
	}
	return b.tx.AddView(rec.RID)
}

// forgettable returns the record's row, or why it is not to be forgotten.
func (b *batch) forgettable(k crdt.Key, held *holding) (rec *persist.Record, why string, err error) {
	if k.Collection == reserved {
		return nil, KeptReserved, nil
	}
	if purged, err := b.purged(k); err != nil || purged {
		return nil, KeptPurged, err
	}
	if rec, err = b.tx.Record(k); err != nil || rec == nil {
		return nil, KeptUnknown, err
	}
	f, err := b.tx.Forgotten(rec.RID)
	switch {
	case err != nil:
		return nil, "", err
	case f != nil && f.Wanted:
		return nil, KeptWanted, nil
	case f != nil:
		return nil, KeptAlready, nil
	}
	for _, err := range b.tx.ForksOf(k) {
		return nil, KeptForked, err
	}
	for _, err := range b.tx.ParkedOn(k) {
		return nil, KeptParked, err
	}
	if held != nil {
		why, err = held.has(b, rec)
	}
	return rec, why, err
}

// wantBack has the records' changes come back with what is fetched next, those that were
// forgotten.
func (r *Replica) wantBack(ctx context.Context, keys []crdt.Key) error {
	return r.commit(ctx, 0, func(b *batch) error {
		for _, k := range keys {
			if purged, err := b.purged(k); err != nil || purged {
				return recordError("fetch", k, cmp.Or(err, ErrPurged))
			}
			rec, err := b.tx.Record(k)
			if err != nil {
				return err
			}
			if rec == nil {
				continue
			}
			f, err := b.tx.Forgotten(rec.RID)
			if err != nil {
				return err
			}
			if f == nil || f.Wanted {
				continue
			}
			if err := b.tx.Want(rec.RID); err != nil {
				return err
			}
			rec.Heads, rec.Clock, rec.MaxOp = nil, nil, 0
			if err := b.restate(rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// mark returns the mark of a record that is wanted back, nil for one that was never
// forgotten; ErrForgotten for one that is.
func (b *batch) mark(rid int64) (*persist.Forgotten, error) {
	if some, err := b.marked(); rid == 0 || !some || err != nil {
		return nil, err
	}
	f, err := b.tx.Forgotten(rid)
	if f != nil && !f.Wanted {
		return nil, ErrForgotten
	}
	return f, err
}

// marked reports whether any record is forgotten or wanted back.
func (b *batch) marked() (bool, error) {
	if b.w.marks < 0 {
		n, err := b.tx.CountForgotten()
		if err != nil {
			return false, err
		}
		b.w.marks = n
	}
	return b.w.marks > 0, nil
}

// remembered removes the record's mark if all that was forgotten is back.
func (b *batch) remembered(e *entry) error {
	if e.mark == nil || !e.hist.Clock().Covers(e.mark.Clock) {
		return nil
	}
	for l, err := range b.tx.LostOf(e.row.RID) {
		if err != nil || e.mark.Damaged && !e.hist.Has(l.Hash) {
			return err
		}
	}
	e.mark, b.w.marks = nil, -1
	return b.tx.Remember(e.row.RID)
}

// kept returns the set without the changes of forgotten records, which it tells the
// sender of; nil if nothing is left.
func (b *batch) kept(in *inbound, exceptions *[]transport.Exception) (*inbound, error) {
	some, err := b.marked()
	if in.refusal != nil || !some || err != nil {
		return in, err
	}
	var rest transport.Set
	for i, m := range in.members {
		f, err := b.tx.ForgottenKey(m.Key)
		if err != nil {
			return nil, err
		}
		if f == nil || f.Wanted {
			rest.Members = append(rest.Members, in.wire.Members[i])
			continue
		}
		*exceptions = append(*exceptions, in.exception(&refusal{member: i, code: codeForgotten, detail: "this replica has forgotten the record"}, transport.Refused))
	}
	switch len(rest.Members) {
	case 0:
		return nil, nil
	case len(in.members):
		return in, nil
	}
	part := parseSet(rest)
	return &part, nil
}

// wrote reports whether a change that names this replica's own, current actor was once
// in the log: it was withdrawn with a fork's branch, or forgotten.
func (b *batch) wrote(e *entry, hash crdt.Hash) (bool, error) {
	gone, err := b.withdrawn(e.row.Key)
	if err != nil || gone[hash] || e.mark == nil {
		return gone[hash], err
	}
	for h, err := range b.tx.WithdrawnOf(e.row.RID) {
		if err != nil || h == hash {
			return err == nil, err
		}
	}
	return false, nil
}

// wants reports whether a record is wanted back.
func wants(rd *persist.Reader) (bool, error) {
	for _, err := range rd.Wanted() {
		return err == nil, err
	}
	return false, nil
}

// isForgotten returns ErrForgotten for a record that is.
func isForgotten(rd *persist.Reader, rid int64) error {
	f, err := rd.Forgotten(rid)
	if err == nil && f != nil && !f.Wanted {
		err = ErrForgotten
	}
	return err
}

// gone reports whether a change was not kept because its record was forgotten or purged:
// it is neither refused nor in quarantine.
func gone(x *transport.Exception) bool { return x.Code == codeForgotten || x.Code == codePurged }

// countGone counts those.
func countGone(all []transport.Exception) (n int) {
	for i := range all {
		if gone(&all[i]) {
			n++
		}
	}
	return n
}
