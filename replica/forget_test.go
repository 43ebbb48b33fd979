package replica_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

func forget(t testing.TB, r *replica.Replica, link transport.Link, ids ...string) replica.Forgetting {
	t.Helper()
	n, err := r.Forget(context.Background(), link, keys(ids...))
	require.NoError(t, err)
	return n
}

func keys(ids ...string) (all []crdt.Key) {
	for _, id := range ids {
		all = append(all, key(id))
	}
	return all
}

func fetch(t testing.TB, r *replica.Replica, link transport.Link, ids ...string) {
	t.Helper()
	_, err := r.Fetch(context.Background(), link, keys(ids...)...)
	require.NoError(t, err)
}

func requireForgotten(t testing.TB, r *replica.Replica, id string) {
	t.Helper()
	ctx := context.Background()
	_, err := r.Get(ctx, key(id))
	require.ErrorIs(t, err, replica.ErrForgotten)
	_, err = r.History(ctx, key(id))
	require.ErrorIs(t, err, replica.ErrForgotten)
	_, err = r.Export(ctx, key(id))
	require.ErrorIs(t, err, replica.ErrForgotten)
	err = r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key(id), map[string]any{"v": 99}) })
	require.ErrorIs(t, err, replica.ErrForgotten, "its sequence numbers would be given out twice")
}

func TestForget(t *testing.T) {
	net := network(t)
	path := filepath.Join(t.TempDir(), "a.db")
	hub, a := open(t, &replica.Options{Keeper: true}), openAt(t, path, nil)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	needle := strings.Repeat("needle", 9)
	put(t, a, "1", `{"v":"`+needle+`"}`)
	put(t, a, "1", `{"w":1}`)
	put(t, hub, "2", `{"v":1}`)
	put(t, a, "3", `{"v":1}`)
	syncOnly(t, a, link)
	heads, err := a.Heads(context.Background(), key("1"))
	require.NoError(t, err)

	n := forget(t, a, link, "1", "2", "4")
	require.Equal(t, replica.Forgetting{Forgotten: 2, Kept: map[crdt.Key]string{key("4"): replica.KeptUnknown}}, n)
	requireForgotten(t, a, "1")
	requireForgotten(t, a, "2")
	require.Equal(t, []string{"3"}, ids(t, a))
	stub, err := a.Heads(context.Background(), key("1"))
	require.NoError(t, err)
	require.Equal(t, heads, stub)
	compact(t, a, &replica.CompactOptions{Vacuum: true})
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(b), needle)
	requireClean(t, a)
	require.Equal(t, replica.Forgetting{Kept: map[crdt.Key]string{key("1"): replica.KeptAlready}}, forget(t, a, link, "1"))

	require.Equal(t, replica.Counts{}, moved(syncOnly(t, a, link)), "the stubs are equal")
	require.True(t, verify(t, a, link).Equal())
	require.Contains(t, get(t, hub, "1"), needle, "others keep it")

	fetch(t, a, link, "1", "2")
	requireEqual(t, hub, a)
	require.Equal(t, get(t, hub, "1"), get(t, a, "1"))
	requireClean(t, a)
	put(t, a, "1", `{"w":2}`)
	syncOnly(t, a, link)
	requireEqual(t, hub, a)
	requireClean(t, hub)
}

// TestForgottenRecordChanges edits records elsewhere that were forgotten here.
func TestForgottenRecordChanges(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	hub, a, c := open(t, &replica.Options{Keeper: true}), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	serve(t, net, "a", a)
	link := net.Link("a", "hub")
	for _, id := range []string{"1", "2", "3"} {
		put(t, a, id, `{"v":1}`)
	}
	syncOnly(t, a, link)
	forget(t, a, link, "1", "2")

	require.NoError(t, hub.Update(ctx, func(tx *replica.Tx) error { // one set: what is kept of it comes in
		for _, id := range []string{"1", "3"} {
			if err := tx.Put(key(id), map[string]any{"v": 2}); err != nil {
				return err
			}
		}
		return nil
	}))
	syncOnly(t, a, link)
	require.Equal(t, `{"v":2}`, get(t, a, "3"))
	requireForgotten(t, a, "1")
	refusals, err := hub.Refusals(ctx)
	require.NoError(t, err)
	require.Empty(t, refusals)
	requireClean(t, a)

	v := verify(t, a, link)
	require.Equal(t, 1, v.Differing)
	require.Equal(t, replica.DiffersForgotten, v.Differences[0].How)
	require.Equal(t, "forgotten here", v.Differences[0].Detail)
	v = verify(t, hub, net.Link("hub", "a"))
	require.Equal(t, 1, v.Differing)
	require.Equal(t, "forgotten there", v.Differences[0].Detail)

	put(t, hub, "3", `{"v":3}`) // what was not kept holds nothing back
	syncOnly(t, a, link)
	require.Equal(t, `{"v":3}`, get(t, a, "3"))
	require.Equal(t, replica.Counts{}, moved(syncOnly(t, a, link)), "it is not asked for again")
	syncOnly(t, hub, net.Link("hub", "a"))

	syncOnly(t, c, net.Link("c", "a"))
	require.Equal(t, []string{"3"}, ids(t, c), "it is not relayed")
	v = verify(t, c, net.Link("c", "a"))
	require.Equal(t, 2, v.Differing)
	require.Equal(t, "forgotten there", v.Differences[1].Detail)
	put(t, c, "2", `{"other":1}`)
	syncOnly(t, c, net.Link("c", "a"))
	syncOnly(t, c, net.Link("c", "hub"))

	fetch(t, a, link, "1", "2")
	syncOnly(t, a, link)
	requireEqual(t, hub, a)
	requireEqual(t, hub, c)
	for _, r := range []*replica.Replica{hub, a, c} {
		requireClean(t, r)
	}
}

