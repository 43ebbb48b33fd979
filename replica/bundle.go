package replica

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/bundle"
)

// ErrOtherLog says that a bundle goes on from one that is not of this log, or no longer:
// the file was restored from a backup since. Write a whole bundle then.
var ErrOtherLog = errors.New("the earlier bundle is not of this replica's log")

// WriteBundle writes the log behind an earlier bundle to w, or all of it if since is
// nil. Change sets of which something is damaged in this file are left out, which is
// logged. Sync with bundle.Link applies it elsewhere. progress, if not nil, is told how far
// it is, in positions of the log.
func (r *Replica) WriteBundle(ctx context.Context, w io.Writer, since *bundle.Info, progress func(done, total crdt.LSN)) (bundle.Info, error) {
	ctx, stop := r.scoped(ctx)
	defer stop()
	info, err := r.writeBundle(ctx, w, since, progress)
	if err != nil {
		return bundle.Info{}, &Error{Op: "write bundle", Err: err}
	}
	return info, nil
}

func (r *Replica) writeBundle(ctx context.Context, w io.Writer, since *bundle.Info, progress func(done, total crdt.LSN)) (info bundle.Info, err error) {
	hello := &transport.Hello{Protocol: transport.ProtocolVersion, Replica: r.id, Epoch: r.epoch}
	at := crdt.Cursor{Epoch: r.epoch}
	err = r.commit(ctx, 0, func(b *batch) (err error) { // it is shown what it will hold
		hello.Log = b.tx.Head()
		if hello.Space, err = b.tx.Space(); err == nil {
			err = b.tx.Show()
		}
		if err != nil || since == nil {
			return err
		}
		at = since.Through
		if known, ok := b.tx.CursorAt(at.LSN); at.LSN > 0 && (!ok || known != at) || since.Replica != r.id || at.Epoch != r.epoch {
			return ErrOtherLog
		}
		return nil
	})
	if err != nil {
		return info, err
	}
	if hello.Log.LSN == 0 {
		hello.Log = at
	}
	out, err := bundle.NewWriter(w, hello, at)
	for err == nil && at.LSN < hello.Log.LSN {
		if progress != nil {
			progress(at.LSN, hello.Log.LSN)
		}
		at, err = r.bundlePage(ctx, out, at, hello.Log)
	}
	if err != nil {
		return info, err
	}
	return out.Close()
}

// bundlePage writes the sets of one page of the log, and returns how far it reached.
func (r *Replica) bundlePage(ctx context.Context, out *bundle.Writer, at, end crdt.Cursor) (crdt.Cursor, error) {
	rows, err := r.tail.after(ctx, at.LSN, false)
	if err != nil {
		return at, err
	}
	if len(rows) == 0 {
		return at, fmt.Errorf("the log ends at %v, not at %v: run doctor", at, end)
	}
	f, size := &transport.Changes{From: at, Through: at}, 0
	emit := func() error {
		for _, part := range split(f) {
			if err := out.Write(part); err != nil {
				return err
			}
		}
		f, size = &transport.Changes{From: f.Through, Through: f.Through}, 0
		return nil
	}
	for len(rows) > 0 && rows[0].LSN <= end.LSN {
		n := setRows(rows)
		set := setOf(rows[:n], shown)
		if x := damagedOf(rows[:n], shown); x != nil {
			r.opts.Logger.Error("a change is not in the bundle", logRecord, x.Collection+"/"+x.ID, logError, x.Detail)
			set = transport.Set{}
		}
		if bytes := set.Size(); size > 0 && size+bytes > frameBytes || len(f.Sets) == setsPerFrame {
			if err := emit(); err != nil {
				return at, err
			}
		}
		if len(set.Members) > 0 {
			f.Sets, size = append(f.Sets, set), size+set.Size()
		}
		last := rows[n-1]
		f.Through = crdt.Cursor{Epoch: r.epoch, LSN: last.LSN, Chain: last.Chain}
		rows = rows[n:]
	}
	at = f.Through
	return at, emit()
}
