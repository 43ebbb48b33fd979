package replica

import (
	"context"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// purging is what a batch purges.
type purging struct {
	markers []crdt.Hash            // that were staged, and not noted yet
	noted   []crdt.Hash            // of which nothing is taken any more; what there is is dropped with the flush
	hints   map[crdt.Hash]crdt.Key // the names of some of them
}

// purged reports whether a record was purged, so that nothing of it may be taken.
func (b *batch) purged(k crdt.Key) (bool, error) {
	if b.w.purges < 0 {
		n, err := b.tx.CountPurged()
		if err != nil {
			return false, err
		}
		b.w.purges = n
	}
	if b.w.purges == 0 || bug(bugPurgeUndone) {
		return false, nil
	}
	return isPurged(&b.tx.Reader, k)
}

// unpurged returns the set without the changes of purged records, which it tells the
// sender of; nil if nothing is left.
func (b *batch) unpurged(in *inbound, exceptions *[]transport.Exception) (*inbound, error) {
	var rest transport.Set
	for i, m := range in.wire.Members {
		purged, err := b.purged(crdt.Key{Collection: m.Collection, ID: m.ID})
		if err != nil {
			return nil, err
		}
		if b.w.purges == 0 {
			return in, nil
		}
		if !purged {
			rest.Members = append(rest.Members, m)
			continue
		}
		*exceptions = append(*exceptions, in.exception(&refusal{member: i, code: codePurged, detail: "the record was purged"}, transport.Refused))
	}
	switch len(rest.Members) {
	case 0:
		return nil, nil
	case len(in.wire.Members):
		return in, nil
	}
	part := parseSet(rest)
	return &part, nil
}

// notePurged has nothing taken any more of what the staged markers name, and takes what
// waits without it: that may bring more markers.
func (b *batch) notePurged() error {
	for len(b.markers) > 0 {
		fresh := map[crdt.Hash]bool{}
		for _, h := range b.markers {
			if known, err := b.tx.Purged(h); err != nil {
				return err
			} else if known != nil {
				continue
			}
			if err := b.putPurged(h, 0, crdt.Key{}); err != nil {
				return err
			}
			fresh[h] = true
			b.noted = append(b.noted, h)
		}
		b.markers = nil
		if len(fresh) == 0 {
			continue
		}
		if err := b.purgeAside(fresh); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) putPurged(h crdt.Hash, rid int64, k crdt.Key) error {
	p := &persist.Purged{Hash: h, RID: rid, LSN: b.tx.Head().LSN + 1, Time: b.w.r.opts.Now().UnixMilli()}
	if rid > 0 {
		p.Place = placeOf(k)
	}
	b.w.purges = -1
	return b.tx.PutPurged(p)
}

// concerns reports whether one of the hashes is that of the record, or of the one whose tags
// it is.
func concerns(hashes map[crdt.Hash]bool, k crdt.Key) bool {
	if k.Collection != reserved {
		return hashes[nameHash(k)]
	}
	prefix, ok := tagsOf(k)
	for h := range hashes {
		if ok && string(h[:len(prefix)]) == string(prefix) {
			return true
		}
	}
	return false
}

// purgeAside drops what is kept of purged records beside the log.
func (b *batch) purgeAside(fresh map[crdt.Hash]bool) error {
	var keys []crdt.Key
	for k, err := range b.tx.KeysAside() {
		if err != nil {
			return err
		}
		if concerns(fresh, k) {
			keys = append(keys, k)
		}
	}
	b.w.parked, b.w.forks = -1, -1
	for _, k := range keys {
		for p, err := range b.tx.ParkedOn(k) {
			if err != nil {
				return err
			}
			if err := b.takeAgain(p); err != nil {
				return err
			}
		}
		if err := b.tx.PurgeAside(k); err != nil {
			return err
		}
	}
	return nil
}

// takeAgain takes a set that waits as if it had come now.
func (b *batch) takeAgain(p *persist.ParkedSet) error {
	in, err := b.unpack(p)
	if err != nil {
		return err
	}
	if err := b.tx.Unpark(p.ID); err != nil {
		return err
	}
	source := b.source
	b.source = p.Peer
	err = b.take(&in, new([]transport.Exception)) // nobody waits to hear of it
	b.source = source
	return err
}

// dropPurged drops the records that were noted, once all that was staged is in the file.
func (b *batch) dropPurged() error {
	if len(b.noted) == 0 {
		return nil
	}
	found, err := b.findPurged()
	if err != nil {
		return err
	}
	for _, h := range b.noted {
		if k, ok := found[h]; ok {
			if err := b.purgeRecord(h, k); err != nil {
				return recordError("purge", k, err)
			}
		}
		k := tagsKeyOf(h)
		if err := b.purgeRecord(nameHash(k), k); err != nil {
			return recordError("purge", k, err)
		}
	}
	b.noted = nil
	return b.tx.TrimViews()
}

// findPurged returns the names of the records that were noted, as far as they are here.
// A hash is no key of any table: unless all names are known, all records are looked at.
func (b *batch) findPurged() (map[crdt.Hash]crdt.Key, error) {
	found, wanted := map[crdt.Hash]crdt.Key{}, map[crdt.Hash]bool{}
	for _, h := range b.noted {
		if k, ok := b.hints[h]; ok {
			found[h] = k
		} else {
			wanted[h] = true
		}
	}
	if len(wanted) == 0 {
		return found, nil
	}
	for k, err := range b.tx.Keys() {
		if err != nil {
			return nil, err
		}
		if k.Collection == reserved { // godwit's own are not purged but by what they belong to
			continue
		}
		if h := nameHash(k); wanted[h] {
			found[h] = k
		}
	}
	return found, nil
}

// purgeRecord drops what the file has of a record, and leaves a row without anything.
func (b *batch) purgeRecord(h crdt.Hash, k crdt.Key) error {
	rec, err := b.tx.Record(k)
	if rec == nil || err != nil {
		return err
	}
	v, err := b.w.view(&b.tx.Reader, k.Collection)
	if err != nil {
		return err
	}
	if err := b.tx.Purge(rec.RID); err != nil {
		return err
	}
	if err := b.putPurged(h, rec.RID, k); err != nil {
		return err
	}
	rec.Heads, rec.Clock, rec.MaxOp = nil, nil, 0
	rec.JSON, rec.Deleted, rec.Conflicts, rec.PolicyVersion = nil, true, 0, v.version
	return b.restate(rec)
}

// lift takes back what a marker did of which nothing is left. What was dropped comes with
// the next session, from who has it.
func (b *batch) lift(marker *persist.Record) error {
	h, ok := markedBy(marker.Key)
	if !ok || len(marker.Heads) > 0 {
		return nil
	}
	b.w.purges = -1
	for _, h := range []crdt.Hash{h, nameHash(tagsKeyOf(h))} {
		if err := b.tx.LiftPurged(h); err != nil {
			return err
		}
	}
	return nil
}

// kindPurged is the Kind of a Problem: something is here that was purged.
const kindPurged = "purged"

// checkPurged reports a marker that was not heeded, and a record that is here all the same.
func checkPurged(rd *persist.Reader, rec *persist.Record, each func(Problem)) error {
	if len(rec.Heads) == 0 {
		return nil
	}
	h, ok := markedBy(rec.Key)
	if ok {
		p, err := rd.Purged(h)
		if err == nil && p == nil {
			each(Problem{Kind: kindPurged, Key: rec.Key, Detail: "the marker was not heeded", Advice: "Purge what it is of"})
		}
		return err
	}
	purged, err := isPurged(rd, rec.Key)
	if purged {
		each(Problem{Kind: kindPurged, Key: rec.Key, Detail: "the record was purged, and is here", Advice: "Purge it again"})
	}
	return err
}

// purgeAgain mends what checkPurged finds. It reports whether the record is purged.
func (b *batch) purgeAgain(k crdt.Key) (bool, error) {
	if h, ok := markedBy(k); ok {
		b.markers = append(b.markers, h)
		return false, nil
	}
	purged, err := b.purged(k)
	if purged && k.Collection != reserved {
		h := nameHash(k)
		b.hints = map[crdt.Hash]crdt.Key{h: k}
		b.noted = append(b.noted, h)
	}
	return purged, err
}

// unname prepares the file to be written anew without what is left of purged records: their
// names, and their words.
func (r *Replica) unname(ctx context.Context) error {
	var collections []string
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		collections, err = rd.NamedPurged()
		return err
	})
	for _, name := range collections {
		if err = r.updateText(ctx, name); err != nil {
			return err
		}
	}
	if len(collections) == 0 || err != nil {
		return err
	}
	return r.commit(ctx, 0, func(b *batch) error {
		b.tx.OnCommit(b.w.r.tail.forget) // its rows have names
		return b.tx.UnnamePurged(ctx)
	})
}
