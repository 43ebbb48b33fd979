package transport_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

func only(s ...transport.Selector) transport.Scope { return transport.Scope{Only: s} }

func TestScopesMeet(t *testing.T) {
	keys := []crdt.Key{}
	for _, c := range []string{"tasks", "notes", "_godwit"} {
		for _, id := range []string{"a", "a-1", "a-12", "b"} {
			keys = append(keys, crdt.Key{Collection: c, ID: id})
		}
	}
	scopes := []transport.Scope{
		{}, transport.Everything(),
		only(transport.Selector{Collection: "tasks"}),
		only(transport.Selector{Prefix: "a-"}),
		only(transport.Selector{Collection: "notes", Prefix: "a-1"}, transport.Selector{Collection: "tasks", Prefix: "b"}),
		only(transport.Selector{Collection: "tasks", Prefix: "a-12"}, transport.Selector{Collection: "notes"}),
		only(transport.Selector{Collection: "tasks", ID: "a-1"}, transport.Selector{ID: "b"}),
		only(transport.Selector{Prefix: "a-1", ID: "a-12"}, transport.Selector{Collection: "tasks", ID: "b"}),
	}
	hashes := map[crdt.Hash]bool{}
	for _, s := range scopes {
		hashes[s.Hash()] = true
		for _, u := range scopes {
			for _, k := range keys {
				require.Equal(t, s.Covers(k) && u.Covers(k), s.And(u).Covers(k), "%v and %v: %v", s, u, k)
			}
		}
	}
	require.Len(t, hashes, len(scopes), "each has a name of its own")
	require.Zero(t, transport.Everything().Hash())
}

func TestRightsNameWhatMayBeWritten(t *testing.T) {
	full := transport.FullGrant()
	require.Zero(t, full.Rights())
	seen := map[crdt.Hash]bool{}
	for _, w := range []transport.Scope{{}, transport.Everything(), only(transport.Selector{Collection: "tasks"})} {
		for i := range 4 {
			seen[transport.Grant{Write: w, Relay: i&1 > 0, Admin: i&2 > 0}.Rights()] = true
		}
	}
	require.Len(t, seen, 12)
	full.Subject, full.Read = "ann", transport.Scope{}
	require.Zero(t, full.Rights(), "of writing alone")
}
