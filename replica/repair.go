package replica

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Repaired says what Repair, or RepairFrom, did.
type Repaired struct {
	Rewritten []crdt.Key // records of which what is stored follows from their changes again
	Damaged   []Damage   // records that stay as they are, since their changes cannot be read
	Broken    []Problem  // what only Salvage repairs
	Parted    []crdt.Key // records whose damaged changes were taken out, to be fetched again
	Lost      []Lost     // changes that the peer does not have either
	Counts    Counts     // what the session with the peer moved
}

// Damage is a record with a change that cannot be read.
type Damage struct {
	Key crdt.Key
	Err error // names the change
}

// Repair rewrites what Check finds wrong in records and what follows from their
// changes: heads, clock, the stored value and the place in the log. No change of a
// record is touched. Records of which the changes themselves are damaged are listed;
// they stay as they are, and the others are not concerned: RepairFrom has them healed by
// a peer.
func (r *Replica) Repair(ctx context.Context) (Repaired, error) {
	return r.repair(ctx, (*batch).rewrite)
}

// RepairFrom is Repair, and fetches what is damaged from a peer. Of a record with damaged
// changes these are taken out of the history. What can be read and builds on them waits
// in the file until they are back; the rest is shown, and sent, without them. Then follows
// a session with the peer, as of Sync, under the options given, which brings what is
// missing. What the peer does not have either is in Repaired.Lost: it comes with any later
// session with somebody who has it.
//
// An error of the session is returned beside what was repaired.
func (r *Replica) RepairFrom(ctx context.Context, link transport.Link, opts ...LinkOption) (Repaired, error) {
	var parted []crdt.Key
	done, err := r.repair(ctx, func(b *batch, k crdt.Key) error {
		apart, err := b.part(k)
		if apart {
			b.tx.OnCommit(func() { parted = append(parted, k) })
		}
		return err
	})
	done.Parted = parted
	if err != nil || len(done.Broken) > 0 {
		return done, err
	}
	r.reincarnate()
	var failed error
	done.Counts, failed = r.Sync(ctx, link, opts...)
	if done.Lost, err = r.Lost(ctx); err == nil {
		err = failed
	}
	return done, err
}

// repair finds what is wrong and has each record mended.
func (r *Replica) repair(ctx context.Context, mend func(*batch, crdt.Key) error) (Repaired, error) {
	done, err := r.mendAll(ctx, mend)
	if err != nil || !slices.ContainsFunc(done.Broken, func(p Problem) bool { return p.Kind == kindFile }) {
		return done, err
	}
	// It may be an index of SQLite's that does not fit its table.
	if err := r.store.Reindex(ctx); err != nil {
		return done, fmt.Errorf("repair: %w", translate(err))
	}
	again, err := r.mendAll(ctx, mend)
	again.Rewritten = append(done.Rewritten, again.Rewritten...)
	return again, err
}

// kindFile is the kind of a problem that SQLite finds.
const kindFile = "file"

// mendAll walks the file by both checks, the store's first: it reads rows that the other
// one cannot.
func (r *Replica) mendAll(ctx context.Context, mend func(*batch, crdt.Key) error) (done Repaired, err error) {
	for _, check := range []func(context.Context, func(Problem)) error{r.store.Check, r.Check} {
		done.Damaged, done.Broken = nil, nil // the second one finds them again
		var found worklist
		if err := check(ctx, found.add); err != nil {
			return done, fmt.Errorf("repair: %w", translate(err))
		}
		done.Broken = found.broken
		for _, k := range found.records {
			err := r.commit(ctx, 0, func(b *batch) error { return mend(b, k) })
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			if err != nil {
				done.Damaged = append(done.Damaged, Damage{k, err})
				continue
			}
			done.Rewritten = append(done.Rewritten, k)
		}
		if err := r.indexAnew(ctx, found.indexed); err != nil {
			return done, fmt.Errorf("repair: %w", translate(err))
		}
		r.digests.forget() // trees follow the log, in which this leaves nothing
	}
	return done, nil
}

// worklist is what a check found, each once.
type worklist struct {
	records []crdt.Key // to be mended
	indexed []string   // collections with an index that does not fit
	broken  []Problem  // the rest
	seen    map[crdt.Key]bool
}

func (l *worklist) add(p Problem) {
	switch {
	case p.Kind == "policy": // of the space's, which an author has to mend
	case p.Kind == "index":
		if !slices.Contains(l.indexed, p.Key.Collection) {
			l.indexed = append(l.indexed, p.Key.Collection)
		}
	case !mendable(p):
		l.broken = append(l.broken, p)
	case !l.seen[p.Key]:
		if l.seen == nil {
			l.seen = map[crdt.Key]bool{}
		}
		l.seen[p.Key] = true
		l.records = append(l.records, p.Key)
	}
}

// indexAnew has the indexes of the collections built anew, in the background.
func (r *Replica) indexAnew(ctx context.Context, collections []string) error {
	if len(collections) == 0 {
		return nil
	}
	err := r.commit(ctx, 0, func(b *batch) error {
		for _, name := range collections {
			all, err := b.tx.Indexes(name)
			if err != nil {
				return err
			}
			for _, x := range all {
				if _, err := b.tx.DropIndex(name, x.Field); err != nil {
					return err
				}
				if _, err := b.tx.EnsureIndex(name, x.Field); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		r.indexSoon()
	}
	return err
}

// mendable reports whether a problem is one of a record: of its row, or of its changes.
// Others are of the log, or of the file.
func mendable(p Problem) bool {
	switch p.Kind {
	case "row":
		return p.Key != crdt.Key{} && p.LSN == 0
	case "heads", "clock", "lsn", "record", "hash", "history", "sealed", "snapshot", kindPurged:
		return p.Key != crdt.Key{}
	}
	return false
}

// rewrite computes a record's row from its changes, or purges it again.
func (b *batch) rewrite(k crdt.Key) error {
	if again, err := b.purgeAgain(k); again || err != nil {
		return err
	}
	stored, indexed, err := b.tx.Spoiled(k)
	if err != nil {
		return err
	}
	if stored == nil {
		return ErrNotFound
	}
	if indexed {
		b.tx.OnCommit(b.w.r.indexSoon)
	}
	e := &entry{row: *stored}
	before := bytes.Clone(stored.JSON)
	if e.row.LSN, err = b.tx.FindLast(e.row.RID); err != nil {
		return err
	}
	if err := b.load(e); err != nil {
		return err
	}
	v, err := b.w.view(&b.tx.Reader, k.Collection)
	if err != nil {
		return err
	}
	if err := fillRow(&e.row, e.hist, v); err != nil {
		return err
	}
	if err := b.tx.PutRecord(&e.row); err != nil {
		return err
	}
	b.tx.OnCommit(func() {
		b.w.reset()
		b.w.r.tail.forget()
	})
	if bytes.Equal(before, e.row.JSON) {
		return nil
	}
	return b.tx.AddView(e.row.RID)
}