// TestForgetNotTheLastCopy forgets nothing that may be lost by that.
func TestForgetNotTheLastCopy(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	hub, a, b := open(t, &replica.Options{Keeper: true}), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	serve(t, net, "b", b)
	link := net.Link("a", "hub")
	put(t, a, "1", `{"v":1}`)
	put(t, a, "2", `{"v":1}`)
	syncOnly(t, a, link)
	syncOnly(t, a, net.Link("a", "b"))

	_, err := a.Forget(ctx, net.Link("a", "b"), keys("1"))
	require.ErrorContains(t, err, "no keeper")
	_, err = hub.Forget(ctx, net.Link("hub", "b"), keys("1"))
	require.ErrorIs(t, err, replica.ErrKeeper)
	_, err = hub.ForgetUnasked(ctx, keys("1"))
	require.ErrorIs(t, err, replica.ErrKeeper)

	put(t, a, "2", `{"v":2}`)
	put(t, a, "3", `{"v":2}`)
	require.Equal(t, replica.Forgetting{Forgotten: 1, Kept: map[crdt.Key]string{key("2"): replica.KeptOnly, key("3"): replica.KeptOnly}},
		forget(t, a, link, "1", "2", "3"))
	n, err := a.Forget(ctx, link, keys("2"), replica.Only(notes("x")))
	require.NoError(t, err)
	require.Equal(t, map[crdt.Key]string{key("2"): replica.KeptOnly}, n.Kept, "it was not compared")

	n, err = a.ForgetUnasked(ctx, keys("2"))
	require.NoError(t, err)
	require.Equal(t, 1, n.Forgotten)
	_, err = a.Fetch(ctx, link, key("2"))
	require.ErrorContains(t, err, "does not have all of it")
	err = a.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key("2"), map[string]any{"v": 99}) })
	require.ErrorIs(t, err, replica.ErrForgotten, "not until all is back")
	require.Equal(t, `{"v":1}`, get(t, a, "2"), "what there is is shown")
	requireClean(t, a)
}

// TestWantedBackFromAnybody has the next session bring what a peer did not have.
func TestWantedBackFromAnybody(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	hub, a, b := open(t, &replica.Options{Keeper: true}), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	serve(t, net, "b", b)
	put(t, a, "1", `{"v":1}`)
	syncOnly(t, a, net.Link("a", "hub"))
	forget(t, a, net.Link("a", "hub"), "1")
	require.NoError(t, a.SetPolicy(ctx, "notes", crdt.Policy{Default: "lww"}, nil))
	requireForgotten(t, a, "1")
	require.Empty(t, ids(t, a))

	_, err := a.Fetch(ctx, net.Link("a", "b"), key("1"))
	require.ErrorContains(t, err, "does not have all of it")
	_, err = a.Get(ctx, key("1"))
	require.ErrorIs(t, err, replica.ErrNotFound)
	requireClean(t, a)
	require.Zero(t, verify(t, a, net.Link("a", "b")).Records, "nothing has come, so it compares as none")
	syncOnly(t, a, net.Link("a", "hub"))
	require.Equal(t, `{"v":1}`, get(t, a, "1"))
	put(t, a, "1", `{"v":2}`)
	syncOnly(t, a, net.Link("a", "hub"))
	require.Equal(t, `{"v":2}`, get(t, hub, "1"))
	requireClean(t, a)
}

// TestForgetChangedMeanwhile keeps a record that is edited when the keeper has been asked.
func TestForgetChangedMeanwhile(t *testing.T) {
	net := network(t)
	hub, a := open(t, &replica.Options{Keeper: true}), open(t, nil)
	serve(t, net, "hub", hub)
	put(t, a, "1", `{"v":1}`)
	put(t, a, "2", `{"v":1}`)
	syncOnly(t, a, net.Link("a", "hub"))
	link := left{net.Link("a", "hub"), sync.OnceFunc(func() { put(t, a, "1", `{"v":2}`) })}
	require.Equal(t, replica.Forgetting{Forgotten: 1, Kept: map[crdt.Key]string{key("1"): replica.KeptChanged}}, forget(t, a, link, "1", "2"))
	require.Equal(t, `{"v":2}`, get(t, a, "1"))
}

// left is a link that has something done when a connection over it is closed.
type left struct {
	transport.Link
	then func()
}

func (l left) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return leftConn{c, l.then}, err
}

type leftConn struct {
	transport.Conn
	then func()
}

func (c leftConn) Close() error {
	c.then()
	return c.Conn.Close()
}
