package persist

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Purged says that the data of a record is gone for good, by a hash of its name.
type Purged struct {
	Hash  crdt.Hash
	RID   int64    // its row, which has no data; 0: there is none
	Place uint64   // of the record among those that are compared; 0 without a row
	LSN   crdt.LSN // a position behind all that the log held before
	Time  int64    // ms since 1970
}

// Purged returns what is known of a name, nil if it was not purged.
func (r *Reader) Purged(h crdt.Hash) (*Purged, error) {
	row, err := r.one(qPurged, h[:])
	if err != nil || row == nil {
		return nil, err
	}
	p, err := parsePurged(row)
	return p, r.fail(err)
}

// PurgedLike reports whether a name was purged whose hash begins so.
func (r *Reader) PurgedLike(prefix []byte) (bool, error) {
	var from, to crdt.Hash
	for i := range to {
		to[i] = 0xff
	}
	copy(from[:], prefix)
	copy(to[:], prefix)
	row, err := r.one(qPurgedLike, from[:], to[:])
	return err == nil && row != nil, err
}

// PurgedSince yields those that the log got to behind a position and that have a row.
func (r *Reader) PurgedSince(lsn crdt.LSN) iter.Seq2[*Purged, error] {
	return scan(r, parsePurged, qPurgedSince, int64(lsn))
}

// CountPurged counts the names that were purged.
func (r *Reader) CountPurged() (int64, error) { return r.count(qCountPurged) }

func parsePurged(row row) (*Purged, error) {
	p := &Purged{RID: row.int(1), Place: uint64(row.int(2)), LSN: crdt.LSN(row.int(3)), Time: row.int(4)}
	return p, stored("mark of a purged record", p.RID, row.fill(p.Hash[:], 0))
}

// Keys yields the names of all records, in no order.
func (r *Reader) Keys() iter.Seq2[crdt.Key, error] { return scan(r, parseKey, qKeys) }

// KeysAside yields the names, each once, that stand beside the records: with what waits,
// what was refused and what is forked.
func (r *Reader) KeysAside() iter.Seq2[crdt.Key, error] { return scan(r, parseKey, qKeysAside) }

func parseKey(row row) (crdt.Key, error) {
	return crdt.Key{Collection: row.text(0), ID: row.text(1)}, nil
}

// PutPurged notes that a name was purged, in the place of what was noted of it.
func (tx *Tx) PutPurged(p *Purged) error {
	_, err := tx.exec(qPutPurged, p.Hash[:], p.RID, int64(p.Place), p.RID > 0, int64(p.LSN), p.Time)
	return err
}

// LiftPurged takes back that a name was purged. A row that has lost its name stays that of
// something purged, under a hash that no name has.
func (tx *Tx) LiftPurged(h crdt.Hash) error {
	if _, err := tx.exec(qLiftPurged, h[:]); err != nil {
		return err
	}
	p, err := tx.Purged(h)
	if p == nil || err != nil {
		return err
	}
	var none crdt.Hash
	rand.Read(none[:])
	if _, err := tx.exec(qUnname, hex.EncodeToString(none[:]), p.RID); err != nil {
		return err
	}
	_, err = tx.exec(qRenamePurged, none[:], h[:])
	return err
}

// Purge drops the record's changes, those that were withdrawn before too: its rows of
// the log keep their place, hash and chain, and are withdrawn; a snapshot is removed, and
// what says that it was forgotten. The record's row is the caller's to put.
func (tx *Tx) Purge(rid int64) error {
	last, err := tx.lastChange(rid)
	if err != nil {
		return err
	}
	if _, err := tx.exec(qPurgeRows, int64(last), int64(0)); err != nil {
		return err
	}
	if _, err := tx.exec(qDropSnapshot, rid); err != nil {
		return err
	}
	if err := tx.Unhide(rid); err != nil {
		return err
	}
	return tx.Remember(rid)
}

// PurgeAside drops what was refused of a record, by either side, and its forks. What
// waits for it is the caller's to drop.
func (tx *Tx) PurgeAside(key crdt.Key) error {
	for _, q := range []query{qPurgeQuarantine, qPurgeRefusals, qPurgeForks} {
		if _, err := tx.exec(q, key.Collection, key.ID); err != nil {
			return err
		}
	}
	return nil
}

// NamedPurged returns the collections of purged records whose rows still have their
// names.
func (r *Reader) NamedPurged() ([]string, error) {
	return collect(scan(r, func(row row) (string, error) { return row.text(0), nil }, qNamedPurged))
}

// UnnamePurged takes the names from the rows of purged records, and from full texts what
// they keep of words that no record has any more.
func (tx *Tx) UnnamePurged(ctx context.Context) error {
	collections, err := tx.NamedPurged()
	if err != nil {
		return err
	}
	for _, name := range collections {
		if err := tx.optimizeText(ctx, name); err != nil {
			return err
		}
	}
	named, err := collect(scan(&tx.Reader, parsePurged, qNamed))
	if err != nil {
		return err
	}
	for _, p := range named {
		if _, err := tx.exec(qUnname, hex.EncodeToString(p.Hash[:]), p.RID); err != nil {
			return err
		}
		if _, err := tx.exec(qUnnamed, p.Hash[:]); err != nil {
			return err
		}
	}
	return nil
}

// optimizeText brings a full text up to date, and has it written anew without the entries
// that were deleted.
func (tx *Tx) optimizeText(ctx context.Context, collection string) error {
	t, err := tx.TextIndex(collection)
	if err != nil || t == nil {
		return err
	}
	if ok, err := tx.HasFullText(); err != nil || !ok {
		return errors.Join(err, ErrNoFullText)
	}
	for more := true; more; {
		if more, err = tx.UpdateText(ctx, t); err != nil {
			return err
		}
	}
	return tx.fail(tx.c.run(fmt.Sprintf("INSERT INTO %[1]s (%[1]s) VALUES ('optimize')", t.table())))
}

// purged reports whether the record was purged, of which nothing may be left then.
func (k *checker) purged(rec *Record, _ int, problem func(kind, detail, advice string)) (bool, error) {
	n, err := k.r.count(qPurgedRID, rec.RID)
	if err != nil || n == 0 {
		return false, err
	}
	left, err := k.r.count(qPurgedLeft, int64(k.last[rec.RID]), int64(0))
	if err != nil {
		return true, err
	}
	if left > 0 {
		problem("purged", fmt.Sprintf("the record was purged, %d of its changes were not", left), advicePurge)
	}
	if len(rec.JSON) > 0 || len(rec.Heads) > 0 || len(rec.Clock) > 0 || !rec.Deleted {
		problem("purged", "the record was purged, what is stored of it was not", advicePurge)
	}
	return true, nil
}
