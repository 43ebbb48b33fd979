package replica

import (
	"context"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Receipt says which peers have a change of a record on disk.
type Receipt struct {
	LSN    crdt.LSN
	Hash   crdt.Hash
	Actor  crdt.ActorID
	Origin Origin
	Peers  []PeerSync // all that are known; none of a record that nobody is told of (ReasonUnseen)
}

// Receipts yields the changes of a record, the latest first, with how far each is on its
// way to every peer that is known; whoever wants to know of the record as it is now stops
// after the first. A peer has a change when it acknowledged it or sent it; a carrier never
// does. ErrNotFound if the record never existed or was purged, ErrForgotten if it was forgotten here.
func (r *Replica) Receipts(ctx context.Context, k crdt.Key) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		rows, origins, err := r.changesBack(ctx, k)
		if err != nil {
			yield(Receipt{}, err)
			return
		}
		o, err := r.outlook(ctx, nil)
		if err != nil {
			yield(Receipt{}, recordError("receipts", k, err))
			return
		}
		for i := range rows {
			row := &rows[i]
			c := Receipt{LSN: row.LSN, Hash: row.Hash, Origin: Origin{Local: row.Source == 0, Peer: origins[row.Source]}}
			change, err := crdt.ParseChange(row.Data)
			if err != nil {
				yield(Receipt{}, recordError("receipts", k, err))
				return
			}
			c.Actor = change.Actor()
			if shown(row) {
				_, c.Peers = o.of(rows[i : i+1])
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// changesBack returns the record's rows of the log, the last one first, and who the
// peers are that they came from.
func (r *Replica) changesBack(ctx context.Context, k crdt.Key) (rows []persist.LogRow, from map[int64]crdt.ReplicaID, err error) {
	from = map[int64]crdt.ReplicaID{}
	err = r.read(ctx, "receipts", k, func(rd *persist.Reader) error {
		rec, err := recordOf(rd, k)
		if err != nil {
			return err
		}
		if err := missing(rd, k, rec); err != nil {
			return err
		}
		unseen, err := rd.Unseen(rec.RID)
		if err != nil {
			return err
		}
		for row, err := range rd.ChangesBack(rec.RID) {
			if err != nil {
				return err
			}
			row.Key, row.Unseen = k, unseen
			rows = append(rows, row)
		}
		peers, err := rd.Peers()
		for _, p := range peers {
			from[p.ID] = p.Replica
		}
		if err != nil || len(rows) > 0 {
			return err
		}
		return isForgotten(rd, rec.RID)
	})
	return rows, from, err
}
