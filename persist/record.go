package persist

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Record is a record's row.
type Record struct {
	RID           int64 // 0: not stored yet
	Key           crdt.Key
	Heads         crdt.Heads
	Clock         crdt.Clock
	MaxOp         uint64
	JSON          []byte // the value under the collection's policy; nil: none
	PolicyVersion int64  // the policy's version that JSON and Conflicts were computed under
	Deleted       bool
	Conflicts     int
	Created       int64    // ms since 1970
	Updated       int64    // ms since 1970
	LSN           crdt.LSN // its last row of the log
}

// Record returns the record, nil if there is none.
func (r *Reader) Record(key crdt.Key) (*Record, error) {
	row, err := r.one(qRecord, key.Collection, key.ID)
	if err != nil || row == nil {
		return nil, err
	}
	rec, err := r.parseRecord(row)
	return rec, r.fail(err)
}

// Stored returns a record, nil if there is none, for whoever is to write it: without
// Heads, Clock, MaxOp, Deleted and Conflicts, which follow from its changes.
func (tx *Tx) Stored(key crdt.Key) (*Record, error) {
	row, err := tx.one(qStored, key.Collection, key.ID)
	if err != nil || row == nil {
		return nil, err
	}
	rec := &Record{
		RID: row.int(0), Key: key, PolicyVersion: row.int(2),
		Created: row.int(3), Updated: row.int(4), LSN: crdt.LSN(row.int(5)),
	}
	if _, known := tx.last[rec.RID]; !known {
		tx.last[rec.RID] = rec.LSN // which is asked for next
	}
	rec.JSON, err = tx.unseal(row.int(6), columnView, tx.rowID(rec.RID), row.textBytes(1))
	return rec, tx.fail(stored("record", key, err))
}

// Spoiled returns a record as Stored does, nil if there is none, for whoever computes its
// value anew: JSON is nil if what is stored is none. An index cannot be kept up to date
// from such a value: then those of the collection are to be built again, and were emptied.
func (tx *Tx) Spoiled(key crdt.Key) (rec *Record, indexed bool, err error) {
	row, err := tx.one(qStored, key.Collection, key.ID)
	if err != nil || row == nil {
		return nil, false, err
	}
	rec = &Record{
		RID: row.int(0), Key: key, PolicyVersion: row.int(2), Created: row.int(3), Updated: row.int(4), LSN: crdt.LSN(row.int(5)),
	}
	text := row.textBytes(1)
	if sealed := row.int(6); tx.canOpen(sealed) {
		rec.JSON, err = tx.unseal(sealed, columnView, tx.rowID(rec.RID), text)
	}
	if err == nil && (text == nil || json.Valid(rec.JSON)) {
		return rec, false, nil
	}
	rec.JSON = nil
	all, err := tx.Indexes(key.Collection)
	for _, x := range all {
		if err == nil {
			_, err = tx.DropIndex(key.Collection, x.Field)
		}
	}
	if err == nil {
		_, err = tx.exec(qClearView, rec.RID)
	}
	for _, x := range all {
		if err == nil {
			_, err = tx.EnsureIndex(key.Collection, x.Field)
		}
	}
	return rec, len(all) > 0, err
}

// RIDOf returns a record's RID, 0 if there is none.
func (r *Reader) RIDOf(key crdt.Key) (int64, error) {
	row, err := r.one(qRIDOf, key.Collection, key.ID)
	if err != nil || row == nil {
		return 0, err
	}
	return row.int(0), nil
}

// canOpen reports whether there is a key of the number, or none is needed.
func (r *Reader) canOpen(sealed int64) bool {
	return sealed == 0 && r.sealing.plain() || r.sealing.keys[sealed] != nil
}

// ClockOf returns the clock that a record's row has, nil if that cannot be read.
func (r *Reader) ClockOf(rid int64) (crdt.Clock, error) {
	row, err := r.one(qClock, rid)
	if err != nil || row == nil {
		return nil, err
	}
	clock, err := parseClock(row.blob(0))
	if err != nil {
		return nil, nil
	}
	return clock, nil
}

