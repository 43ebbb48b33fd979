package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// commit is the one way into the file, for local and remote changes alike. fn
// runs in an immediate transaction on the store's writer goroutine; what it
// staged in the batch is written when it returns nil. Memory that it changed
// is forgotten if the transaction does not commit.
func (r *Replica) commit(ctx context.Context, source int64, fn func(*batch) error) error {
	if bug(bugAckEarly) && source == 0 {
		return r.commitLater(ctx, fn)
	}
	return r.commitNow(ctx, source, fn)
}

// commitNow returns when the transaction is committed, or is not.
func (r *Replica) commitNow(ctx context.Context, source int64, fn func(*batch) error) error {
	start := time.Now()
	err := r.store.Commit(ctx, func(tx *persist.Tx) error {
		if tx.Foreign() {
			r.w.reset()
			if err := r.checkActor(tx); err != nil {
				return err
			}
		}
		b := &batch{w: &r.w, tx: tx, source: source, touched: map[crdt.Key]*entry{}}
		if !bug(bugKeepRolledBack) {
			tx.OnRollback(b.forget)
		}
		if err := fn(b); err != nil {
			return err
		}
		return b.flush()
	})
	if err == nil {
		r.counters.committed(start)
	}
	return translate(err)
}

// writer is what the writer goroutine remembers between transactions. It is a
// cache: the file is the truth, and reset is always allowed.
type writer struct {
	r      *Replica
	cache  *cache
	views  map[string]view // by collection
	parked int             // sets that wait in the file; -1: not counted yet
	forks  int64           // forks noted in the file; -1: not counted yet
	marks  int64           // records forgotten or wanted back; -1: not counted yet
	unseen int             // 1: there are records that are hidden; 0: none; -1: not looked yet
	purges int64           // names that were purged; -1: not counted yet
	packer *transport.Codec
}

// codec encodes the sets that are parked.
func (w *writer) codec() *transport.Codec {
	if w.packer == nil {
		w.packer = transport.NewCodec()
	}
	return w.packer
}

// view is a collection's compiled policy.
type view struct {
	*crdt.View
	version int64
}

func (w *writer) init(r *Replica) {
	w.r = r
	w.cache = newCache(r.opts.CacheBytes)
	w.reset()
}

// reset forgets everything, because another process wrote to the file.
func (w *writer) reset() {
	w.cache.clear()
	w.views = map[string]view{}
	w.parked, w.forks, w.marks, w.unseen, w.purges = -1, -1, -1, -1, -1
}

// view returns the policy that the collection's stored values follow.
func (w *writer) view(rd *persist.Reader, collection string) (view, error) {
	if v, ok := w.views[collection]; ok {
		return v, nil
	}
	v, err := w.r.loadView(rd, collection)
	if err == nil {
		w.views[collection] = v
	}
	return v, err
}

// batch is what one closure stages in a transaction.
type batch struct {
	w       *writer
	tx      *persist.Tx
	source  int64 // the peer the changes came from, 0 for this replica
	touched map[crdt.Key]*entry
	order   []*entry // of touched, as first touched
	rows    []row    // to be appended to the log
	purging
}

// row is a change to be logged.
type row struct {
	entry  *entry
	change *crdt.Change
	set    crdt.SetID
	source int64
}

// entry returns the record's state, loading it if it is not in memory. A record
// that does not exist has an empty history.
func (b *batch) entry(k crdt.Key) (*entry, error) {
	if e := b.touched[k]; e != nil {
		return e, nil
	}
	e := b.w.cache.get(k)
	if e == nil {
		e = &entry{row: persist.Record{Key: k}}
		stored, err := b.tx.Stored(k)
		if err != nil {
			return nil, err
		}
		if stored != nil {
			e.row = *stored
		}
		if err := b.load(e); err != nil {
			return nil, err
		}
		b.w.cache.put(e)
	}
	b.touched[k] = e
	b.order = append(b.order, e)
	return e, nil
}

// load makes the entry's history from the file and from what the batch added.
func (b *batch) load(e *entry) (err error) {
	if e.mark, err = b.mark(e.row.RID); err != nil {
		return err
	}
	if e.unseen, err = b.hidden(e.row.RID); err != nil {
		return err
	}
	e.hist, err = loadHistory(&b.tx.Reader, &e.row)
	if err != nil {
		return err
	}
	for _, c := range e.pending {
		if _, err := e.hist.Add(c); err != nil {
			return fmt.Errorf("reload %s: %w", e.row.Key, err)
		}
	}
	return nil
}

