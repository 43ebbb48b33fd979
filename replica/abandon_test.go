package replica_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// guarded is a hub at which others read all notes and write those with a prefix.
func guarded(t testing.TB, net *memlink.Network, name string, o *replica.Options) *replica.Replica {
	t.Helper()
	hub := open(t, o)
	admit(t, net, name, hub, &transport.Grant{Subject: "a", Read: transport.Everything(), Write: notes("a-")})
	return hub
}

func putAll(t testing.TB, r *replica.Replica, v int64, ids ...string) (lsn crdt.LSN) {
	t.Helper()
	lsn, err := r.UpdateLSN(context.Background(), func(tx *replica.Tx) error {
		for _, id := range ids {
			if err := tx.Put(key(id), map[string]any{"v": v}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return lsn
}

func abandon(t testing.TB, r *replica.Replica, ids ...string) replica.Abandoned {
	t.Helper()
	var keys []crdt.Key
	for _, id := range ids {
		keys = append(keys, key(id))
	}
	done, err := r.Abandon(context.Background(), keys, nil)
	require.NoError(t, err)
	return done
}

// requireSame compares as a peer that trusts nobody would.
func requireSame(t testing.TB, r *replica.Replica, link transport.Link) {
	t.Helper()
	v, err := r.Verify(context.Background(), link, nil)
	require.NoError(t, err)
	require.True(t, v.Equal(), "%+v", v.Differences)
}

func requireAbsent(t testing.TB, r *replica.Replica, id string) {
	t.Helper()
	ctx := context.Background()
	_, err := r.Get(ctx, key(id))
	require.ErrorIs(t, err, replica.ErrNotFound)
	_, err = r.History(ctx, key(id))
	require.ErrorIs(t, err, replica.ErrNotFound)
	_, err = r.Heads(ctx, key(id))
	require.ErrorIs(t, err, replica.ErrNotFound)
	for _, err := range r.Receipts(ctx, key(id)) {
		require.ErrorIs(t, err, replica.ErrNotFound)
	}
	e, err := r.Explain(ctx, key(id))
	require.NoError(t, err)
	require.Equal(t, replica.ReasonAbsent, e.Reasons[0].Code)
	require.NotContains(t, ids(t, r), id)
}

// What was refused is withdrawn with what builds on it, over records that share a change
// set; both sides are equal then, and what is written from then on arrives.
func TestAbandon(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub := guarded(t, net, "hub", nil)
	put(t, hub, "shared", `{"v":0}`)
	path := filepath.Join(t.TempDir(), "a.db")
	a, err := replica.Open(ctx, path, nil)
	require.NoError(t, err)
	link := net.Link("a", "hub")
	putAll(t, a, 1, "a-1")
	syncWith(t, a, link)
	putAll(t, a, 1, "shared")
	putAll(t, a, 2, "a-1", "shared")
	putAll(t, a, 3, "a-1") // waits at the hub
	putAll(t, a, 1, "new")
	putAll(t, a, 1, "a-2")
	require.Equal(t, 4, syncRefused(t, a, link))
	v, err := a.Verify(ctx, link, nil)
	require.NoError(t, err)
	require.False(t, v.Equal())

	done := abandon(t, a, "shared")
	require.Equal(t, replica.Abandoned{Changes: 4, Records: []crdt.Key{key("shared"), key("a-1")}}, done)
	require.Equal(t, []string{"new failed"}, outbox(t, a, replica.OutboxFilter{}))
	require.Equal(t, `{"v":1}`, get(t, a, "a-1"))
	require.Equal(t, `{"v":0}`, get(t, a, "shared"))
	require.Equal(t, []string{"new: rights"}, refusals(t, a))
	requireClean(t, a)
	abandon(t, a, "new")
	requireAbsent(t, a, "new")
	require.Empty(t, refusals(t, a))
	require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
	requireSame(t, a, link)
	requireSame(t, hub, serveLink(t, net, "a", a))
	requireEqual(t, hub, a)

	require.NoError(t, a.Close())
	a = openAt(t, path, nil)
	requireAbsent(t, a, "new")
	requireEqual(t, hub, a)
	putAll(t, a, 4, "a-1")
	require.Equal(t, 0, syncRefused(t, a, link))
	require.Equal(t, `{"v":4}`, get(t, hub, "a-1"))
	putAll(t, a, 5, "new") // refused again, and given up again
	require.Equal(t, 1, syncRefused(t, a, link))
	require.Equal(t, `{"v":5}`, get(t, a, "new"))
	abandon(t, a, "new")
	put(t, hub, "new", `{"v":6}`)
	syncWith(t, a, link)
	require.Equal(t, `{"v":6}`, get(t, a, "new"))
	requireSame(t, a, link)
	requireEqual(t, hub, a)
}

// serveLink has the replica served, and returns a link to it.
func serveLink(t testing.TB, net *memlink.Network, name string, r *replica.Replica) transport.Link {
	t.Helper()
	serve(t, net, "serving "+name, r)
	return net.Link("to "+name, "serving "+name)
}

// The numbers of what was withdrawn are not given out again, within one opening.
func TestEditsAfterAbandon(t *testing.T) {
	net := network(t)
	hub := guarded(t, net, "hub", nil)
	a := open(t, nil)
	link := net.Link("a", "hub")
	putAll(t, a, 1, "a-1")
	syncWith(t, a, link)
	putAll(t, a, 2, "a-1", "shared")
	putAll(t, a, 3, "a-1") // waits at the hub
	require.Equal(t, 2, syncRefused(t, a, link))
	before := lastActor(t, a, "a-1")
	abandon(t, a, "shared")
	putAll(t, a, 4, "a-1")
	require.NotEqual(t, before, lastActor(t, a, "a-1"))
	putAll(t, a, 5, "a-1")
	syncWith(t, a, link)
	require.Equal(t, `{"v":5}`, get(t, hub, "a-1"))
	forks, err := hub.Forks(context.Background())
	require.NoError(t, err)
	require.Empty(t, forks)
	requireSame(t, a, link)
	requireEqual(t, hub, a)
}

// What is to be kept is written anew, in the same transaction; a failure leaves all as it
// was.
func TestAbandonKeeps(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub := guarded(t, net, "hub", nil)
	a := open(t, nil)
	link := net.Link("a", "hub")
	putAll(t, a, 1, "shared")
	require.Equal(t, 1, syncRefused(t, a, link))
	sorry := errors.New("sorry")
	_, err := a.Abandon(ctx, []crdt.Key{key("shared")}, func(tx *replica.Tx) error {
		_, err := tx.Get(key("shared"))
		require.ErrorIs(t, err, replica.ErrNotFound)
		return sorry
	})
	require.ErrorIs(t, err, sorry)
	require.Equal(t, []string{"shared failed"}, outbox(t, a, replica.OutboxFilter{}))
	require.Equal(t, `{"v":1}`, get(t, a, "shared"))
	require.Equal(t, 1, syncRefused(t, a, link))

	done, err := a.Abandon(ctx, []crdt.Key{key("shared")}, func(tx *replica.Tx) error {
		return tx.Put(key("a-shared"), map[string]any{"v": int64(1)})
	})
	require.NoError(t, err)
	require.Equal(t, 1, done.Changes)
	require.Equal(t, []string{"a-shared pending"}, outbox(t, a, replica.OutboxFilter{}))
	syncWith(t, a, link)
	require.Equal(t, `{"v":1}`, get(t, hub, "a-shared"))
	requireEqual(t, hub, a)
}

func TestAbandonRefuses(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, friend := guarded(t, net, "hub", nil), open(t, nil)
	serve(t, net, "friend", friend)
	a := open(t, nil)
	putAll(t, a, 1, "a-1")
	putAll(t, a, 1, "shared")
	putAll(t, a, 2, "a-1", "both")
	require.Equal(t, 2, syncRefused(t, a, net.Link("a", "hub")))
	for _, id := range []string{"a-2", "none"} {
		_, err := a.Abandon(ctx, []crdt.Key{key("shared"), key(id)}, nil)
		require.ErrorIs(t, err, replica.ErrNotRefused)
		require.ErrorContains(t, err, "notes/"+id)
	}
	_, err := a.Abandon(ctx, []crdt.Key{{}}, nil)
	require.Error(t, err)

	syncWith(t, a, net.Link("a", "friend"))
	var held *replica.HeldError
	_, err = a.Abandon(ctx, []crdt.Key{key("shared")}, nil)
	require.ErrorAs(t, err, &held)
	require.Equal(t, replica.HeldError{Key: key("shared"), Hash: heads(t, a, "shared")[0], Peer: friend.ID()}, *held)
	require.Equal(t, []string{"shared failed", "a-1 both failed"}, outbox(t, a, replica.OutboxFilter{}))

	// The friend hands it on to a hub that does not take it either; nor does it give it up.
	second := guarded(t, net, "second", nil)
	require.Equal(t, 3, syncRefused(t, friend, net.Link("friend", "second")), "it has no right to relay")
	_, err = friend.Abandon(ctx, []crdt.Key{key("shared")}, nil)
	require.ErrorAs(t, err, &held)
	require.Equal(t, a.ID(), held.Peer)
	requireEqual(t, a, friend)
	requireClean(t, second)
	requireClean(t, hub)
}

// Who holds only what nobody refused of a record keeps nothing from being abandoned.
func TestAbandonWhatOneOfTwoRefused(t *testing.T) {
	net := network(t)
	hub, friend := guarded(t, net, "hub", nil), open(t, nil)
	serve(t, net, "friend", friend)
	a := open(t, nil)
	putAll(t, a, 1, "a-1")
	syncWith(t, a, net.Link("a", "friend"))
	putAll(t, a, 2, "a-1", "shared")
	require.Equal(t, 1, syncRefused(t, a, net.Link("a", "hub")))
	abandon(t, a, "shared")
	putAll(t, a, 3, "a-1")
	syncWith(t, a, net.Link("a", "friend"))
	syncWith(t, a, net.Link("a", "hub"))
	requireEqual(t, hub, friend, a)
	require.Equal(t, `{"v":3}`, get(t, hub, "a-1"))
}

// What was abandoned and comes back, in a file, is taken like anything else.
func TestAbandonedComesBack(t *testing.T) {
	net := network(t)
	hub := guarded(t, net, "hub", &replica.Options{Space: "crew"})
	a := open(t, &replica.Options{Space: "crew"})
	link := net.Link("a", "hub")
	putAll(t, a, 1, "a-1")
	putAll(t, a, 2, "a-1", "shared")
	putAll(t, a, 3, "shared")
	require.Equal(t, 2, syncRefused(t, a, link))
	b := open(t, nil)
	file, _ := writeBundle(t, a, nil)
	_, err := applyBundle(t, b, file)
	require.NoError(t, err)
	before := contents(t, a)
	abandon(t, a, "shared")
	requireSame(t, a, link)
	serve(t, net, "b", b)
	syncWith(t, a, net.Link("a", "b"))
	require.Equal(t, before, contents(t, a))
	requireEqual(t, a, b)
	putAll(t, a, 4, "shared")
	require.Equal(t, 3, syncRefused(t, a, link))
	requireClean(t, a)
	requireClean(t, hub)
}

// Another process that has the file open writes on under a new incarnation too, and
// compares without what was abandoned.
func TestAbandonInAnotherProcess(t *testing.T) {
	net := network(t)
	hub := guarded(t, net, "hub", nil)
	path := filepath.Join(t.TempDir(), "a.db")
	a, b := openAt(t, path, nil), openAt(t, path, nil)
	link := net.Link("a", "hub")
	putAll(t, a, 1, "a-1")
	syncWith(t, a, link)
	putAll(t, a, 2, "a-1", "shared")
	putAll(t, a, 3, "a-1")
	require.Equal(t, 2, syncRefused(t, a, link))
	v, err := a.Verify(t.Context(), link, nil)
	require.NoError(t, err)
	require.False(t, v.Equal())
	before := lastActor(t, a, "a-1")
	abandon(t, b, "shared")
	requireSame(t, a, link)
	putAll(t, a, 4, "a-1")
	require.NotEqual(t, before, lastActor(t, a, "a-1"))
	require.Equal(t, 0, syncRefused(t, a, link))
	require.Equal(t, `{"v":4}`, get(t, hub, "a-1"))
	requireEqual(t, hub, a, b)
}

// Watchers hear of it, also those of the outbox; who waits is told.
func TestAbandonIsTold(t *testing.T) {
	net, ctx := network(t), context.Background()
	guarded(t, net, "hub", nil)
	a := open(t, nil)
	putAll(t, a, 1, "a-1")
	lsn := putAll(t, a, 2, "shared", "a-1")
	require.Equal(t, 1, syncRefused(t, a, net.Link("a", "hub")))

	watched, stop := context.WithCancel(ctx)
	defer stop()
	waiting, seen := make(chan error, 1), make(chan replica.Event, 1)
	go func() { waiting <- a.WaitFor(ctx, lsn, crdt.ReplicaID{1}) }()
	events := a.WatchRecord(watched, key("shared"))
	go func() {
		for ev := range events {
			seen <- ev
			return
		}
	}()
	var got []string
	for out, err := range a.WatchOutbox(ctx, replica.OutboxFilter{}) {
		require.NoError(t, err)
		require.Len(t, out.Records, 2)
		require.Equal(t, lsn, out.LSN)
		if got = append(got, string(out.State)); len(got) == 2 {
			break
		}
		abandon(t, a, "a-1")
	}
	require.Equal(t, []string{"failed", "abandoned"}, got)
	require.ErrorIs(t, <-waiting, replica.ErrWithdrawn)
	require.ErrorIs(t, a.WaitFor(ctx, lsn), replica.ErrWithdrawn)
	ev := <-seen
	require.Equal(t, replica.EventView, ev.Kind)
	require.True(t, ev.Deleted)
}

// A policy for the space that only admins may set ceases to count.
func TestAbandonPolicy(t *testing.T) {
	net, ctx := network(t), context.Background()
	guarded(t, net, "hub", nil)
	a := open(t, nil)
	putAll(t, a, 1, "a-1")
	require.NoError(t, a.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLWW}, nil))
	_, err := a.Sync(ctx, net.Link("a", "hub"))
	require.Error(t, err)
	list, err := a.Refusals(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = a.Abandon(ctx, []crdt.Key{list[0].Key}, nil)
	require.NoError(t, err)
	p, err := a.Policy(ctx, "notes")
	require.NoError(t, err)
	require.NotEqual(t, crdt.ResolverLWW, p.Default)
	requireClean(t, a)
	requireSame(t, a, net.Link("a", "hub"))
}

// lastActor returns who wrote the latest change of a record.
func lastActor(t testing.TB, r *replica.Replica, id string) (last crdt.ActorID) {
	t.Helper()
	for c, err := range r.Receipts(context.Background(), key(id)) {
		require.NoError(t, err)
		return c.Actor
	}
	return last
}