// HeadsOf returns the heads that a record's row has, nil if they cannot be read.
func (r *Reader) HeadsOf(rid int64) (crdt.Heads, error) {
	it, ok, err := r.ItemAt(rid)
	if err != nil || !ok {
		return nil, err
	}
	heads, err := parseHeads(it.Heads)
	if err != nil {
		return nil, nil
	}
	return heads, nil
}

// FindLast looks through the whole log for a record's last row, for a record that does
// not name it any more, and has the transaction go by that.
func (tx *Tx) FindLast(rid int64) (crdt.LSN, error) {
	row, err := tx.one(qFindLast, rid)
	if err != nil {
		return 0, err
	}
	tx.last[rid] = crdt.LSN(row.int(0))
	return tx.last[rid], nil
}

// Records yields the records of a collection with an id behind after, by id,
// deleted ones too; limit 0 means all. Loops over records may write others, and
// the one at hand.
func (r *Reader) Records(collection, after string, limit int) iter.Seq2[*Record, error] {
	return scan(r, r.parseRecord, qRecords, collection, after, sqlLimit(limit))
}

// Collections returns the names of the collections that have a record.
func (r *Reader) Collections() ([]string, error) {
	return collect(scan(r, func(row row) (string, error) { return row.text(0), nil }, qCollections))
}

// Conflicted yields the records with conflicts of a collection, or of all of
// them when it is "", by key.
func (r *Reader) Conflicted(collection string) iter.Seq2[*Record, error] {
	if collection == "" {
		return scan(r, r.parseRecord, qConflicted)
	}
	return scan(r, r.parseRecord, qConflictedIn, collection)
}

// Stale yields records of a collection whose view was computed under another
// policy version, but for those that Unable yields, at most limit (0 means all), in
// no particular order. To rewrite them, gather some first: the loop follows the index that PutRecord
// changes.
func (r *Reader) Stale(collection string, version int64, limit int) iter.Seq2[*Record, error] {
	return scan(r, r.parseRecord, qStale, collection, version, sqlLimit(limit))
}

// IsStale reports whether there are records that Stale yields for the version that the
// collection's policy has.
func (r *Reader) IsStale(collection string) (bool, error) {
	row, err := r.one(qIsStale, collection)
	return err == nil && row.int(0) != 0, err
}

// Unable yields records of a collection as Stale does, whose policy version is
// -version: a process that could not compute their view has marked them so.
func (r *Reader) Unable(collection string, version int64, limit int) iter.Seq2[*Record, error] {
	return scan(r, r.parseRecord, qUnable, collection, version, sqlLimit(limit))
}

// CountStale counts what Stale and Unable yield.
func (r *Reader) CountStale(collection string, version int64) (int64, error) {
	row, err := r.one(qCountStale, collection, version)
	if err != nil {
		return 0, err
	}
	return row.int(0), nil
}

// CountRecords counts the records of a collection that exist, as their stored values
// say.
func (r *Reader) CountRecords(collection string) (int, error) {
	row, err := r.one(qCountRecords, collection)
	if err != nil {
		return 0, err
	}
	return int(row.int(0)), nil
}

// View returns the stored value of a record that exists, if it follows the policy that
// its collection has here; ok is false if it has to be asked for otherwise. It is
// one statement, so it needs no snapshot.
func (s *Store) View(ctx context.Context, key crdt.Key) (json []byte, ok bool, err error) {
	c, err := s.readers.take(ctx)
	if err != nil {
		return nil, false, err
	}
	defer s.readers.give(c)
	row, err := c.one(qView, key.Collection, key.ID)
	if err != nil || row == nil || row.int(1) != row.int(3) || row.int(2) != 0 {
		return nil, false, err
	}
	json = row.textBytes(0)
	if sealed, now := row.int(4), s.vault.now.Load(); sealed != 0 || !now.plain() {
		r := &Reader{c: c, vault: s.vault, sealing: now}
		rid := row.int(5)
		if json, err = r.unseal(sealed, columnView, r.rowID(rid), json); err != nil {
			return nil, false, stored("record", key, err)
		}
	}
	return json, json != nil, nil
}

