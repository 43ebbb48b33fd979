package replica

import (
	"context"
	"errors"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Fetch dials once and gets what the peer holds of the records, at most
// transport.MaxSelectors of them, and nothing else but what godwit itself keeps in the
// space; it sends nothing. How far the replicas have read each other's logs stays as it
// was. A record that the peer does not have, or may not show, is no error, unless it was
// forgotten here: then it stays wanted, and comes back with the next session, from
// whoever has it.
func (r *Replica) Fetch(ctx context.Context, link transport.Link, keys ...crdt.Key) (Counts, error) {
	only := transport.Scope{}
	for _, k := range keys {
		if err := k.Valid(); err != nil {
			return Counts{}, recordError("fetch", k, err)
		}
		only.Only = append(only.Only, transport.Selector{Collection: k.Collection, ID: k.ID})
	}
	if err := r.wantBack(ctx, keys); err != nil {
		return Counts{}, &Error{Op: "fetch", Err: err}
	}
	counts, err := r.once(ctx, "fetch", link, []LinkOption{Only(only), PullOnly(), aside})
	if err != nil {
		return counts, err
	}
	return counts, r.areBack(ctx, link, keys)
}

// areBack returns an error if one of the records is still wanted.
func (r *Replica) areBack(ctx context.Context, link transport.Link, keys []crdt.Key) error {
	return translate(r.store.Read(ctx, func(rd *persist.Reader) error {
		for _, k := range keys {
			f, err := rd.ForgottenKey(k)
			if err != nil {
				return err
			}
			if f != nil {
				return &Error{Op: "fetch", Record: k, Peer: link.String(), Err: errors.New("the peer does not have all of it")}
			}
		}
		return nil
	}))
}

// aside has a session leave the cursors in both files alone. What it is to bring is
// reconciled; a peer that cannot do that sends its whole log for it.
func aside(t *terms) { t.aside = true }

// elsewhere is where the peer's log is read from in a session aside: nowhere, if what
// it is to bring can be had without.
func (s *session) elsewhere() crdt.Cursor {
	if s.ranges() {
		return s.them.Log
	}
	return crdt.Cursor{}
}
