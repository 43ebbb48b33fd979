package persist_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

func refusalsOf(t *testing.T, s *persist.Store, peer int64) (all []*persist.Refusal) {
	t.Helper()
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error {
		for f, err := range r.Refusals(peer) {
			if err != nil {
				return err
			}
			all = append(all, f)
		}
		n, err := r.CountRefusals(peer)
		if peer != persist.AllPeers {
			require.EqualValues(t, len(all), n)
		}
		return err
	}))
	return all
}

func TestRefusals(t *testing.T) {
	s := open(t, tempPath(t), nil)
	refusal := func(id string, rights byte) *persist.Refusal {
		return &persist.Refusal{Key: crdt.Key{Collection: "tasks", ID: id}, Hash: crdt.Hash{1}, Rights: crdt.Hash{rights},
			LSN: 7, Code: "rights", Detail: "read only", Time: 8}
	}
	put := func(peer int64, all ...*persist.Refusal) {
		t.Helper()
		require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.PutRefusals(peer, all) }))
	}
	a, b, other := refusal("a", 1), refusal("b", 1), refusal("a", 1)
	put(1, a, b)
	put(2, other)
	require.Equal(t, []*persist.Refusal{a, b}, refusalsOf(t, s, 1), "one hash in two records is two changes")
	require.Equal(t, []*persist.Refusal{a, b, other}, refusalsOf(t, s, persist.AllPeers))

	again := refusal("a", 2)
	put(1, again)
	require.Equal(t, []*persist.Refusal{b, again}, refusalsOf(t, s, 1), "a later refusal takes the place of the earlier one")

	require.Equal(t, []*persist.Refusal{other}, refusalsOf(t, s, 2), "another peer's stays")
	require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.DropRefusal(other.ID) }))
	require.Empty(t, refusalsOf(t, s, 2))

	var many []*persist.Refusal
	for i := range persist.MaxRefusals {
		many = append(many, refusal(fmt.Sprint(i), 2))
	}
	put(1, many...)
	all := refusalsOf(t, s, 1)
	require.Len(t, all, persist.MaxRefusals)
	require.Equal(t, "0", all[0].Key.ID, "the oldest went")
}

func TestPeersOf(t *testing.T) {
	s := open(t, tempPath(t), nil)
	require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
		for _, p := range []persist.Peer{{Replica: crdt.ReplicaID{1}, Epoch: 1}, {Replica: crdt.ReplicaID{2}, Epoch: 1}, {Replica: crdt.ReplicaID{1}, Epoch: 2, Subject: "ann"}} {
			if err := tx.PutPeer(&p); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error {
		all, err := r.PeersOf(crdt.ReplicaID{1})
		require.Len(t, all, 2)
		require.Equal(t, "ann", all[1].Subject)
		return err
	}))
}
