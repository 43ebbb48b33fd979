package replica_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// outbox lists it as "id: state".
func outbox(t testing.TB, r *replica.Replica, f replica.OutboxFilter) (all []string) {
	t.Helper()
	for out, err := range r.Outbox(context.Background(), f) {
		require.NoError(t, err)
		line := ""
		for _, k := range out.Records {
			line += k.ID + " "
		}
		all = append(all, line+string(out.State))
	}
	return all
}

// receipts lists how far the changes of a record are with the only peer, latest first.
func receipts(t testing.TB, r *replica.Replica, id string) (all []replica.SyncState) {
	t.Helper()
	for c, err := range r.Receipts(context.Background(), key(id)) {
		require.NoError(t, err)
		require.Len(t, c.Peers, 1)
		all = append(all, c.Peers[0].State)
	}
	return all
}

func TestOutboxFollowsFromWhatIsAcknowledged(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	put(t, hub, "theirs", `{"v":1}`)
	put(t, a, "1", `{"v":1}`)
	require.Equal(t, []string{"1 pending"}, outbox(t, a, replica.OutboxFilter{}), "no peer is known")
	require.Empty(t, slices.Collect(func(yield func(replica.PeerSync) bool) {
		for c := range a.Receipts(ctx, key("1")) {
			require.Empty(t, c.Peers)
		}
	}))

	syncWith(t, a, net.Link("a", "hub"))
	require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
	require.Equal(t, []string{"1 synced"}, outbox(t, a, replica.OutboxFilter{Synced: true}))
	put(t, a, "1", `{"v":2}`)
	require.NoError(t, a.Update(ctx, func(tx *replica.Tx) error {
		return errors.Join(tx.Put(key("2"), map[string]any{"v": int64(1)}), tx.Put(crdt.Key{Collection: "tasks", ID: "3"}, map[string]any{"v": int64(1)}))
	}))
	require.Equal(t, []string{"1 pending", "2 3 pending"}, outbox(t, a, replica.OutboxFilter{}))
	require.Equal(t, []string{"2 3 pending"}, outbox(t, a, replica.OutboxFilter{Collection: "tasks"}))
	require.Equal(t, []string{"1 pending"}, outbox(t, a, replica.OutboxFilter{Collection: "notes", ID: "1"}))
	require.Equal(t, []string{"1 synced", "1 pending", "2 3 pending"}, outbox(t, a, replica.OutboxFilter{Synced: true}))
	require.Equal(t, []replica.SyncState{replica.SyncPending, replica.SyncSynced}, receipts(t, a, "1"))
	require.Equal(t, []replica.SyncState{replica.SyncSynced}, receipts(t, a, "theirs"), "who sent it has it")

	require.NoError(t, a.ClearOutbox(ctx))
	require.Equal(t, []string{"1 pending", "2 3 pending"}, outbox(t, a, replica.OutboxFilter{Synced: true}), "only what is acknowledged is cleared")
	syncWith(t, a, net.Link("a", "hub"))
	put(t, a, "4", `{"v":1}`)
	require.Equal(t, []string{"4 pending"}, outbox(t, a, replica.OutboxFilter{Synced: true}))
	require.Equal(t, []replica.SyncState{replica.SyncSynced, replica.SyncSynced}, receipts(t, a, "1"))

	for _, err := range a.Receipts(ctx, key("none")) {
		require.ErrorIs(t, err, replica.ErrNotFound)
	}
	require.NoError(t, a.Close())
	for _, err := range a.Outbox(ctx, replica.OutboxFilter{}) {
		require.ErrorIs(t, err, replica.ErrClosed)
	}
	require.ErrorIs(t, a.WaitFor(ctx, 1), replica.ErrClosed)
}

func TestOutboxSaysWhyNothingIsSent(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, a := open(t, nil), open(t, nil)
	put(t, a, "1", `{"v":1}`)
	c, err := a.Connect(net.Link("a", "hub"))
	require.NoError(t, err)
	for out, err := range a.WatchOutbox(ctx, replica.OutboxFilter{}) {
		require.NoError(t, err)
		require.Equal(t, replica.SyncPending, out.State)
		if len(out.Peers) == 1 && out.Peers[0].Attempts > 0 {
			p := out.Peers[0]
			require.Equal(t, net.Link("a", "hub").String(), p.Link)
			require.NotEmpty(t, p.LastError)
			require.False(t, p.Next.IsZero())
			require.Zero(t, p.Peer)
			break
		}
	}
	require.NoError(t, c.Close())
	serve(t, net, "hub", hub)
	syncWith(t, a, net.Link("a", "hub"))
	require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
	require.Equal(t, []string{"1 pending"}, outbox(t, a, replica.OutboxFilter{Peers: []crdt.ReplicaID{{1}}}), "somebody else counts")
}

