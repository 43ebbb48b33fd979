package persist

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// LogRow is one change in the log.
type LogRow struct {
	LSN    crdt.LSN
	Chain  crdt.Chain // the running hash up to and with this row
	Set    crdt.SetID
	RID    int64
	Key    crdt.Key
	Hash   crdt.Hash
	Data   []byte // the chunk
	Source int64  // the peer it came from, 0: made here; negative: see Withdrawn
	Time   int64  // ms since 1970, when it was appended
	Unseen bool   // it is of a record that Hide has hidden
}

// Head returns the end of the log.
func (r *Reader) Head() crdt.Cursor { return r.head }

// CursorAt returns the cursor behind the log row lsn; ok is false when there
// is no such row (and when reading fails, which fails the closure). Position 0
// is always there.
func (r *Reader) CursorAt(lsn crdt.LSN) (c crdt.Cursor, ok bool) {
	c = crdt.Cursor{Epoch: r.epoch, LSN: lsn}
	switch {
	case lsn == 0:
		return c, true
	case lsn == r.head.LSN:
		return r.head, true
	}
	row, err := r.one(qChainAt, int64(lsn))
	if err == nil && row != nil {
		err = r.fail(stored("log row", lsn, row.fill(c.Chain[:], 0)))
	}
	if err != nil || row == nil {
		return crdt.Cursor{}, false
	}
	return c, true
}

// Changes yields the raw chunks of a record in log order.
func (r *Reader) Changes(rid int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for c, raw := range r.changes(rid) {
			data := raw.data
			switch {
			case c.change != nil:
				data = c.change.Raw()
			case c.err == nil && !fits(data, raw.hash):
				data, c.err = nil, raw.damaged()
			}
			if !yield(data, c.err) {
				return
			}
		}
	}
}

// ParsedChanges yields the changes of a record in log order. Of a snapshot they
// share memory.
func (r *Reader) ParsedChanges(rid int64) iter.Seq2[*crdt.Change, error] {
	return func(yield func(*crdt.Change, error) bool) {
		for c, raw := range r.changes(rid) {
			if c.err == nil && c.change == nil {
				c.change, c.err = crdt.ParseChange(raw.data)
				if c.err == nil && c.change.Hash() != raw.hash {
					c.change, c.err = nil, raw.damaged()
				}
			}
			if !yield(c.change, c.err) {
				return
			}
		}
	}
}

// readChange is a change on its way out, or the failure to read it.
type readChange struct {
	change *crdt.Change // nil if it was stored raw
	err    error
}

// chunk is a change as it was stored.
type chunk struct {
	lsn  crdt.LSN
	hash crdt.Hash // that it is to have
	data []byte
}

func (c *chunk) damaged() error {
	return stored("log row", c.lsn, fmt.Errorf("its bytes are not those of the change %s: %w", c.hash, ErrDamaged))
}

// fits reports whether the bytes are those of the change with the hash.
func fits(data []byte, hash crdt.Hash) bool {
	h, ok := chunkHash(data)
	return ok && h == hash
}

// changes yields those of the record's snapshot, if it has one, then the raw
// chunks of the log behind it.
func (r *Reader) changes(rid int64) iter.Seq2[readChange, chunk] {
	return func(yield func(readChange, chunk) bool) {
		chunks, at, err := r.chunksBack(rid)
		var covered []*crdt.Change
		if err == nil && at > 0 {
			covered, err = r.covered(rid, at)
		}
		if err != nil {
			yield(readChange{err: err}, chunk{})
			return
		}
		for _, c := range covered {
			if !yield(readChange{change: c}, chunk{}) {
				return
			}
		}
		for _, c := range slices.Backward(chunks) {
			if !yield(readChange{}, c) {
				return
			}
		}
	}
}

// chunksBack reads the record's chunks from the last one back, to the first row that
// has none since a snapshot covers it, which is at; 0: none.
func (r *Reader) chunksBack(rid int64) (chunks []chunk, at crdt.LSN, err error) {
	for at, err = r.lastChange(rid); at > 0 && err == nil; {
		row, err := r.one(qChunkAt, int64(at))
		if err != nil {
			return nil, 0, err
		}
		if row == nil || crdt.LSN(row.int(0)) >= at {
			return nil, 0, stored("log row", at, ErrDamaged)
		}
		if withdrawn := row.int(1) < 0; !withdrawn {
			c := chunk{lsn: at}
			if err := row.fill(c.hash[:], 4); err != nil {
				return nil, 0, stored("log row", at, err)
			}
			if c.data, err = r.changeOf(int64(at), row.int(3), row.blob(2)); len(c.data) == 0 || err != nil {
				return chunks, at, err
			}
			chunks = append(chunks, c)
		}
		at = crdt.LSN(row.int(0))
	}
	return chunks, 0, err
}

// covered returns the changes of the record's snapshot, which has to cover the row.
func (r *Reader) covered(rid int64, row crdt.LSN) ([]*crdt.Change, error) {
	s, err := r.Snapshot(rid)
	if err != nil {
		return nil, err
	}
	if s == nil || s.LSN < row {
		return nil, fmt.Errorf("a change of record %d is in no snapshot: %w", rid, ErrDamaged)
	}
	return s.Changes()
}

