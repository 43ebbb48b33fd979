package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/transport"
)

// Accept speaks with a peer that has dialled, until one side ends the session
// or ctx does; the peer may do what grant says. It closes conn. A server is
// handed this function.
func (r *Replica) Accept(ctx context.Context, conn transport.Conn, grant transport.Grant) error {
	_, err := r.run(ctx, conn, terms{grant: grant, want: transport.Everything(), push: transport.Everything()})
	if errors.Is(err, transport.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, errDraining) {
		return nil
	}
	return err
}

// Sync dials once, exchanges change sets until both sides have everything the
// other had, and hangs up; options say less than everything. Changes that either side
// refused or parked make it return an *IncompleteError; the rest was exchanged
// nevertheless.
func (r *Replica) Sync(ctx context.Context, link transport.Link, opts ...LinkOption) (Counts, error) {
	return r.once(ctx, "sync", link, opts)
}

// once holds a session that ends by itself.
func (r *Replica) once(ctx context.Context, op string, link transport.Link, opts []LinkOption) (Counts, error) {
	t, err := dialTerms(link, opts)
	if err != nil {
		return Counts{}, &Error{Op: op, Peer: link.String(), Err: err}
	}
	return r.exchange(ctx, op, link, t)
}

// exchange does so under the terms, once they are made.
func (r *Replica) exchange(ctx context.Context, op string, link transport.Link, t terms) (Counts, error) {
	t.once = true
	conn, err := r.dial(ctx, link)
	if err != nil {
		return Counts{}, &Error{Op: op, Err: err} // it names the peer
	}
	s, err := r.run(ctx, conn, t)
	counts, err := s.outcome(err)
	if err != nil {
		err = &Error{Op: op, Peer: link.String(), Err: err}
	}
	return counts, err
}

// outcome returns what the session has moved, and why the sides are not equal after it,
// unless they are.
func (s *session) outcome(err error) (Counts, error) {
	counts := s.counts
	counts.Quarantined += s.lacking
	counts.Refused += s.owing
	switch {
	case err != nil:
		return counts, err
	case s.left && s.spent.Load():
		return counts, ErrLimit
	case s.left:
		return counts, errHalted
	case counts.Refused+counts.Quarantined > 0:
		return counts, &IncompleteError{Counts: counts, First: s.firstRefusal()}
	case s.unequal && s.unreconciled() == nil:
		return counts, errors.New("not known to be equal, says the peer (see verify)")
	}
	return counts, s.unreconciled()
}

// dial opens a connection. A failure is noted with the peers that the link led
// to before, for Status.
func (r *Replica) dial(ctx context.Context, link transport.Link) (transport.Conn, error) {
	conn, err := link.Dial(ctx)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	note := r.commit(ctx, 0, func(b *batch) error {
		peers, err2 := b.tx.Peers()
		if err2 != nil {
			return err2
		}
		for _, p := range peers {
			if p.Name != link.String() {
				continue
			}
			p.State, p.LastError, p.Attempts = StateDisconnected, err.Error(), p.Attempts+1
			if err := b.tx.PutPeer(&p); err != nil {
				return err
			}
		}
		return nil
	})
	return nil, errors.Join(err, note)
}

// IncompleteError says that a sync ended with changes that one side does not
// hold.
type IncompleteError struct {
	Counts Counts
	First  string // the first of them, for people; "" if this side refused them all
}

// Error counts what is missing.
func (e *IncompleteError) Error() string {
	s := fmt.Sprintf("not equal: the peer did not take %d changes, this side did not take %d (see doctor)",
		e.Counts.Refused, e.Counts.Quarantined)
	if e.First != "" {
		s += "; first: " + e.First
	}
	return s
}

func (s *session) firstRefusal() string {
	if len(s.refusals) == 0 {
		return ""
	}
	x := s.refusals[0]
	return fmt.Sprintf("%s/%s: %s", x.Collection, x.ID, x.Detail)
}

// permanent reports whether dialling again cannot help. What a proxy or the login page of a
// network answers says nothing of the peer behind it.
func permanent(err error) bool {
	var own *protocolError
	var dial *transport.DialError
	if errors.As(err, &dial) && dial.Doubtful {
		return false
	}
	code := transport.CodeOf(err)
	if errors.As(err, &own) {
		code = own.code
	}
	switch code {
	case transport.CodeToken, transport.CodeAuth, transport.CodeSpace, transport.CodeProtocol:
		return true
	}
	return false
}

// oneShot reports whether the link wants a session that ends by itself.
func oneShot(conn transport.Conn) bool {
	c, ok := conn.(transport.OneShot)
	return ok && c.OneShot()
}
