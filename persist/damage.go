package persist

import (
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Parting says which of a record's changes leave its history since some are damaged.
type Parting struct {
	RID  int64
	Kept []LogRow   // the others, and those that can be read of what leaves: a snapshot's rows get their data back
	Gone []crdt.LSN // leave, as they are
	Lost []crdt.LSN // leave, without what is left of their bytes
}

// Part takes changes out of a record's history, as Withdraw does, and removes its snapshot.
// The record's row is the caller's to put.
func (tx *Tx) Part(p *Parting) error {
	row, err := tx.one(qSnapshotAt, p.RID)
	if err != nil {
		return err
	}
	for i := range p.Kept {
		if l := &p.Kept[i]; row != nil {
			data := tx.seal(columnChange, tx.rowID(int64(l.LSN)), l.Data)
			if _, err := tx.exec(qFillRow, data, tx.sealing.number(), int64(l.LSN)); err != nil {
				return err
			}
		}
	}
	if _, err := tx.exec(qDropSnapshot, p.RID); err != nil {
		return err
	}
	for q, lsns := range map[query][]crdt.LSN{qWithdraw: p.Gone, qLose: p.Lost} {
		for _, lsn := range lsns {
			if _, err := tx.exec(q, int64(lsn)); err != nil {
				return err
			}
		}
	}
	return nil
}

// MendHashes puts right what rows of a record say is the hash of their change, where the
// change is there and the running hash is the one that follows from it.
func (tx *Tx) MendHashes(k crdt.Key, rid int64) error {
	at, err := tx.lastChange(rid)
	for at > 0 && err == nil {
		var row row
		if row, err = tx.one(qLogAt, int64(at)); err != nil || row == nil {
			break
		}
		lsn, prev := at, crdt.LSN(row.int(0))
		if at = prev; prev >= lsn {
			break
		}
		var said crdt.Hash
		if row.fill(said[:], 2) != nil {
			said = crdt.Hash{}
		}
		var data []byte
		if data, err = tx.sentOf(int64(lsn), row.int(5), row.blob(4)); err != nil {
			break
		}
		is, ok := chunkHash(data)
		if !ok || is == said {
			continue
		}
		before, ok1 := tx.CursorAt(lsn - 1)
		here, ok2 := tx.CursorAt(lsn)
		if ok1 && ok2 && before.Chain.Next(k, is) == here.Chain {
			_, err = tx.exec(qRename, is[:], int64(lsn))
		}
	}
	return err
}

// LostRow is a row of the log whose change is not stored any more.
type LostRow struct {
	LSN  crdt.LSN
	Hash crdt.Hash
}

// LostOf yields the rows of a record whose changes were lost, or forgotten, in the order of
// the log. Those that have come back since stand in other rows.
func (r *Reader) LostOf(rid int64) iter.Seq2[LostRow, error] {
	return func(yield func(LostRow, error) bool) {
		last, err := r.lastChange(rid)
		if err != nil {
			yield(LostRow{}, err)
			return
		}
		scan(r, func(row row) (LostRow, error) {
			l := LostRow{LSN: crdt.LSN(row.int(0))}
			return l, row.fill(l.Hash[:], 1)
		}, qLost, int64(last), int64(0))(yield)
	}
}
