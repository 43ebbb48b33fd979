package persist

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// Problem is a broken invariant.
type Problem struct {
	Kind   string   // a short constant word, as "chain"
	Key    crdt.Key // the record, if it is about one
	LSN    crdt.LSN // the log row, if it is about one
	Detail string   // what is wrong
	Advice string   // what to do
}

// String is for people.
func (p Problem) String() string {
	where := ""
	if p.LSN != 0 {
		where += fmt.Sprintf(" log row %d", p.LSN)
	}
	if p.Key != (crdt.Key{}) {
		where += fmt.Sprintf(" record %s", p.Key)
	}
	return fmt.Sprintf("%s:%s: %s. %s.", p.Kind, where, p.Detail, p.Advice)
}

// What a person can do about a problem.
const (
	adviceRestore = "doctor --repair --from a peer brings it back; without a peer, restore a backup"
	adviceRebuild = "Rewrite the record from its changes"
	adviceIndex   = "Drop the index and declare it again"
	advicePurge   = "Purge the record again"
	adviceForget  = "Delete the entry; a peer sends it again"
)

// Check walks every invariant of the store, on one snapshot, and calls each for
// what it finds:
//
//   - SQLite's own structures and indexes (PRAGMA integrity_check);
//   - the log: positions without a gap, the chain, each row's record, the row
//     before it of that record, and hash, the rows of a set side by side;
//   - every row can be read;
//   - records: their changes form a history (sequence numbers without a gap,
//     dependencies earlier in the log), of which heads, clock and lsn are what
//     the row says;
//   - snapshots hold exactly the changes of the rows that they cover;
//   - parked sets wait for something, and waits belong to a set;
//   - what nobody was shown is deleted;
//   - the indexes on fields hold what the records show.
//
// The error is that of reading, or ctx's; problems are none.
func (s *Store) Check(ctx context.Context, each func(Problem)) error {
	return s.Read(ctx, func(r *Reader) error {
		k := &checker{ctx: ctx, r: r, each: each, last: make(map[int64]crdt.LSN), spoiled: make(map[string]bool)}
		for _, check := range []func() error{k.file, k.log, k.records, k.snapshots, k.parked, k.unseen, k.indexes} {
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	})
}

type checker struct {
	ctx  context.Context
	r    *Reader
	each func(Problem)
	last map[int64]crdt.LSN // by rid, the record's last row of the log

	spoiled map[string]bool // collections with a stored value that is none: its indexes say nothing
}

// file asks SQLite.
func (k *checker) file() error {
	for row, err := range k.r.rows(qIntegrity) {
		if err != nil {
			return err
		}
		if text := row.text(0); text != "ok" {
			k.each(Problem{Kind: "file", Detail: text, Advice: adviceRestore})
		}
	}
	return k.ctx.Err()
}

// log follows the log from its first row.
func (k *checker) log() error {
	var last LogRow
	closed := make(map[crdt.SetID]struct{}) // sets that ended
	parted := make(map[crdt.SetID]struct{}) // sets of which a change was withdrawn: it may have come back
	for row, err := range k.r.rows(qCheckLog) {
		if err != nil {
			return err
		}
		l, err := k.r.parseLogRow(row)
		problem := func(kind, detail, advice string) {
			k.each(Problem{Kind: kind, Key: l.Key, LSN: l.LSN, Detail: detail, Advice: advice})
		}
		if err != nil {
			problem("row", err.Error(), adviceRestore)
		}
		if l.LSN != last.LSN+1 {
			problem("gap", fmt.Sprintf("the row before it is %d", last.LSN), adviceRestore)
		}
		if l.Key == (crdt.Key{}) {
			problem("orphan", fmt.Sprintf("there is no record with rid %d", l.RID), adviceRestore)
		} else if l.Key.Collection == "" { // the name of a purged record is gone, which the chain is made with
			if !l.Withdrawn() {
				problem("orphan", "the record has no name, and was not purged", adviceRestore)
			}
		} else if last.Chain.Next(l.Key, l.Hash) != l.Chain {
			problem("chain", "the running hash does not follow from the row before", adviceRestore)
		}
		// Rows that a snapshot covers are held against it with their record.
		if h, ok := chunkHash(l.Data); len(l.Data) > 0 && (!ok || h != l.Hash) {
			problem("hash", "the stored bytes are not those of the change "+l.Hash.String(), adviceRestore)
		}
		if p := crdt.LSN(row.int(12)); p != k.last[l.RID] {
			problem("prev", fmt.Sprintf("the record's row before it is %d, not %d", k.last[l.RID], p), adviceRestore)
		}
		k.last[l.RID] = l.LSN
		if l.Set != last.Set {
			_, again := closed[l.Set]
			if _, may := parted[l.Set]; again && !may {
				problem("set", "the change set "+l.Set.String()+" is torn apart by other rows", adviceRestore)
			}
			closed[last.Set] = struct{}{}
		}
		if l.Withdrawn() {
			parted[l.Set] = struct{}{}
		}
		last = l
		if err := k.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// chunkHash computes the name of an undeflated change from its bytes: SHA-256
// of everything behind the checksum, of which that is the beginning (Automerge
// binary format, "chunk container").
func chunkHash(data []byte) (h crdt.Hash, ok bool) {
	if len(data) < 9 {
		return h, false
	}
	h = sha256.Sum256(data[8:])
	return h, string(data[:4]) == "\x85\x6f\x4a\x83" && string(data[4:8]) == string(h[:4])
}

// records replays each record's changes.
func (k *checker) records() error {
	for row, err := range k.r.rows(qCheckRecords) {
		if err != nil {
			return err
		}
		rec, err := k.r.parseRecord(row)
		if err != nil {
			k.spoiled[rec.Key.Collection] = true
			k.each(Problem{Kind: "row", Key: rec.Key, Detail: err.Error(), Advice: adviceRebuild})
			continue
		}
		if rec.JSON != nil && !json.Valid(rec.JSON) {
			k.spoiled[rec.Key.Collection] = true
			k.each(Problem{Kind: "row", Key: rec.Key, Detail: "the stored value is no JSON", Advice: adviceRebuild})
		}
		if err := k.record(rec); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) record(rec *Record) error {
	lsn := crdt.LSN(0)
	problem := func(kind, detail, advice string) {
		k.each(Problem{Kind: kind, Key: rec.Key, LSN: lsn, Detail: detail, Advice: advice})
	}
	h := history{clock: crdt.Clock{}, changes: map[crdt.Hash]bool{}}
	snap, upTo, ok, err := k.snapshot(rec)
	if !ok || err != nil {
		return err // without it nothing can be told of the record
	}
	for row, err := range k.r.rows(qCheckChanges, int64(k.last[rec.RID]), int64(0)) {
		if err != nil {
			return err
		}
		lsn = crdt.LSN(row.int(0))
		data, err := k.r.changeOf(row.int(0), row.int(3), row.blob(1))
		if err != nil {
			problem("sealed", err.Error(), adviceRestore)
			continue
		}
		if lsn <= upTo && len(snap) > 0 {
			if hash := snap[0].Hash(); string(hash[:]) != string(row.blob(2)) {
				problem("snapshot", "the snapshot has the change "+hash.String()+" here", adviceRestore)
			} else if len(data) == 0 {
				data = snap[0].Raw()
			}
			snap = snap[1:]
		}
		if len(data) == 0 {
			problem("hash", "the row is empty and no snapshot holds its change", adviceRestore)
			continue
		}
		if detail := h.add(data); detail != "" {
			problem("history", detail, adviceRestore)
		}
	}
	lsn = 0
	if len(snap) > 0 {
		problem("snapshot", fmt.Sprintf("it holds %d changes that the log does not", len(snap)), adviceRestore)
	}
	if last := k.last[rec.RID]; last != rec.LSN {
		problem("lsn", fmt.Sprintf("the record says %d, its last row of the log is %d", rec.LSN, last), adviceRebuild)
	}
	for _, dropped := range []func(*Record, int, func(kind, detail, advice string)) (bool, error){k.forgotten, k.purged} {
		if is, err := dropped(rec, len(h.changes), problem); is || err != nil {
			return err
		}
	}
	if heads := h.heads(); !heads.Equal(rec.Heads) {
		problem("heads", fmt.Sprintf("the record says %v, its changes give %v", rec.Heads, heads), adviceRebuild)
	}
	if !h.clock.Covers(rec.Clock) || !rec.Clock.Covers(h.clock) {
		problem("clock", fmt.Sprintf("the record says %v, its changes give %v", rec.Clock, h.clock), adviceRebuild)
	}
	if err := rec.Key.Valid(); err != nil {
		problem("key", err.Error(), adviceRestore)
	}
	return k.ctx.Err()
}

// forgotten reports whether the record is a stub, whose row says what its changes
// were.
func (k *checker) forgotten(rec *Record, changes int, problem func(kind, detail, advice string)) (bool, error) {
	f, err := k.r.Forgotten(rec.RID)
	if err != nil || f == nil || f.Wanted {
		return false, err
	}
	if changes > 0 {
		problem("forgotten", fmt.Sprintf("the record was forgotten, %d of its changes were not", changes), adviceRestore)
	}
	if !f.Clock.Covers(rec.Clock) || !rec.Clock.Covers(f.Clock) {
		problem("clock", fmt.Sprintf("the record says %v, it was forgotten at %v", rec.Clock, f.Clock), adviceRestore)
	}
	return true, nil
}

// snapshot reads the record's snapshot; it is not ok when that is damaged.
func (k *checker) snapshot(rec *Record) (changes []*crdt.Change, upTo crdt.LSN, ok bool, err error) {
	row, err := k.r.one(qSnapshot, rec.RID)
	if err != nil || row == nil {
		return nil, 0, true, err
	}
	s, err := k.r.parseSnapshot(row)
	if err == nil {
		changes, err = s.Changes()
	}
	if err != nil {
		k.each(Problem{Kind: "snapshot", Key: rec.Key, LSN: s.LSN, Detail: err.Error(), Advice: adviceRestore})
	}
	return changes, s.LSN, err == nil, nil
}

// snapshots looks for those of no record.
func (k *checker) snapshots() error {
	for row, err := range k.r.rows(qCheckSnapshots) {
		if err != nil {
			return err
		}
		k.each(Problem{Kind: "snapshot", LSN: crdt.LSN(row.int(1)), Advice: adviceRestore,
			Detail: fmt.Sprintf("there is no record with rid %d", row.int(0))})
	}
	return k.ctx.Err()
}

// unseen looks for records that are hidden and not deleted.
func (k *checker) unseen() error {
	for row, err := range k.r.rows(qCheckUnseen) {
		if err != nil {
			return err
		}
		k.each(Problem{Kind: "unseen", Key: crdt.Key{Collection: row.text(1), ID: row.text(2)}, Advice: adviceRestore,
			Detail: fmt.Sprintf("the record with rid %d is kept from peers, and is not deleted", row.int(0))})
	}
	return k.ctx.Err()
}

// parked compares parked sets with what they wait for.
func (k *checker) parked() error {
	for row, err := range k.r.rows(qCheckOrphanWaits) {
		if err != nil {
			return err
		}
		k.each(Problem{Kind: "parked", Key: crdt.Key{Collection: row.text(1), ID: row.text(2)},
			Detail: fmt.Sprintf("the parked set %d that waits for it is gone", row.int(0)), Advice: adviceForget})
	}
	for row, err := range k.r.rows(qCheckIdleParked) {
		if err != nil {
			return err
		}
		k.each(Problem{Kind: "parked", Advice: adviceForget,
			Detail: fmt.Sprintf("the parked set %d of peer %d waits for nothing", row.int(0), row.int(1))})
	}
	return k.ctx.Err()
}
