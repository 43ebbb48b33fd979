package persist

import (
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// errExited is what the others of a transaction get when a closure ended the
// goroutine they were to be committed on.
var errExited = errors.New("transaction given up: another closure called runtime.Goexit")

// position is where the next rows go.
type position struct {
	head   crdt.Cursor
	maxRID int64
}

// transact runs one transaction that begins with r.
func (w *writer) transact(r *request) {
	if r.outside != nil {
		r.err = w.outside(r.outside)
		r.answer()
		return
	}
	if err := w.begin(r.full); err != nil {
		r.err = err
		r.answer()
		return
	}
	w.full = r.full
	for r != nil {
		if !w.run(r) {
			return
		}
		if r = nil; !w.full {
			r = w.next()
		}
	}
	w.commit()
}

// vacuum writes the file anew and folds the WAL into it, as far as readers allow.
func vacuum(c *conn) error {
	err := c.run("VACUUM")
	if err == nil {
		_ = c.run("PRAGMA wal_checkpoint(TRUNCATE)") // failing leaves it to a later one
	}
	return err
}

// outside runs f, synced: it is rare and takes longer than that.
func (w *writer) outside(f func(*conn) error) error {
	if err := w.raiseSync(true); err != nil {
		return err
	}
	defer w.restoreSync(true)
	return f(w.c)
}

func (w *writer) begin(full bool) error {
	if err := w.raiseSync(full); err != nil {
		return err
	}
	_, err := w.c.exec(qBeginImmediate)
	if err == nil {
		err = w.look(full)
	}
	if err != nil {
		w.rollback(full)
	}
	if !errors.Is(err, errUnsaid) {
		return err
	}
	// In a transaction of its own, which is synced.
	if err := w.begin(true); err != nil {
		return err
	}
	_, err = w.c.exec(qCommit)
	w.rollback(true)
	if err != nil {
		return err
	}
	return w.begin(false)
}

// errUnsaid: the file does not know yet that this writer does not wait for the disk.
var errUnsaid = errors.New("a transaction that is not synced, in a file that counts on it")

// sayUnsynced has the file know of a writer that does not wait for the disk.
func (w *writer) sayUnsynced(full bool) error {
	r, err := w.c.one(qUnsynced)
	switch {
	case err != nil || r == nil || r.int(0) == 1:
		return err
	case !full:
		return errUnsaid
	}
	_, err = w.c.exec(qSayUnsynced)
	return err
}

// look finds out whether the file is still where it was, whether somebody else has
// committed since we last did, and where the log and the records end.
func (w *writer) look(full bool) error {
	if err := w.place.check(); err != nil {
		return err
	}
	r, err := w.c.one(qDataVersion)
	if err != nil {
		return err
	}
	w.version, w.pos = r.int(0), w.known
	if w.version != w.seen {
		if w.sync != Full {
			if err := w.sayUnsynced(full); err != nil {
				return err
			}
		}
		w.generation++
		if w.pos.head, err = readHead(w.c, w.epoch); err != nil {
			return err
		}
		if r, err = w.c.one(qMaxRID); err != nil {
			return err
		}
		w.pos.maxRID = r.int(0)
		if w.sealing, err = w.vault.load(w.c); err != nil {
			return err
		}
	}
	w.base = w.pos
	return nil
}

// run runs the closure of r in the open transaction; false when that is over.
// The first closure needs no savepoint: its failure is the transaction's.
func (w *writer) run(r *request) bool {
	w.current = r
	first, before := len(w.group) == 0, w.pos
	if first {
		if !w.invoke(r) {
			w.fail(r.err)
			return false
		}
		w.join(r)
		return true
	}
	if _, err := w.c.exec(qSavepoint); err != nil {
		w.fail(err)
		return false
	}
	if w.invoke(r) {
		if _, err := w.c.exec(qRelease); err != nil {
			w.fail(err)
			return false
		}
		w.join(r)
		return true
	}
	// Some errors (no space, no memory) make SQLite end the whole transaction;
	// then there is no savepoint to return to.
	if err := w.undo(); err != nil {
		w.fail(errors.Join(r.err, err))
		return false
	}
	w.current, w.pos = nil, before
	r.rolledBack()
	r.answer()
	return true
}

func (w *writer) join(r *request) {
	w.group = append(w.group, r)
	w.current = nil
}

// undo returns to the savepoint and removes it.
func (w *writer) undo() error {
	if _, err := w.c.exec(qRollbackTo); err != nil {
		return err
	}
	_, err := w.c.exec(qRelease)
	return err
}

// invoke calls the closure and reports whether it succeeded.
func (w *writer) invoke(r *request) (ok bool) {
	tx := &Tx{w: w, r: r, Reader: Reader{c: w.c, head: w.pos.head, epoch: w.epoch, expanded: w.expanded,
		vault: w.vault, sealing: w.sealing, last: make(map[int64]crdt.LSN)}}
	defer func() {
		w.running.Store(false)
		if p := recover(); p != nil {
			r.panicked, r.err = p, fmt.Errorf("closure panicked: %v", p)
		}
		tx.c = nil // whoever keeps the Tx gets an error
	}()
	w.running.Store(true)
	r.err = r.fn(tx)
	if r.err == nil {
		r.err = tx.err
	}
	return r.err == nil
}

// commit ends the transaction. Hooks run before anybody is answered, so what
// they change is seen by whoever was told of the commit.
func (w *writer) commit() {
	if _, err := w.c.exec(qCommit); err != nil {
		w.fail(err)
		return
	}
	w.restoreSync(w.full)
	if w.c.called != nil {
		w.c.called(CallCommitted)
	}
	w.known, w.seen = w.pos, w.version
	w.lastGroup = max(w.lastGroup, len(w.group))
	for _, r := range w.group {
		for _, f := range r.onCommit {
			f()
		}
	}
	w.wake()
	for _, r := range w.group {
		r.answer()
	}
	w.leave()
}

// fail gives the transaction up. err is for all but the closure that ran,
// which knows its own.
func (w *writer) fail(err error) {
	w.rollback(w.full)
	if r := w.current; r != nil {
		if r.err == nil {
			r.err = err
		}
		r.rolledBack()
	}
	for i := len(w.group) - 1; i >= 0; i-- {
		w.group[i].err = fmt.Errorf("transaction failed: %w", err)
		w.group[i].rolledBack()
	}
	if r := w.current; r != nil {
		r.answer()
	}
	for _, r := range w.group {
		r.answer()
	}
	w.leave()
}

func (w *writer) leave() {
	clear(w.group)
	w.group, w.current = w.group[:0], nil
}

// rollback ends the transaction if SQLite has not done so itself.
func (w *writer) rollback(full bool) {
	if !w.c.db.AutoCommit() {
		// It cannot fail in a way that leaves the transaction open, and if it
		// did the next BEGIN would say so.
		_, _ = w.c.exec(qRollback)
	}
	w.restoreSync(full)
}

// raiseSync has a request synced whatever the mode.
func (w *writer) raiseSync(full bool) error {
	if full && w.sync != Full {
		if err := w.c.run(Full.pragma()); err != nil {
			return fmt.Errorf("set synchronous: %w", err)
		}
	}
	return nil
}

// restoreSync undoes what raiseSync did for a request that is always synced.
func (w *writer) restoreSync(full bool) {
	if full && w.sync != Full {
		_ = w.c.run(w.sync.pragma()) // failing leaves it at FULL: slower, not wrong
	}
}

func (r *request) rolledBack() {
	for i := len(r.onRollback) - 1; i >= 0; i-- {
		r.onRollback[i]()
	}
}

func (r *request) answer() { close(r.done) }
