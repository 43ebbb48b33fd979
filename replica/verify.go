package replica

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// VerifyResult says how this replica compares with a peer.
type VerifyResult struct {
	Peer        crdt.ReplicaID
	Keeper      bool              // the peer forgets nothing: see Options.Keeper
	Scopes      []transport.Scope // compared were the records in all of them; none: all records
	Records     int               // of these, here; deleted ones count
	Fingerprint string            // of their names and heads, here: 32 hex digits, the same for replicas that hold the same
	Differing   int               // records that differ
	Differences []Difference      // the first 100,000 of them, in no order
}

// Equal reports whether both replicas hold the same changes of the records that were
// compared.
func (v VerifyResult) Equal() bool { return v.Differing == 0 }

// Verify dials and compares this replica with the peer, as far as the peer lets it
// and the options say. Neither side changes, no change set is exchanged. A record that
// is written meanwhile may count as differing. progress, which may be nil, is told how
// many records are known to differ so far, now and then.
func (r *Replica) Verify(ctx context.Context, link transport.Link, progress func(differing int), opts ...LinkOption) (VerifyResult, error) {
	var v VerifyResult
	t, err := dialTerms(link, opts)
	if err == nil {
		t.verify, t.progress = &v, progress
		err = r.verify(ctx, link, t)
	}
	if err != nil {
		return v, &Error{Op: "verify", Peer: link.String(), Err: err}
	}
	return v, nil
}

func (r *Replica) verify(ctx context.Context, link transport.Link, t terms) error {
	conn, err := link.Dial(ctx)
	if err != nil {
		return err
	}
	s, err := r.run(ctx, conn, t)
	if err == nil && s.failed != nil {
		err = s.failed
	}
	if err == nil && !s.concluded {
		err = errors.New("the peer ended the session before all was compared")
	}
	return err
}

// verdict is what a run of Verify came to.
func (r *run) verdict(v *VerifyResult) {
	*v = VerifyResult{
		Peer: r.s.them.Replica, Keeper: slices.Contains(r.s.them.Knows, keepsAll), Scopes: r.of.wire(), Records: r.count, Fingerprint: hex.EncodeToString(r.root[:]),
		Differing: r.differing, Differences: r.left,
	}
	r.s.concluded = r.err == nil
}
