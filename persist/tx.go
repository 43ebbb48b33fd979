package persist

import "database/sql/driver"

// Tx is the transaction of one closure of Commit. Its Reader sees what the
// closure wrote. When one of its methods fails, the closure has failed, also
// if it returns nil.
type Tx struct {
	Reader
	w *writer
	r *request

	heads, clock, sealed []byte // space for encoding
}

// Foreign reports whether another process may have committed since this store
// last did: what is cached has to be checked. It stays true until a transaction
// of this store commits, and is true in the first.
func (tx *Tx) Foreign() bool { return tx.w.version != tx.w.seen }

// Generation changes whenever Foreign becomes true. A cache that notes it
// beside its content need not look at Foreign in every transaction.
func (tx *Tx) Generation() uint64 { return tx.w.generation }

// OnCommit has f called after the commit, before any caller is answered and
// before the next transaction begins. f must not use the store, nor panic.
func (tx *Tx) OnCommit(f func()) { tx.r.onCommit = append(tx.r.onCommit, f) }

// OnRollback has f called when the closure, or the commit, failed: in reverse
// order, before the caller is answered and before the next closure runs. f must
// not use the store, nor panic.
func (tx *Tx) OnRollback(f func()) { tx.r.onRollback = append(tx.r.onRollback, f) }

func (tx *Tx) exec(q query, args ...driver.Value) (changed int64, err error) {
	if tx.c == nil {
		return 0, errOver
	}
	changed, err = tx.c.exec(q, args...)
	return changed, tx.fail(err)
}
