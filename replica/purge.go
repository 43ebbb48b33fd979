package replica

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// ErrPurged: the data of the record is gone for good, here and wherever its marker gets
// to. No record can be made under its name any more. It is an ErrNotFound too.
var ErrPurged = fmt.Errorf("%w: it was purged for good, and its name cannot be used again", ErrNotFound)

// A purged record has a marker, a record of the reserved collection that replicates like
// any other, wherever anything goes. It is named by a hash, so it does not tell the
// record's name to who may not read that. That there is a marker is what counts, not what
// it shows: what is purged stays purged.
const (
	purgedPrefix = "purged-" // of the IDs
	purgedField  = "purged"
)

// nameHash stands for the name of a record where that is not to be told, or too long.
func nameHash(k crdt.Key) crdt.Hash { return sha256.Sum256([]byte(k.String())) }

func purgedKey(h crdt.Hash) crdt.Key {
	return crdt.Key{Collection: reserved, ID: purgedPrefix + h.String()}
}

// markedBy returns of which name the record is the marker, if it is one.
func markedBy(k crdt.Key) (h crdt.Hash, ok bool) {
	text, ok := strings.CutPrefix(k.ID, purgedPrefix)
	if k.Collection != reserved || !ok {
		return h, false
	}
	h, err := crdt.ParseHash(text)
	return h, err == nil && h.String() == text
}

// Purging says what Purge did.
type Purging struct {
	Purged  int // records of which data was here
	Unknown int // names without data here: only a marker was made, for other replicas
	Already int // names that were purged before
}

// purgeBatch is how many records are purged in one transaction.
const purgeBatch = 256

// Purge removes the data of records for good, from every replica: erasure, as the law may
// ask for it. A marker replicates to all, past every selector, and each replica that gets
// it drops what it has of the record: all changes with their history, stored value, words
// and index entries, what waits or was refused, what was forgotten, tags. It takes no
// change of it any more, wherever that comes from: a replica that was away, a bundle, a
// stream, a backup that is put back. Others see the record leave, and nobody can make one
// under its name again (ErrPurged). There is no way back but for a marker that was refused.
//
// Of replicas that check rights only admins may bring a marker: who is none purges its own
// file, and Refusals says that the others did not follow. To Abandon the marker then lifts
// the purge here: the next session brings the record back as the others have it. What they
// did not have of it is lost.
//
// What stays: the marker, so the SHA-256 of the record's name, from which a name can be
// guessed, who made it and when; in each file the positions, hashes and times of the
// changes that were dropped; the name itself, and what SQLite has not overwritten yet, until
// Compact with Vacuum. Copies that no replica holds stay as they are: backups,
// bundles, exports, what a stream still keeps, and what programs have read.
func (r *Replica) Purge(ctx context.Context, keys ...crdt.Key) (Purging, error) {
	var all Purging
	for _, k := range keys {
		err := k.Valid()
		if err == nil && strings.HasPrefix(k.Collection, "_") {
			err = ErrReserved
		}
		if err != nil {
			return all, recordError("purge", k, err)
		}
	}
	for some := range slices.Chunk(keys, purgeBatch) {
		var n Purging
		err := r.Update(ctx, func(tx *Tx) (err error) {
			n, err = tx.purge(some)
			return err
		})
		if err != nil {
			return all, &Error{Op: "purge", Err: err}
		}
		all.Purged, all.Unknown, all.Already = all.Purged+n.Purged, all.Unknown+n.Unknown, all.Already+n.Already
	}
	return all, nil
}

// purge makes markers. What they do is done when the transaction is written.
func (tx *Tx) purge(keys []crdt.Key) (n Purging, err error) {
	b := tx.b
	for _, k := range keys {
		h := nameHash(k)
		marker, err := b.tx.Record(purgedKey(h))
		if err != nil {
			return n, err
		}
		if _, twice := b.hints[h]; twice || marker != nil && len(marker.Heads) > 0 {
			n.Already++
			continue
		}
		if b.hints == nil {
			b.hints = map[crdt.Hash]crdt.Key{}
		}
		b.hints[h] = k
		rec, err := b.tx.Record(k)
		if err != nil {
			return n, err
		}
		if rec != nil && len(rec.Heads) > 0 {
			n.Purged++
		} else {
			n.Unknown++
		}
		b.markers = append(b.markers, h)
		err = tx.edit(purgedKey(h), func(e *crdt.Edit) error {
			return e.Put(nil, map[string]any{purgedField: true}, crdt.Merge)
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// isPurged reports whether a record was purged. The tags of a record, which name it, are
// purged with it.
func isPurged(rd *persist.Reader, k crdt.Key) (bool, error) {
	if k.Collection == reserved {
		prefix, ok := tagsOf(k)
		if !ok {
			return false, nil
		}
		return rd.PurgedLike(prefix)
	}
	p, err := rd.Purged(nameHash(k))
	return p != nil, err
}

// missing says why there is nothing of a record, rec being its row, or nil: ErrPurged or
// ErrNotFound; nil if there is something, or was.
func missing(rd *persist.Reader, k crdt.Key, rec *persist.Record) error {
	if rec != nil && len(rec.Heads) > 0 {
		return nil
	}
	purged, err := isPurged(rd, k)
	switch {
	case err != nil:
		return err
	case purged:
		return ErrPurged
	case rec == nil:
		return ErrNotFound
	}
	return nil
}
