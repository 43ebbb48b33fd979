package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/godwitdb/godwit/transport"
)

// errDraining ends sessions of a replica that is being drained.
var errDraining = &protocolError{transport.CodeClosed, "this side is shutting down: come back later"}

// Drain ends all sessions without cutting them short: what a peer sent and this side
// has read is committed and acknowledged, what this side sent is acknowledged, and
// nothing more is sent; then the peer is told CodeClosed. New sessions are refused with
// that code, and connections are not made again. It returns when the sessions are over,
// or with the context's error; Close ends those that are left.
func (r *Replica) Drain(ctx context.Context) error {
	r.draining.Store(true)
	r.sessMu.Lock()
	for s := range r.sessions {
		s.poke()
	}
	r.sessMu.Unlock()
	for {
		r.sessMu.Lock()
		n := len(r.sessions)
		r.sessMu.Unlock()
		if n == 0 {
			signal(r.left) // for others who wait
			return nil
		}
		select {
		case <-r.left:
		case <-ctx.Done():
			return fmt.Errorf("drain: %d sessions are not over: %w", n, ctx.Err())
		}
	}
}

// drain ends a session in which nothing is under way any more. A set that was begun
// is sent to its end.
func (o *sender) drain(ctx context.Context) (more bool, err error) {
	if len(o.frames) > 0 && o.frames[0].Part > 0 {
		f := o.frames[0]
		o.frames = o.frames[1:]
		return true, o.ship(ctx, f)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.flight) > 0 || o.ack != nil || len(o.replies) > 0 || o.underWay.Load() > 0 {
		return false, nil
	}
	if !o.r.draining.Load() {
		return false, errLeft
	}
	return false, errDraining
}

// Drain ends the sessions of all spaces as Replica.Drain does, and refuses new ones.
// The spaces stay open.
func (h *Hub) Drain(ctx context.Context) error {
	h.mu.Lock()
	h.draining = true
	all := make([]*hosted, 0, len(h.spaces))
	for _, s := range h.spaces {
		s.users++
		all = append(all, s)
	}
	h.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			defer h.release(s)
			if <-s.ready; s.err == nil {
				errs[i] = s.r.Drain(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// refuse tells a peer why there is no session, if it is for its eyes.
func refuse(ctx context.Context, conn transport.Conn, cause error) {
	defer conn.Close()
	var told *transport.Error
	if errors.As(cause, &told) {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		_ = conn.Send(ctx, told)
	}
}

// Ready reports whether the hub does its work: it is open and not drained, its folder
// takes a file, and each open space a write transaction. It returns what is wrong.
func (h *Hub) Ready(ctx context.Context) error {
	h.mu.Lock()
	closed, draining := h.closed, h.draining
	h.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case draining:
		return errDraining
	}
	if err := writable(h.dir); err != nil {
		return fmt.Errorf("write to the folder of the spaces: %w", err)
	}
	var errs []error
	for _, s := range h.hold() {
		if err := s.r.commit(ctx, 0, func(*batch) error { return nil }); err != nil {
			errs = append(errs, fmt.Errorf("write to %s: %w", s.r.Path(), err))
		}
		h.release(s)
	}
	return errors.Join(errs...)
}

// writable writes a page to a file of its own, which it removes again.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".ready-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
