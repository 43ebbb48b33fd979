package replica

import (
	"context"
	"iter"

	"github.com/godwitdb/godwit/persist"
)

// Row is a row that SQL selected: its columns' names, shared by all rows, and their
// values: nil, int64, float64, string or []byte.
type Row = persist.SQLRow

// SQL yields what a SELECT of SQLite's gives. Arguments stand for ?, in order, and are of
// any type that a record can hold.
//
// Each collection is a view of that name: _id, _json, and columns for fields that are
// indexed, in the full text, or found at the root of its records. In them a time is
// RFC 3339, bytes are base64, true and false 1 and 0, lists and maps JSON; what is
// deeper is reached as _json ->> '$.address.city'. A name that differs from another in
// case only gets _2 at its end.
//
// The connection refuses whatever is no reading: ErrSQL. The rows are of one moment; as
// long as the loop goes on the file beside the replica's (-wal) grows. The statement ends
// with ctx.
func (r *Replica) SQL(ctx context.Context, query string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		names, err := r.stale(ctx)
		for _, name := range names {
			if err == nil {
				err = r.freshen(ctx, name)
			}
		}
		if err != nil {
			yield(Row{}, &Error{Op: "sql", Err: translate(err)})
			return
		}
		for row, err := range r.store.SQL(ctx, query, args) {
			if err != nil {
				err = &Error{Op: "sql", Err: translate(err)}
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