// A refused change set is listed with the reason, also when the peer has read on.
func TestOutboxListsRefusals(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, a := open(t, nil), open(t, nil)
	admit(t, net, "hub", hub, user("a-"))
	lsn, err := a.UpdateLSN(ctx, func(tx *replica.Tx) error {
		return errors.Join(tx.Put(key("a-1"), map[string]any{"v": int64(1)}), tx.Put(key("shared"), map[string]any{"v": int64(1)}))
	})
	require.NoError(t, err)
	require.EqualValues(t, 2, lsn)
	put(t, a, "a-2", `{"v":1}`)
	require.Equal(t, 1, syncRefused(t, a, net.Link("a", "hub")))
	require.Equal(t, []string{"a-1 shared failed"}, outbox(t, a, replica.OutboxFilter{}))
	for out, err := range a.Outbox(ctx, replica.OutboxFilter{}) {
		require.NoError(t, err)
		require.Equal(t, transport.CodeRights, out.Peers[0].Code)
		require.Equal(t, hub.ID(), out.Peers[0].Peer)
	}
	require.Equal(t, []replica.SyncState{replica.SyncFailed}, receipts(t, a, "shared"))
	var refused *replica.RefusedError
	require.ErrorAs(t, a.WaitFor(ctx, lsn), &refused)
	require.Equal(t, hub.ID(), refused.Peer.Peer)
	require.NoError(t, a.WaitFor(ctx, 3, hub.ID()))
}

// A watcher that looks up when all is over is told of every state that lay between, also
// of what was written meanwhile, and of a refusal.
func TestWatchOutboxLeavesNoStateOut(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, a := open(t, nil), open(t, nil)
	admit(t, net, "hub", hub, user("a-"))
	put(t, a, "a-0", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	put(t, a, "a-1", `{"v":1}`)
	var got []string
	for out, err := range a.WatchOutbox(ctx, replica.OutboxFilter{Collection: "notes"}) {
		require.NoError(t, err)
		require.Equal(t, out.State, out.Peers[0].State)
		got = append(got, out.Records[0].ID+" "+string(out.State))
		if len(got) == 1 {
			put(t, a, "a-2", `{"v":1}`)
			put(t, a, "not mine", `{"v":1}`)
			require.Equal(t, 1, syncRefused(t, a, net.Link("a", "hub")))
			put(t, a, "a-3", `{"v":1}`)
		}
		if len(got) == 10 {
			break
		}
	}
	require.Equal(t, []string{"a-1 pending", "a-1 syncing", "a-1 synced", "a-2 pending", "a-2 syncing", "a-2 synced",
		"not mine pending", "not mine syncing", "not mine failed", "a-3 pending"}, got)

	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	got = nil
	for out, err := range a.WatchOutbox(ended, replica.OutboxFilter{}) {
		require.NoError(t, err)
		if got = append(got, out.Records[0].ID+" "+string(out.State)); len(got) == 2 {
			cancel()
		}
	}
	require.Equal(t, []string{"not mine failed", "a-3 pending"}, got, "as it is when the loop begins")
}

// WaitFor returns when the peer has it, and says that it is pending when the wait ends.
func TestWaitFor(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, a := open(t, nil), open(t, nil)
	require.NoError(t, a.WaitFor(ctx, 0), "nothing was written")
	require.ErrorContains(t, a.WaitFor(ctx, 1), "does not reach to 1")
	lsn, err := a.UpdateLSN(ctx, func(tx *replica.Tx) error { return tx.Put(key("1"), map[string]any{"v": int64(1)}) })
	require.NoError(t, err)
	none, err := a.UpdateLSN(ctx, func(*replica.Tx) error { return nil })
	require.NoError(t, err)
	require.Zero(t, none)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	var pending *replica.PendingError
	err = a.WaitFor(gone, lsn, hub.ID())
	require.ErrorAs(t, err, &pending)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []replica.PeerSync{{Peer: hub.ID(), State: replica.SyncPending}}, pending.Peers)
	require.Equal(t, `{"v":1}`, get(t, a, "1"))

	waiting := make(chan error, 1)
	go func() { waiting <- a.WaitFor(ctx, lsn, hub.ID()) }()
	serve(t, net, "hub", hub)
	c, err := a.Connect(net.Link("a", "hub"))
	require.NoError(t, err)
	require.NoError(t, <-waiting)
	require.Equal(t, `{"v":1}`, get(t, hub, "1"))
	require.NoError(t, a.WaitFor(gone, lsn), "what is there needs no waiting")

	head, err := a.Head(ctx)
	require.NoError(t, err)
	require.Equal(t, lsn, head.LSN)
	require.NoError(t, c.Close())
	put(t, a, "1", `{"v":2}`)
	go func() { waiting <- a.WaitFor(ctx, lsn+1) }()
	require.NoError(t, a.Close())
	err = <-waiting
	require.ErrorIs(t, err, replica.ErrClosed)
}

