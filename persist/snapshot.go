package persist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Snapshot holds the changes of a record up to a place of the log as one
// document chunk. The rows of the log that it covers stay, without their data.
//
// It is stored as the chunk, followed by Order as uvarints.
type Snapshot struct {
	RID      int64
	LSN      crdt.LSN // the last row of the log that it covers
	Document []byte   // Automerge binary format, "document chunk"
	Order    []uint32 // in log order, indexes into what crdt.ParseDocument gives; nil: that is the order
}

// Changes returns the changes in log order. An error means damage.
func (s *Snapshot) Changes() ([]*crdt.Change, error) {
	changes, err := crdt.ParseDocument(s.Document)
	if err != nil || s.Order == nil {
		return changes, stored("snapshot of record", s.RID, err)
	}
	if len(s.Order) != len(changes) {
		return nil, stored("snapshot of record", s.RID, fmt.Errorf("an order of %d for %d changes: %w", len(s.Order), len(changes), ErrDamaged))
	}
	sorted := make([]*crdt.Change, len(changes))
	for at, i := range s.Order {
		if int(i) >= len(changes) || changes[i] == nil {
			return nil, stored("snapshot of record", s.RID, fmt.Errorf("its order is none: %w", ErrDamaged))
		}
		sorted[at], changes[i] = changes[i], nil
	}
	return sorted, nil
}

func (s *Snapshot) append(b []byte) []byte {
	b = append(b, s.Document...)
	for _, i := range s.Order {
		b = binary.AppendUvarint(b, uint64(i))
	}
	return b
}

// snapshotID names a snapshot's row and its version.
func snapshotID(rid int64, lsn crdt.LSN) []byte { return appendID(appendID(nil, rid), int64(lsn)) }

// parseSnapshot reads the columns of qSnapshot.
func (r *Reader) parseSnapshot(row row) (*Snapshot, error) {
	s := &Snapshot{RID: row.int(0), LSN: crdt.LSN(row.int(1))}
	data, err := r.unseal(row.int(3), columnSnapshot, snapshotID(s.RID, s.LSN), row.blob(2))
	if err != nil {
		return s, stored("snapshot of record", s.RID, err)
	}
	return s, s.parse(data)
}

// parse reads what append wrote.
func (s *Snapshot) parse(data []byte) error {
	doc, order, err := crdt.NextChunk(data)
	if err != nil {
		return stored("snapshot of record", s.RID, err)
	}
	s.Document = doc
	for len(order) > 0 {
		i, n := binary.Uvarint(order)
		if n <= 0 || i > crdt.MaxDocumentChanges {
			return stored("snapshot of record", s.RID, fmt.Errorf("its order is none: %w", ErrDamaged))
		}
		s.Order, order = append(s.Order, uint32(i)), order[n:]
	}
	return nil
}

// Snapshot returns the record's snapshot, nil if it has none. A damaged one is an
// error that does not fail the closure.
func (r *Reader) Snapshot(rid int64) (*Snapshot, error) {
	row, err := r.one(qSnapshot, rid)
	if err != nil || row == nil {
		return nil, err
	}
	return r.parseSnapshot(row)
}

// RawSize says how much a record's changes take that no snapshot holds.
type RawSize struct {
	Key   crdt.Key
	Bytes int64
}

// RawSizes yields the records of which at least min bytes of changes are in no
// snapshot, in no particular order. It walks the whole log.
func (r *Reader) RawSizes(min int64) iter.Seq2[RawSize, error] {
	return scan(r, func(row row) (RawSize, error) {
		return RawSize{crdt.Key{Collection: row.text(0), ID: row.text(1)}, row.int(2)}, nil
	}, qRawSizes, min)
}

// ErrSuperseded: the record's changes are no longer stored as they were when
// its snapshot was made.
var ErrSuperseded = errors.New("another snapshot was taken, or changes withdrawn, meanwhile")

// PutSnapshot stores a snapshot in place of the one that ends at replaces (0:
// none), and empties the rows that it covers and the other did not, which have
// to be as many as given. If not, it fails with ErrSuperseded. The caller has
// made sure that the snapshot holds what the rows hold.
func (tx *Tx) PutSnapshot(s *Snapshot, replaces crdt.LSN, rows int64) error {
	row, err := tx.one(qSnapshotAt, s.RID)
	if err != nil {
		return err
	}
	had := crdt.LSN(0)
	if row != nil {
		had = crdt.LSN(row.int(0))
	}
	if had != replaces || s.LSN <= had {
		return tx.fail(fmt.Errorf("put snapshot: %w", ErrSuperseded))
	}
	data := tx.seal(columnSnapshot, snapshotID(s.RID, s.LSN), s.append(nil))
	if _, err := tx.exec(qPutSnapshot, s.RID, int64(s.LSN), data, tx.sealing.number()); err != nil {
		return err
	}
	n, err := tx.exec(qEmptyRows, int64(s.LSN), int64(had))
	if err == nil && n != rows {
		err = tx.fail(fmt.Errorf("put snapshot: %d rows, want %d: %w", n, rows, ErrSuperseded))
	}
	return err
}

// DropSnapshot gives the rows of the log their data back and removes the
// record's snapshot, if it has one.
func (tx *Tx) DropSnapshot(rid int64) error {
	s, err := tx.Snapshot(rid)
	if s == nil || err != nil {
		return err
	}
	changes, err := s.Changes()
	if err != nil {
		return tx.fail(err)
	}
	// Gathered first: the walk reads what the updates write.
	rows, err := collect(scan(&tx.Reader, func(row row) (int64, error) { return row.int(0), nil },
		qEmptied, int64(s.LSN), int64(0)))
	if err != nil {
		return err
	}
	if len(rows) != len(changes) {
		return tx.fail(fmt.Errorf("drop snapshot of record %d: %d changes for %d rows: %w", rid, len(changes), len(rows), ErrDamaged))
	}
	for i, c := range changes {
		data := tx.seal(columnChange, tx.rowID(rows[i]), c.Raw())
		if _, err := tx.exec(qFillRow, data, tx.sealing.number(), rows[i]); err != nil {
			return err
		}
	}
	_, err = tx.exec(qDropSnapshot, rid)
	return err
}

// expansion is a snapshot's changes, found by hash.
type expansion struct {
	raw   map[crdt.Hash][]byte
	bytes int
}

// dataOf returns the bytes of a change that the record's snapshot holds. Damage
// is no error here: nil then stands for the change, as altered bytes would, and
// no other record is kept from anybody.
func (r *Reader) dataOf(rid int64, hash crdt.Hash) ([]byte, error) {
	row, err := r.one(qSnapshotAt, rid)
	if err != nil || row == nil {
		return nil, err
	}
	k := expandedKey{rid, crdt.LSN(row.int(0))}
	x := r.expanded.get(k)
	if x == nil {
		if x, err = r.expand(rid); err != nil {
			return nil, err
		}
		r.expanded.put(k, x)
	}
	return x.raw[hash], nil
}

// expand reads a snapshot; what is damaged is empty.
func (r *Reader) expand(rid int64) (*expansion, error) {
	x := &expansion{raw: make(map[crdt.Hash][]byte)}
	s, err := r.Snapshot(rid)
	if r.err != nil {
		return nil, r.err
	}
	var changes []*crdt.Change
	if err == nil && s != nil {
		changes, _ = s.Changes()
	}
	for _, c := range changes {
		x.raw[c.Hash()] = c.Raw()
		x.bytes += len(c.Raw()) + 96
	}
	return x, nil
}
