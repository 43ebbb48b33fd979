package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica/internal/compactor"
)

// Defaults of CompactOptions.
const (
	DefaultCompactBytes  = 64 << 10
	DefaultCompactMemory = 1 << 30
)

// compactGain is how many bytes a snapshot has to take the place of for each of
// its own.
const compactGain = 2

// CompactOptions tune Compact. The zero value, and nil, mean the defaults.
type CompactOptions struct {
	Key       crdt.Key // only this record, whatever its size; zero: all
	MinBytes  int64    // of changes that no snapshot holds, from which on a record is looked at; 0: DefaultCompactBytes
	MaxMemory int64    // that Automerge's core may take for one record, estimated; 0: DefaultCompactMemory; larger records are skipped
	Vacuum    bool     // write the file anew in the end, so that it shrinks, and keeps nothing of purged records; needs as much space again for a while
}

// Compaction says what Compact did.
type Compaction struct {
	Records   int            // to be looked at
	Done      int            // of them looked at
	Compacted int            // of these now in a snapshot
	Bytes     int64          // of changes that snapshots took the place of
	Snapshots int64          // bytes by which snapshots grew for that
	Skipped   map[string]int // the others, by reason
}

// Reasons for which Compact passes over a record.
const (
	SkipNoGain = "a snapshot would be no smaller than half the changes"
	SkipParked = "changes wait for others that they build on"
	SkipForked = "it is forked"
	SkipLarge  = "it would take too much memory"
	SkipRaced  = "it was compacted by somebody else meanwhile"
	SkipFailed = "the compacted document did not give the same history"
)

// Compact replaces the stored changes of records with a long history by a
// snapshot, one document chunk, which takes a fraction of the space. Nothing else
// changes: the same changes are read, sent and exported as before, byte by byte,
// in the same order. Each record is one transaction, made after the snapshot was
// read again and gave equal changes; whatever ends Compact early loses nothing.
//
// Other writers wait while one record's snapshot is written, not while it is
// made. A record is compacted again when what came since is as large as its
// snapshot. progress, which may be nil, is told after each record.
func (r *Replica) Compact(ctx context.Context, o *CompactOptions, progress func(Compaction)) (Compaction, error) {
	opts := o.withDefaults()
	k := compactor.New(opts.MaxMemory, 0)
	defer k.Close()
	done := Compaction{Skipped: map[string]int{}}
	keys, err := r.compactable(ctx, opts)
	if err != nil {
		return done, fmt.Errorf("compact: %w", translate(err))
	}
	done.Records = len(keys)
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if err := r.compactRecord(ctx, k, key, &done); err != nil {
			return done, recordError("compact", key, translate(err))
		}
		if done.Done++; progress != nil {
			progress(done)
		}
	}
	if opts.Vacuum {
		if err := r.unname(ctx); err != nil {
			return done, fmt.Errorf("compact: remove what is left of purged records: %w", translate(err))
		}
		if err := r.store.Vacuum(ctx); err != nil {
			return done, fmt.Errorf("compact: %w", translate(err))
		}
	}
	return done, nil
}

func (o *CompactOptions) withDefaults() CompactOptions {
	var d CompactOptions
	if o != nil {
		d = *o
	}
	if d.MinBytes <= 0 {
		d.MinBytes = DefaultCompactBytes
	}
	if d.MaxMemory <= 0 {
		d.MaxMemory = DefaultCompactMemory
	}
	return d
}

// compactable returns the records to be looked at.
func (r *Replica) compactable(ctx context.Context, o CompactOptions) (keys []crdt.Key, err error) {
	if o.Key != (crdt.Key{}) {
		return []crdt.Key{o.Key}, o.Key.Valid()
	}
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		for s, err := range rd.RawSizes(o.MinBytes) {
			if err != nil {
				return err
			}
			keys = append(keys, s.Key)
		}
		return nil
	})
	return keys, err
}

// long is a record's history as Compact reads it.
type long struct {
	rec     *persist.Record
	old     *persist.Snapshot
	covered int            // changes in old
	changes []*crdt.Change // all, in log order
}

func (r *Replica) compactRecord(ctx context.Context, k *compactor.Compactor, key crdt.Key, done *Compaction) error {
	l, skip, err := r.readLong(ctx, key)
	if err != nil {
		return err
	}
	var raw, grown int64
	if skip == "" {
		for _, c := range l.changes[l.covered:] {
			raw += int64(len(c.Raw()))
		}
		if l.old != nil && raw < int64(len(l.old.Document)) {
			skip = SkipNoGain
		}
	}
	if skip == "" {
		if grown, skip, err = r.snapshot(ctx, k, l, raw); err != nil {
			return err
		}
	}
	if skip != "" {
		done.Skipped[skip]++
		return nil
	}
	done.Compacted++
	done.Bytes += raw
	done.Snapshots += grown
	return nil
}

// readLong reads the record's changes, or says why it is not to be compacted.
func (r *Replica) readLong(ctx context.Context, key crdt.Key) (l *long, skip string, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		l, skip = &long{}, ""
		if l.rec, err = recordOf(rd, key); err != nil {
			return err
		}
		if err := missing(rd, key, l.rec); err != nil {
			return err
		}
		for f, err := range rd.ForksOf(key) {
			if err != nil || !f.Settled {
				skip = SkipForked
				return err
			}
		}
		for _, err := range rd.ParkedOn(key) {
			skip = SkipParked
			return err
		}
		if l.old, err = rd.Snapshot(l.rec.RID); err != nil {
			return err
		}
		if l.old != nil {
			covered, err := l.old.Changes()
			if err != nil {
				return err
			}
			l.covered = len(covered)
		}
		for c, err := range rd.ParsedChanges(l.rec.RID) {
			if err != nil {
				return err
			}
			l.changes = append(l.changes, c)
		}
		return isForgotten(rd, l.rec.RID)
	})
	return l, skip, err
}

// snapshot makes a snapshot of the record and stores it. It returns by how much
// the new one is larger than the old, or why there is none.
func (r *Replica) snapshot(ctx context.Context, k *compactor.Compactor, l *long, raw int64) (grown int64, skip string, err error) {
	doc, err := k.Compact(l.changes, l.rec.Heads)
	switch {
	case errors.Is(err, compactor.ErrTooLarge):
		return 0, SkipLarge, nil
	case errors.Is(err, compactor.ErrNoCore):
		return 0, "", err
	case err != nil:
		r.opts.Logger.Error("compact a record", logRecord, l.rec.Key.String(), logError, err)
		return 0, SkipFailed, nil
	}
	grown, had := int64(len(doc.Chunk)), crdt.LSN(0)
	if l.old != nil {
		grown -= int64(len(l.old.Document))
		had = l.old.LSN
	}
	if rows := len(l.changes) - l.covered; rows == 0 || raw < compactGain*grown {
		return 0, SkipNoGain, nil
	}
	err = r.commit(ctx, 0, func(b *batch) error {
		s := &persist.Snapshot{RID: l.rec.RID, LSN: l.rec.LSN, Document: doc.Chunk, Order: doc.Order}
		return b.tx.PutSnapshot(s, had, int64(len(l.changes)-l.covered))
	})
	if errors.Is(err, persist.ErrSuperseded) {
		return 0, SkipRaced, nil
	}
	return grown, "", err
}