// Acknowledgements of a live stream are held back; not when somebody waits for one.
func TestWaitForIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, ctx := network(t), context.Background()
		hub, a := open(t, nil), open(t, nil)
		serve(t, net, "hub", hub)
		c, err := a.Connect(net.Link("a", "hub"))
		require.NoError(t, err)
		put(t, a, "1", `{"v":0}`)
		require.NoError(t, a.WaitFor(ctx, 1))
		time.Sleep(10 * time.Second) // the streams are live
		begin := time.Now()
		for i := range 10 {
			lsn, err := a.UpdateLSN(ctx, func(tx *replica.Tx) error { return tx.Put(key("1"), map[string]any{"v": int64(i)}) })
			require.NoError(t, err)
			if i%2 == 0 {
				synctest.Wait() // it was sent before anybody waits
			}
			require.NoError(t, a.WaitFor(ctx, lsn, hub.ID()))
		}
		require.Zero(t, time.Since(begin))
		require.NoError(t, c.Close())
	})
}

// frames counts the Changes frames with sets in them that come in.
type framesLink struct {
	transport.Link
	mu   sync.Mutex // guards what follows
	sets []int      // of each frame
}

func (l *framesLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return &framesConn{c, l}, err
}

type framesConn struct {
	transport.Conn
	l *framesLink
}

func (c *framesConn) Send(ctx context.Context, f transport.Frame) error {
	if f, ok := f.(*transport.Changes); ok && len(f.Packed)+len(f.Sets) > 0 {
		c.l.mu.Lock()
		c.l.sets = append(c.l.sets, len(f.Packed))
		c.l.mu.Unlock()
	}
	return c.Conn.Send(ctx, f)
}

// Edits of a record that were made offline go out together: one frame has them all, and
// another one says that this was all.
func TestOfflineEditsGoInOneExchange(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	for i := range 20 {
		put(t, a, "1", `{"v":`+string(rune('0'+i%10))+`}`)
	}
	link := &framesLink{Link: net.Link("a", "hub")}
	n := syncWith(t, a, link)
	require.Equal(t, 20, n.ChangesSent)
	require.Len(t, link.sets, 2)
	requireEqual(t, hub, a)
}

// greetingLink holds back all that the peer says after the handshake.
type greetingLink struct {
	transport.Link
	shaken chan struct{} // closed when it is over
}

func (l greetingLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return &greetedConn{Conn: c, shaken: l.shaken}, err
}

type greetedConn struct {
	transport.Conn
	heard  int
	shaken chan struct{}
}

func (c *greetedConn) Recv(ctx context.Context) (transport.Frame, error) {
	if c.heard++; c.heard <= 3 { // hello, ack, changes
		return c.Conn.Recv(ctx)
	}
	close(c.shaken)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A file that was put back to what it was has another log than the peer has read. Until
// they have reconciled, nothing of it is known to be there.
func TestNoReceiptsBeforeReconciliation(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	path := filepath.Join(t.TempDir(), "restored.db")
	a, err := replica.Open(ctx, path, nil)
	require.NoError(t, err)
	put(t, a, "1", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	require.NoError(t, a.Close())
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	a, err = replica.Open(ctx, path, nil)
	require.NoError(t, err)
	put(t, a, "lost", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	require.NoError(t, a.Close())
	require.NoError(t, os.WriteFile(path, old, 0o600))

	a = openAt(t, path, nil)
	put(t, a, "2", `{"v":1}`)
	shaken := make(chan struct{})
	c, err := a.Connect(greetingLink{net.Link("a", "hub"), shaken})
	require.NoError(t, err)
	<-shaken
	require.Equal(t, []string{"1 syncing", "2 syncing"}, outbox(t, a, replica.OutboxFilter{}))
	require.NoError(t, c.Close())
	require.Equal(t, []string{"1 pending", "2 pending"}, outbox(t, a, replica.OutboxFilter{}))
	syncWith(t, a, net.Link("a", "hub"))
	require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
	requireEqual(t, hub, a)
}