func sqlLimit(limit int) int64 {
	if limit <= 0 {
		return -1
	}
	return int64(limit)
}

// parseRecord reads the columns of recordColumns.
func (r *Reader) parseRecord(row row) (*Record, error) {
	rec := &Record{
		RID:           row.int(0),
		Key:           crdt.Key{Collection: row.text(1), ID: row.text(2)},
		MaxOp:         uint64(row.int(5)),
		PolicyVersion: row.int(7),
		Deleted:       row.int(8) != 0,
		Conflicts:     int(row.int(9)),
		Created:       row.int(10),
		Updated:       row.int(11),
		LSN:           crdt.LSN(row.int(12)),
	}
	var err error
	if rec.Heads, err = parseHeads(row.blob(3)); err == nil {
		rec.Clock, err = parseClock(row.blob(4))
	}
	if err == nil {
		rec.JSON, err = r.unseal(row.int(13), columnView, r.rowID(rec.RID), row.textBytes(6))
	}
	return rec, stored("record", rec.Key, err)
}

// NewRID returns a new record's RID, for log rows that are appended before
// PutRecord inserts the record. PutRecord has to follow in the same closure.
func (tx *Tx) NewRID() int64 {
	tx.w.pos.maxRID++
	tx.last[tx.w.pos.maxRID] = 0
	return tx.w.pos.maxRID
}

// PutRecord writes the record: inserts it when its RID is 0 (which it sets) or
// came from NewRID in this transaction, else updates the one with its RID. Key
// and Created of an existing record are not changed. It keeps nothing of rec.
func (tx *Tx) PutRecord(rec *Record) error {
	if tx.c == nil {
		return errOver
	}
	// The row is about to say what the log may not hold yet.
	last, err := tx.lastChange(rec.RID)
	if err != nil {
		return err
	}
	tx.last[rec.RID] = last
	tx.heads = nonNil(appendHeads(tx.heads[:0], rec.Heads))
	tx.clock = nonNil(appendClock(tx.clock[:0], rec.Clock))
	if rec.RID == 0 || rec.RID > tx.w.base.maxRID {
		return tx.insertRecord(rec)
	}
	args := [...]driver.Value{tx.heads, tx.clock, int64(rec.MaxOp), tx.sealView(rec.RID, rec.JSON), rec.Deleted,
		rec.Updated, int64(rec.LSN), tx.sealing.number(), rec.RID, rec.PolicyVersion, int64(rec.Conflicts)}
	for _, q := range [...]query{qUpdateRecord, qUpdateRecordAll} {
		if n, err := tx.exec(q, args[:]...); n == 1 || err != nil {
			return err
		}
	}
	return tx.fail(fmt.Errorf("update record %s: no record has RID %d", rec.Key, rec.RID))
}

// sealView returns a record's value as it is stored.
func (tx *Tx) sealView(rid int64, json []byte) driver.Value {
	return asText(tx.seal(columnView, tx.rowID(rid), json))
}

func (tx *Tx) insertRecord(rec *Record) error {
	if err := rec.Key.Valid(); err != nil {
		return tx.fail(fmt.Errorf("insert record: %w", err))
	}
	if rec.RID > tx.w.pos.maxRID {
		return tx.fail(fmt.Errorf("insert record %s: RID %d is not from NewRID", rec.Key, rec.RID))
	}
	rid := rec.RID
	if rid == 0 {
		rid = tx.NewRID()
	}
	_, err := tx.exec(qInsertRecord, rid, rec.Key.Collection, rec.Key.ID, tx.heads, tx.clock,
		int64(rec.MaxOp), tx.sealView(rid, rec.JSON), rec.PolicyVersion, rec.Deleted, int64(rec.Conflicts),
		rec.Created, rec.Updated, int64(rec.LSN), tx.sealing.number())
	if err == nil {
		rec.RID = rid
	}
	return err
}