// lastChange returns the record's last row of the log, 0 if it has none.
func (r *Reader) lastChange(rid int64) (crdt.LSN, error) {
	if last, ok := r.last[rid]; ok {
		return last, nil
	}
	row, err := r.one(qLast, rid)
	if err != nil || row == nil {
		return 0, err
	}
	return crdt.LSN(row.int(0)), nil
}

// Log returns the rows behind after, in order: whole change sets, at least one
// if there is any, and no further one that would exceed maxRows, or maxBytes of
// Data. The Data of rows that a snapshot covers is shared, not to be modified. It is nil
// where what is stored is not the change with the row's hash: see Damaged.
func (r *Reader) Log(after crdt.LSN, maxRows, maxBytes int) ([]LogRow, error) {
	var rows []LogRow
	if n := min(int(r.head.LSN-after), maxRows); n > 0 {
		rows = make([]LogRow, 0, min(n, maxBytes/256))
	}
	begin, bytes := 0, 0 // of the set being read; of all
	for row, err := range scan(r, r.parseLogRow, qLog, int64(after)) {
		if err == nil {
			err = r.verify(&row)
		}
		if err != nil {
			return nil, err
		}
		if n := len(rows); n > 0 && row.Set != rows[n-1].Set {
			begin = n
		}
		bytes += len(row.Data)
		if full := len(rows) >= maxRows || bytes > maxBytes; full && begin > 0 {
			return rows[:begin], nil
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// verify completes a row for those who read the log, and pass on what they read: Data is
// what the record's snapshot holds of a row that it covers, and nil if that, or what
// is stored in the row, is not the change with the row's hash.
func (r *Reader) verify(l *LogRow) (err error) {
	if len(l.Data) == 0 {
		l.Data, err = r.dataOf(l.RID, l.Hash)
		return err
	}
	if !fits(l.Data, l.Hash) {
		l.Data = nil
	}
	return nil
}

// Damaged reports whether what the file stores of the change of a row that Log, SetAt or
// ChangesBack gave is not that change. It is not to be sent.
func (l *LogRow) Damaged() bool { return len(l.Data) == 0 && !l.Withdrawn() }

// changeOf returns the chunk of a log row.
func (r *Reader) changeOf(lsn, sealed int64, data []byte) ([]byte, error) {
	data, err := r.unseal(sealed, columnChange, r.rowID(lsn), data)
	return data, stored("log row", lsn, err)
}

// sentOf is changeOf for those who read the log. Damage is no error to them: nil
// then stands for the change, as altered bytes would, and no other record is kept
// from anybody.
func (r *Reader) sentOf(lsn, sealed int64, data []byte) ([]byte, error) {
	data, err := r.changeOf(lsn, sealed, data)
	if errors.Is(err, ErrDamaged) {
		return nil, nil
	}
	return data, err
}

// parseLogRow reads the columns of qLog. Data is nil if it cannot be decrypted.
func (r *Reader) parseLogRow(row row) (LogRow, error) {
	l := LogRow{
		LSN:    crdt.LSN(row.int(0)),
		RID:    row.int(3),
		Source: row.int(5),
		Time:   row.int(6),
		Unseen: row.int(11) != 0,
		Key:    crdt.Key{Collection: row.text(8), ID: row.text(9)},
	}
	err := errors.Join(row.fill(l.Chain[:], 1), row.fill(l.Set[:], 2), row.fill(l.Hash[:], 4))
	if err != nil {
		return l, stored("log row", l.LSN, err)
	}
	l.Data, err = r.sentOf(row.int(0), row.int(10), row.blob(7))
	return l, err
}

// Append adds the row to the end of the log and sets its LSN and Chain. RID and
// Key must be those of a record. The rows of one set are appended together.
func (tx *Tx) Append(row *LogRow) error {
	if tx.c == nil {
		return errOver
	}
	if row.RID <= 0 || row.RID > tx.w.pos.maxRID {
		return tx.fail(fmt.Errorf("append to log: no record has RID %d", row.RID))
	}
	if len(row.Data) == 0 {
		return tx.fail(errors.New("append to log: change without data"))
	}
	prev, err := tx.lastChange(row.RID)
	if err != nil {
		return err
	}
	next := crdt.Cursor{Epoch: tx.epoch, LSN: tx.head.LSN + 1, Chain: tx.head.Chain.Next(row.Key, row.Hash)}
	_, err = tx.exec(qAppend, int64(next.LSN), next.Chain[:], row.Set[:], row.RID, int64(prev), row.Hash[:],
		row.Source, row.Time, tx.seal(columnChange, tx.rowID(int64(next.LSN)), row.Data), tx.sealing.number())
	if err != nil {
		return err
	}
	row.LSN, row.Chain = next.LSN, next.Chain
	tx.head, tx.w.pos.head = next, next
	tx.last[row.RID] = next.LSN
	return nil
}
