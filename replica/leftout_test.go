package replica_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// What a link does not carry is no receipt: while it is connected, after, and in another
// opening; not listed as waiting for somebody, and nobody waits for it. A wider link brings
// it, and only then it is synced.
func TestLeftOutIsNoReceipt(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	path := t.TempDir() + "/a.db"
	a, err := replica.Open(ctx, path, nil)
	require.NoError(t, err)
	link, only := net.Link("a", "hub"), replica.Only(notes("a-"))
	putAll(t, a, 1, "a-1")
	out := putAll(t, a, 1, "b-1")
	both := putAll(t, a, 2, "a-1", "b-1")
	last := putAll(t, a, 3, "a-1")
	syncWith(t, a, link, only)
	for range 2 {
		require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
		require.Equal(t, []string{"a-1 synced", "b-1 left out", "a-1 b-1 left out", "a-1 synced"}, outbox(t, a, replica.OutboxFilter{Synced: true}))
		require.Equal(t, []string{"synced", "synced", "synced"}, receiptStates(t, a, "a-1"))
		require.Equal(t, []string{"left out", "left out"}, receiptStates(t, a, "b-1"))
		require.NoError(t, a.WaitFor(ctx, last))
		for _, lsn := range []crdt.LSN{out, both} {
			var pending *replica.PendingError
			for _, peers := range [][]crdt.ReplicaID{nil, {hub.ID()}} {
				err := a.WaitFor(ctx, lsn, peers...)
				require.ErrorAs(t, err, &pending)
				require.ErrorIs(t, err, replica.ErrLeftOut)
			}
		}
		e, err := a.Explain(ctx, key("b-1"))
		require.NoError(t, err)
		require.False(t, e.Synced)
		require.Equal(t, replica.ReasonOutside, e.Reasons[len(e.Reasons)-1].Code)
		require.NoError(t, a.Close())
		a, err = replica.Open(ctx, path, nil)
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, a.Close()) })

	// Under the wider selection nothing of it is taken for synced before the hub has it.
	checked := 0
	wider := holdingLink{link, func(f transport.Frame) {
		checked++
		if len(heldIDs(t, hub, "b-1")) == 0 {
			require.Equal(t, []string{"left out", "left out"}, receiptStates(t, a, "b-1"))
		}
	}}
	syncWith(t, a, wider)
	require.Greater(t, checked, 3)
	require.Equal(t, []string{"synced", "synced"}, receiptStates(t, a, "b-1"))
	require.NoError(t, a.WaitFor(ctx, both))
	requireEqual(t, hub, a)
}
