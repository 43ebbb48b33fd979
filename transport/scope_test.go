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
