package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Bounds of one transaction of a rebuild: other writers wait for it.
const (
	rebuildBatch = 200     // records
	rebuildBytes = 4 << 20 // of histories in memory
)

// rebuild recomputes the stored values of a collection that follow another
// policy, a batch after the other. Each record is replaced in one piece, and
// computed on reading until then, so nobody sees a mixture. What is left when it
// is interrupted is taken up by rebuildSoon, at the next Open at the latest.
func (r *Replica) rebuild(ctx context.Context, collection string, progress func(int)) error {
	for done := 0; ; {
		n := 0
		err := r.commit(ctx, 0, func(b *batch) (err error) {
			n, err = b.rebuild(collection)
			return err
		})
		if err != nil {
			return fmt.Errorf("rebuild the view of %s: %w", collection, err)
		}
		if n == 0 {
			return nil
		}
		if done += n; progress != nil {
			progress(done)
		}
	}
}

// rebuild recomputes some records and returns how many, 0 when all are done that
// this process is able to compute.
func (b *batch) rebuild(collection string) (int, error) {
	v, err := b.w.view(&b.tx.Reader, collection)
	if err != nil {
		return 0, err
	}
	n, _, err := b.rebuildSome(b.tx.Stale(collection, v.version, rebuildBatch), v)
	if n > 0 || err != nil || v.version == 0 {
		return n, err
	}
	_, n, err = b.rebuildSome(b.tx.Unable(collection, v.version, rebuildBatch), v)
	return n, err
}

// rebuildSome recomputes records until they are enough for one transaction. It
// returns how many, and how many of them now follow the policy. It ends with the
// first that this process cannot compute if that was known of it.
func (b *batch) rebuildSome(all iter.Seq2[*persist.Record, error], v view) (tried, able int, err error) {
	var stale []*persist.Record
	for rec, err := range all {
		if err != nil {
			return 0, 0, err
		}
		stale = append(stale, rec)
	}
	for size := 0; tried < len(stale) && size <= rebuildBytes; tried++ {
		rec := stale[tried]
		e, err := b.transient(rec.Key)
		if errors.Is(err, ErrForgotten) { // a stub shows nothing under any policy
			rec.PolicyVersion = v.version
			if err := b.tx.PutRecord(rec); err != nil {
				return tried, able, err
			}
			able++
			continue
		}
		if err != nil {
			return tried, able, err
		}
		size += e.hist.Size()
		if err := b.rebuildRecord(e, v); err != nil {
			return tried, able, err
		}
		if e.row.PolicyVersion == v.version {
			able++
		} else if rec.PolicyVersion == e.row.PolicyVersion {
			break
		}
	}
	if tried == 0 {
		return 0, 0, nil
	}
	return tried, able, b.tx.TrimViews()
}

func (b *batch) rebuildRecord(e *entry, v view) error {
	before := slices.Clone(e.row.JSON)
	if err := fillRow(&e.row, e.hist, v); err != nil {
		return err
	}
	if bug(bugRebuildLeaves) && e.row.RID%4 == 0 && before != nil {
		e.row.JSON = before
	}
	if err := b.tx.PutRecord(&e.row); err != nil {
		return err
	}
	if bytes.Equal(before, e.row.JSON) {
		return nil
	}
	return b.tx.AddView(e.row.RID)
}

// transient returns the record's state, and does not keep it in memory if it was
// not there: who reads many records once drives nothing out of the cache.
func (b *batch) transient(k crdt.Key) (*entry, error) {
	if b.touched[k] != nil || b.w.cache.byKey[k] != nil {
		return b.entry(k)
	}
	stored, err := b.tx.Record(k)
	if err != nil {
		return nil, err
	}
	e := &entry{row: *stored}
	e.hist, err = loadHistory(&b.tx.Reader, stored)
	return e, err
}

// rebuildSoon has stored values that follow another policy recomputed in the
// background. One goroutine does so at a time, and looks again when told to.
func (r *Replica) rebuildSoon() {
	if !r.rebuilds.begin() {
		return
	}
	if !r.goRun(r.rebuildAll) {
		r.rebuilds.end()
	}
}

func (r *Replica) rebuildAll() {
	for more := true; more; more = !r.rebuilds.end() {
		names, err := r.stale(r.ctx)
		for _, name := range names {
			err = errors.Join(err, r.rebuild(r.ctx, name, nil))
		}
		if err != nil && r.ctx.Err() == nil {
			r.opts.Logger.Error("rebuild stored values", logError, err)
		}
	}
}

// stale returns the collections that hold a value that follows another policy.
func (r *Replica) stale(ctx context.Context) (names []string, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		all, err := rd.Collections()
		if err != nil {
			return err
		}
		for _, name := range all {
			v, err := r.loadView(rd, name)
			if err != nil {
				r.opts.Logger.Error("read a policy", logError, err)
				continue
			}
			known := len(names)
			for range rd.Stale(name, v.version, 1) {
				names = append(names, name)
			}
			for range rd.Unable(name, v.version, 1) {
				if v.version != 0 && len(names) == known {
					names = append(names, name)
				}
			}
		}
		return nil
	})
	return names, err
}

// countStale counts the records whose stored value follows another policy.
func (r *Replica) countStale(rd *persist.Reader) (n int64, err error) {
	names, err := rd.Collections()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		v, err := r.loadView(rd, name)
		if err != nil {
			return 0, err
		}
		stale, err := rd.CountStale(name, v.version)
		if err != nil {
			return 0, err
		}
		n += stale
	}
	return n, nil
}

// rebuilds says whether the goroutine runs that rebuilds.
type rebuilds struct {
	state chan int // one slot, holds one of the below; also the lock
}

const (
	rebuildIdle = iota
	rebuildRuns
	rebuildAgain // runs, and is to look once more
)

func newRebuilds() rebuilds {
	state := make(chan int, 1)
	state <- rebuildIdle
	return rebuilds{state}
}

// begin reports whether a goroutine is to be started; else the running one looks
// once more.
func (b rebuilds) begin() bool {
	idle := <-b.state == rebuildIdle
	if idle {
		b.state <- rebuildRuns
	} else {
		b.state <- rebuildAgain
	}
	return idle
}

// end reports whether the goroutine may end.
func (b rebuilds) end() bool {
	again := <-b.state == rebuildAgain
	if again {
		b.state <- rebuildRuns
	} else {
		b.state <- rebuildIdle
	}
	return !again
}
