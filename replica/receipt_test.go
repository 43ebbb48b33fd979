package replica_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// receiptStates lists how far the changes of a record are, latest first, with the codes.
func receiptStates(t testing.TB, r *replica.Replica, id string) (all []string) {
	t.Helper()
	for c, err := range r.Receipts(context.Background(), key(id)) {
		require.NoError(t, err)
		require.Len(t, c.Peers, 1)
		state := string(c.Peers[0].State)
		if code := c.Peers[0].Code; code != "" {
			state += " " + code
		}
		all = append(all, state)
	}
	return all
}

// What waits at the peer for a change that it refused is no receipt, before a restart and
// after; once it has both, it is.
func TestParkedIsNoReceipt(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub := open(t, nil)
	grant := user("a-")
	admit(t, net, "hub", hub, grant)
	path := t.TempDir() + "/a.db"
	a, err := replica.Open(ctx, path, nil)
	require.NoError(t, err)
	link := net.Link("a", "hub")
	putAll(t, a, 1, "a-1")
	syncWith(t, a, link)
	putAll(t, a, 2, "a-1", "shared")
	last := putAll(t, a, 3, "a-1")
	require.Equal(t, 2, syncRefused(t, a, link))
	want := []string{"syncing parked", "failed rights", "synced"}
	failed := []string{"a-1 shared failed", "a-1 syncing"}
	for range 2 {
		require.Equal(t, []string{"shared: rights"}, refusals(t, a))
		require.Equal(t, failed, outbox(t, a, replica.OutboxFilter{}))
		states := receiptStates(t, a, "a-1")
		states[1] = "failed rights" // the change at fault is the other record's
		require.Equal(t, want, states)
		e, err := a.Explain(ctx, key("a-1"))
		require.NoError(t, err)
		require.False(t, e.Synced)
		require.Contains(t, e.String(), "waits there for another that it lacks")
		require.NoError(t, a.Close())
		a, err = replica.Open(ctx, path, nil)
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var pending *replica.PendingError
	require.ErrorAs(t, a.WaitFor(gone, last), &pending)

	grant.Write = notes("")
	require.Equal(t, 0, syncRefused(t, a, link))
	require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
	require.Equal(t, []string{"synced", "synced", "synced"}, receiptStates(t, a, "a-1"))
	require.NoError(t, a.WaitFor(gone, last))
	requireEqual(t, hub, a)
}

// holdingConn calls hold before each frame that it hands on, once the handshake is over.
type holdingLink struct {
	transport.Link
	hold func(transport.Frame)
}

func (l holdingLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return &holdingConn{c, l.hold}, err
}

type holdingConn struct {
	transport.Conn
	hold func(transport.Frame)
}

func (c *holdingConn) Send(ctx context.Context, f transport.Frame) error {
	c.hold(f)
	return c.Conn.Send(ctx, f)
}

// A refusal stands until the peer has the change: what is offered again when the rights
// allow it is not taken for synced before, whichever side asks, and however it ends.
func TestRefusalStandsUntilThePeerHasIt(t *testing.T) {
	for name, opts := range map[string][]replica.LinkOption{"both ways": nil, "push only": {replica.PushOnly()}} {
		t.Run(name, func(t *testing.T) {
			net, ctx := network(t), context.Background()
			hub, a := open(t, nil), open(t, nil)
			grant := user("a-")
			admit(t, net, "hub", hub, grant)
			putAll(t, a, 1, "a-1")
			putAll(t, a, 1, "shared")
			putAll(t, a, 1, "other")
			require.Equal(t, 2, syncRefused(t, a, net.Link("a", "hub"), opts...))

			grant.Write = notes("s")
			frames := 0
			link := holdingLink{net.Link("a", "hub"), func(transport.Frame) {
				frames++
				held := len(heldIDs(t, hub, "shared")) > 0
				for out, err := range a.Outbox(ctx, replica.OutboxFilter{ID: "shared", Collection: "notes", Synced: true}) {
					require.NoError(t, err)
					require.True(t, held || out.State == replica.SyncFailed, "%s, and the hub has it: %v", out.State, held)
				}
			}}
			_, err := a.Sync(ctx, link, opts...)
			require.Error(t, err, "the other one stays refused")
			require.Greater(t, frames, 3)
			require.NotEmpty(t, heldIDs(t, hub, "shared"))
			require.Contains(t, refusals(t, a), "other: rights")

			grant.Write = notes("")
			_, err = a.Sync(ctx, link, opts...)
			require.NoError(t, err)
			require.Empty(t, refusals(t, a))
			require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
			requireEqual(t, hub, a)
		})
	}
}

func heldIDs(t testing.TB, r *replica.Replica, id string) (found []string) {
	t.Helper()
	for _, have := range ids(t, r) {
		if have == id {
			found = append(found, have)
		}
	}
	return found
}

// A peer that has forgotten a record, and has not been sent what it lacks of it since both
// met last through a copy of a file, has no receipt for that: the next comparison finds it.
func TestForgottenStubIsNoReceipt(t *testing.T) {
	net, ctx := network(t), context.Background()
	b := open(t, nil)
	serve(t, net, "b", b)
	path := t.TempDir() + "/a.db"
	a, err := replica.Open(ctx, path, nil)
	require.NoError(t, err)
	putAll(t, a, 1, "1")
	syncWith(t, a, net.Link("a", "b"))
	old := closedCopy(t, a, path)
	a, err = replica.Open(ctx, path, nil)
	require.NoError(t, err)
	putAll(t, a, 1, "lost") // its place in the log is another one's later
	syncWith(t, a, net.Link("a", "b"))
	require.NoError(t, a.Close())
	old()
	_, err = b.ForgetUnasked(ctx, keysOf("1"))
	require.NoError(t, err)

	a = openAt(t, path, &replica.Options{ReconcileEvery: tick})
	putAll(t, a, 2, "1")
	live, err := a.Connect(net.Link("a", "b"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return slices.Equal([]string{"failed forgotten", "synced"}, receiptStates(t, a, "1"))
	}, wait, tick)
	require.NoError(t, live.Close())
	require.Equal(t, []string{"1 failed"}, outbox(t, a, replica.OutboxFilter{}))
	require.Empty(t, refusals(t, a))
	requireClean(t, a)
}

func keysOf(ids ...string) (keys []crdt.Key) {
	for _, id := range ids {
		keys = append(keys, key(id))
	}
	return keys
}

// closedCopy closes the replica, and returns what puts its file back to what it is now.
func closedCopy(t testing.TB, r *replica.Replica, path string) (restore func()) {
	t.Helper()
	require.NoError(t, r.Close())
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	return func() { require.NoError(t, os.WriteFile(path, old, 0o600)) }
}
