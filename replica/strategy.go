package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// strategies are what a collection does about the peers, beside reading and writing the
// file. The zero value does nothing.
type strategies struct {
	save   waits
	delete waits
	fetch  FetchStrategy
}

// waits says that a write returns when its change set is on the disk of the peers.
type waits struct {
	remote  bool
	timeout time.Duration
}

// SaveStrategy says when Create, Put, Edit, Increment, Append, SetPath and PutAll of a
// collection return. The zero value is SaveOptimistic.
type SaveStrategy struct{ waits }

// SaveOptimistic has a write return when it is committed here. It goes out when there is
// a path. It is the default.
func SaveOptimistic() SaveStrategy { return SaveStrategy{} }

// SaveRemote has a write return when it is on the disk of the peers too: of all that
// count, see Replica.Outbox. It is committed here first, as always: that is the only
// acknowledgement there is, and nothing is sent that was not committed. Then the links
// are asked for a run, as SyncOnce does, and the peers for an acknowledgement.
//
// When timeout has passed (0 is no bound but the context's), the context ends, or there
// is no path, since the links are paused, cannot be dialled, or are none, the error is a
// *PendingError; when a peer refuses the change set, a *RefusedError that has the code.
// In both cases, and in no other, the record is written: it stays, and goes out later, or
// when the refusal does not hold any more. So they are no reason to write it again.
// Create returns the id with them, and PutAll counts the change sets that are durable
// here, whose last one is waited for.
func SaveRemote(timeout time.Duration) SaveStrategy { return SaveStrategy{waits{true, timeout}} }

// WithSave says when the collection's writes return. Those within an Update (Collection.In)
// return at once: the Update is waited for with UpdateLSN and WaitFor.
func WithSave(s SaveStrategy) CollectionOption {
	return func(o *collectionOptions) { o.save = s.waits }
}

// DeleteStrategy says when Delete of a collection returns. The zero value is DeleteNow.
type DeleteStrategy struct{ waits }

// DeleteNow has Delete return when the deletion is committed here. It is the default.
func DeleteNow() DeleteStrategy { return DeleteStrategy{} }

// DeleteRemote has Delete return when the peers that count have the deletion on their
// disks, with the errors of SaveRemote. The record is gone here before that, and also
// when it cannot be waited for: a deletion is a change like any other, which a peer can
// be sent only when it is committed. A record that is to stay until the peer has agreed
// needs a field that asks for it, and a peer that deletes.
func DeleteRemote(timeout time.Duration) DeleteStrategy {
	return DeleteStrategy{waits{true, timeout}}
}

// WithDelete says when the collection's Delete returns.
func WithDelete(s DeleteStrategy) CollectionOption {
	return func(o *collectionOptions) { o.delete = s.waits }
}

var (
	errTimeout  = fmt.Errorf("the time is up: %w", context.DeadlineExceeded)
	errNobody   = fmt.Errorf("no peer is connected: %w", ErrNoLinks)
	errNegative = errors.New("a time to wait cannot be negative")
)

// check reports strategies that make no sense.
func (s *strategies) check() error {
	if s.save.timeout < 0 || s.delete.timeout < 0 || s.fetch.timeout < 0 || s.fetch.pause < 0 {
		return errNegative
	}
	return nil
}

// update runs fn in an Update, and waits for the peers if w says so.
func (c *typed) update(ctx context.Context, w waits, fn func(tx *Tx) error) error {
	lsn, err := c.r.UpdateLSN(ctx, fn)
	if err != nil {
		return err
	}
	return c.r.waitRemote(ctx, w, lsn)
}

// kept reports whether what was written is committed all the same.
func kept(err error) bool {
	var pending *PendingError
	var refused *RefusedError
	return err == nil || errors.As(err, &pending) || errors.As(err, &refused)
}

// waitRemote has the links make a run and waits for the peers that count, if w says so.
// A run that fails ends the wait: there is no path.
func (r *Replica) waitRemote(ctx context.Context, w waits, lsn crdt.LSN) error {
	if !w.remote || lsn == 0 {
		return nil
	}
	ctx, done := bounded(ctx, w.timeout)
	defer done()
	ctx, stop := context.WithCancelCause(ctx)
	var run sync.WaitGroup
	defer run.Wait()
	defer stop(nil)
	run.Go(func() {
		err := r.runLinks(ctx)
		if err != nil && r.ctx.Err() != nil {
			err = ErrClosed
		}
		if err != nil {
			stop(err)
		}
	})
	err := r.WaitFor(ctx, lsn)
	var pending *PendingError
	if errors.As(err, &pending) { // what a run that failed has brought about may be newer than that
		if last := r.WaitFor(ctx, lsn); kept(last) {
			return last
		}
	}
	if !kept(err) {
		return &PendingError{LSN: lsn, Err: err}
	}
	return err
}

// runLinks has all links make a run, unless there are none and peers have dialled.
func (r *Replica) runLinks(ctx context.Context) error {
	err := r.SyncOnce(ctx)
	if !errors.Is(err, ErrNoLinks) {
		return err
	}
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	if len(r.sessions) == 0 {
		return errNobody
	}
	return nil
}

// bounded returns a context that ends after the timeout, unless it is 0.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, timeout, errTimeout)
}
