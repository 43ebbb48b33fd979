// Package persist is the store of a replica: one SQLite file that holds
// records, the log of their changes, and what is known of peers. It knows
// bytes, positions and names; what a change means is crdt's business, and when
// one is made, sent or refused is replica's.
//
//	s, err := persist.Open(ctx, "notes.db", nil)
//	...
//	err = s.Commit(ctx, func(tx *persist.Tx) error {
//		rec := &persist.Record{RID: tx.NewRID(), Key: key, JSON: json}
//		row := &persist.LogRow{RID: rec.RID, Key: key, Hash: h, Data: chunk}
//		if err := tx.Append(row); err != nil {
//			return err
//		}
//		rec.LSN = row.LSN
//		return tx.PutRecord(rec)
//	})
package persist