// log stages changes of a set, which the entries' histories hold already. What was hidden of
// their records comes before all of them: a set has its place in one piece.
func (b *batch) log(set crdt.SetID, members []crdt.Member) error {
	for _, m := range members {
		if err := b.show(b.touched[m.Key]); err != nil {
			return recordError("log", m.Key, err)
		}
	}
	for _, m := range members {
		b.stage(row{entry: b.touched[m.Key], change: m.Change, set: set, source: b.source})
	}
	return nil
}

func (b *batch) stage(r row) {
	r.entry.pending = append(r.entry.pending, r.change)
	b.rows = append(b.rows, r)
	if h, ok := markedBy(r.entry.row.Key); ok {
		b.markers = append(b.markers, h)
	}
}

// flush writes what was staged: first the records, which gives new ones their
// number, then the log. What markers among it purge goes with it.
func (b *batch) flush() error {
	if err := b.notePurged(); err != nil {
		return err
	}
	if err := b.write(); err != nil {
		return err
	}
	return b.dropPurged()
}

func (b *batch) write() error {
	if len(b.rows) == 0 {
		return nil
	}
	head := b.tx.Head().LSN
	for i, row := range b.rows {
		row.entry.row.LSN = head + crdt.LSN(i) + 1
	}
	var gone []*entry
	for _, e := range b.order {
		if len(e.pending) == 0 {
			continue
		}
		if err := b.flushRecord(e); err != nil {
			return err
		}
		if e.row.Deleted && b.source == 0 {
			gone = append(gone, e)
		}
	}
	for _, row := range b.rows {
		err := b.tx.Append(&persist.LogRow{
			Set: row.set, RID: row.entry.row.RID, Key: row.entry.row.Key, Hash: row.change.Hash(),
			Data: row.change.Raw(), Source: row.source, Time: row.change.Time(),
		})
		if err != nil {
			return fmt.Errorf("append change %s of %s: %w", row.change.Hash(), row.entry.row.Key, err)
		}
	}
	return b.hide(gone)
}

func (b *batch) flushRecord(e *entry) error {
	for _, c := range e.pending {
		if e.row.Created == 0 {
			e.row.Created = c.Time()
		}
		e.row.Updated = max(e.row.Updated, c.Time())
	}
	e.pending = e.pending[:0]
	if err := b.putShown(e); err != nil {
		return err
	}
	return b.remembered(e)
}

// putShown puts the record's row as it follows from its history.
func (b *batch) putShown(e *entry) error {
	v, err := b.w.view(&b.tx.Reader, e.row.Key.Collection)
	if err != nil {
		return err
	}
	before := e.row.JSON
	if err := fillRow(&e.row, e.hist, v); err != nil {
		return err
	}
	if err := b.policyChanged(e.row.Key, before, e.row.JSON); err != nil {
		return err
	}
	b.w.cache.resize(e)
	if err := b.tx.PutRecord(&e.row); err != nil {
		return fmt.Errorf("put record %s: %w", e.row.Key, err)
	}
	return nil
}

// fillRow computes what the file keeps of a record from its history.
func fillRow(row *persist.Record, h *crdt.History, v view) error {
	row.Heads, row.Clock, row.MaxOp = h.Heads(), h.Clock(), h.MaxOp()
	row.PolicyVersion = v.version
	r := h.Render(nil, v.View)
	if r.Lacking {
		row.PolicyVersion = -v.version // for a process that has the function
	}
	row.Conflicts, row.Deleted = r.Conflicts, !r.Exists
	if bug(bugStaleView) && row.JSON != nil && row.MaxOp%8 == 0 {
		return nil
	}
	row.JSON = r.JSON
	return nil
}

// forget drops from memory what a transaction touched that did not commit.
func (b *batch) forget() {
	for _, e := range b.order {
		b.w.cache.remove(e)
	}
	b.w.parked, b.w.forks, b.w.marks, b.w.unseen, b.w.purges = -1, -1, -1, -1, -1
}

// release makes room in memory for others than the records of this batch, of which
// there are many.
func (b *batch) release() {
	for _, e := range b.order {
		b.w.cache.remove(e)
	}
}

// loadHistory reads a record's changes. What the file holds was validated when
// it came in; an error here means damage.
func loadHistory(rd *persist.Reader, rec *persist.Record) (*crdt.History, error) {
	h := crdt.NewHistory()
	if rec.RID == 0 {
		return h, nil
	}
	n := 0
	for c, err := range rd.ParsedChanges(rec.RID) {
		n++
		if err == nil {
			_, err = h.Add(c)
		}
		if err != nil {
			return nil, fmt.Errorf("stored change %d of %s is damaged, run doctor: %w", n, rec.Key, err)
		}
	}
	if n > 0 {
		return h, nil
	}
	return h, isForgotten(rd, rec.RID)
}
