package replica

import (
	"context"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Fetch dials once and gets what the peer holds of the records, at most
// transport.MaxSelectors of them, and nothing else but what godwit itself keeps in the
// space; it sends nothing. How far the replicas have read each other's logs stays as it
// was. A record that the peer does not have, or may not show, is no error.
func (r *Replica) Fetch(ctx context.Context, link transport.Link, keys ...crdt.Key) (Counts, error) {
	only := transport.Scope{}
	for _, k := range keys {
		if err := k.Valid(); err != nil {
			return Counts{}, recordError("fetch", k, err)
		}
		only.Only = append(only.Only, transport.Selector{Collection: k.Collection, ID: k.ID})
	}
	return r.once(ctx, "fetch", link, []LinkOption{Only(only), PullOnly(), aside})
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
