package replica_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

const (
	wait = 20 * time.Second
	tick = 5 * time.Millisecond
)

func syncOnly(t testing.TB, r *replica.Replica, link transport.Link, opts ...replica.LinkOption) replica.Counts {
	t.Helper()
	n, err := r.Sync(context.Background(), link, opts...)
	require.NoError(t, err)
	return n
}

func where(field, value string) transport.Scope {
	return transport.Scope{Only: []transport.Selector{{Collection: "notes", Where: []transport.Equal{{Field: field, Value: value}}}}}
}

func TestPushOnlyAndPullOnly(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	put(t, hub, "h", `{"v":1}`)
	put(t, a, "a", `{"v":1}`)
	n := syncOnly(t, a, link, replica.PushOnly())
	require.Equal(t, replica.Counts{ChangesSent: 1}, moved(n))
	require.Equal(t, []string{"a"}, ids(t, a))
	require.Equal(t, []string{"a", "h"}, ids(t, hub))
	put(t, a, "a", `{"v":2}`)
	n = syncOnly(t, a, link, replica.PullOnly())
	require.Equal(t, replica.Counts{ChangesReceived: 1}, moved(n))
	require.Equal(t, `{"v":1}`, get(t, hub, "a"))
	require.Equal(t, `{"v":1}`, get(t, a, "h"))
	st, err := a.Status(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 1, st.Peers[0].Pending, "a pull does not pretend that all was pushed")
	n = syncOnly(t, a, link)
	require.Equal(t, replica.Counts{ChangesSent: 1}, moved(n), "a direction that was left out loses no position")
	requireEqual(t, hub, a)

	_, err = a.Sync(context.Background(), link, replica.PushOnly(), replica.PullOnly())
	require.ErrorIs(t, err, replica.ErrSelector)
}

// moved leaves the bytes out.
func moved(n replica.Counts) replica.Counts {
	n.BytesSent, n.BytesReceived = 0, 0
	return n
}

func TestWidenAndNarrow(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	for _, id := range []string{"a-1", "b-1", "c-1"} {
		put(t, hub, id, `{"v":1}`)
	}
	put(t, a, "a-2", `{"v":1}`)
	put(t, a, "b-2", `{"v":1}`)
	syncOnly(t, a, link, replica.Only(notes("a-")))
	require.Equal(t, []string{"a-1", "a-2", "b-2"}, ids(t, a))
	require.Equal(t, []string{"a-1", "a-2", "b-1", "c-1"}, ids(t, hub))

	both := transport.Scope{Only: append(notes("a-").Only, notes("b-").Only...)}
	syncOnly(t, a, link, replica.Only(both))
	require.Equal(t, []string{"a-1", "a-2", "b-1", "b-2"}, ids(t, a), "what was left out is fetched")
	require.Equal(t, []string{"a-1", "a-2", "b-1", "b-2", "c-1"}, ids(t, hub))

	put(t, hub, "b-1", `{"v":2}`)
	syncOnly(t, a, link, replica.Only(notes("a-")))
	require.Equal(t, `{"v":1}`, get(t, a, "b-1"), "what is no longer asked for stays as it is")
	outside, err := a.Outside(context.Background(), notes("a-"))
	require.NoError(t, err)
	require.EqualValues(t, 2, outside)

	syncOnly(t, a, link)
	requireEqual(t, hub, a)
	n := syncOnly(t, a, link)
	require.Equal(t, replica.Counts{}, moved(n), "positions count again")
}

func TestSelectorsOfALiveLink(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	c, err := a.Connect(net.Link("a", "hub"), replica.Only(notes("a-")))
	require.NoError(t, err)
	put(t, hub, "b-1", `{"v":1}`)
	put(t, hub, "a-1", `{"v":1}`)
	put(t, a, "b-2", `{"v":1}`)
	put(t, a, "a-2", `{"v":1}`)
	require.Eventually(t, func() bool { return len(ids(t, a)) == 3 && len(ids(t, hub)) == 3 }, wait, tick)
	require.NoError(t, c.Close())
	require.Equal(t, []string{"a-1", "a-2", "b-2"}, ids(t, a))
	require.Equal(t, []string{"a-1", "a-2", "b-1"}, ids(t, hub))
}

// A condition on a field is judged by who sends: a record that no longer meets it stays
// where it is.
func TestAConditionOnAField(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	link, active := net.Link("a", "hub"), replica.Only(where("status", `"active"`))
	put(t, hub, "1", `{"status":"active","n":1}`)
	put(t, hub, "2", `{"status":"done","n":1}`)
	put(t, hub, "3", `{"other":1}`)
	put(t, a, "4", `{"status":"done"}`)
	put(t, a, "5", `{"status":"active"}`)
	syncOnly(t, a, link, active)
	require.Equal(t, []string{"1", "4", "5"}, ids(t, a))
	require.Equal(t, []string{"1", "2", "3", "5"}, ids(t, hub))

	put(t, hub, "1", `{"n":2}`)
	syncOnly(t, a, link, active)
	require.Equal(t, `{"n":2,"status":"active"}`, get(t, a, "1"))
	put(t, hub, "1", `{"status":"done"}`)
	put(t, hub, "1", `{"n":3}`)
	syncOnly(t, a, link, active)
	require.Equal(t, `{"n":2,"status":"active"}`, get(t, a, "1"), "it left, and is not updated any more")
	put(t, hub, "1", `{"status":"active"}`)
	put(t, hub, "2", `{"status":"active"}`)
	syncOnly(t, a, link, active)
	require.Equal(t, `{"n":3,"status":"active"}`, get(t, a, "1"), "it is back, whole")
	require.Equal(t, `{"n":1,"status":"active"}`, get(t, a, "2"), "it came in, whole")
}

// The same over a link that stays up, with conditions on what is sent and on what is
// received, and after it was down.
func TestARecordThatComesIntoACondition(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	connect := func() *replica.Connection {
		c, err := a.Connect(net.Link("a", "hub"), replica.Only(where("status", `"active"`)))
		require.NoError(t, err)
		return c
	}
	arrives := func(r *replica.Replica, id, value string) {
		t.Helper()
		require.Eventually(t, func() bool {
			v, err := r.Get(context.Background(), key(id))
			return err == nil && string(v) == value
		}, wait, tick, "%s of %s", value, id)
	}
	c := connect()
	for i := range 5 {
		put(t, hub, "h", fmt.Sprintf(`{"status":"draft","n":%d}`, i))
		put(t, a, "a", fmt.Sprintf(`{"status":"draft","n":%d}`, i))
	}
	put(t, hub, "mark-1", `{"status":"active"}`)
	arrives(a, "mark-1", `{"status":"active"}`)
	put(t, hub, "h", `{"status":"active"}`)
	arrives(a, "h", `{"n":4,"status":"active"}`)
	put(t, a, "a", `{"status":"active"}`)
	arrives(hub, "a", `{"n":4,"status":"active"}`)
	require.NoError(t, c.Close())

	put(t, hub, "h", `{"status":"done"}`)
	put(t, hub, "h", `{"n":7}`)
	put(t, hub, "i", `{"n":1}`)
	c = connect()
	put(t, hub, "mark-2", `{"status":"active"}`)
	arrives(a, "mark-2", `{"status":"active"}`)
	require.Equal(t, `{"n":4,"status":"active"}`, get(t, a, "h"))
	require.NoError(t, hub.Update(context.Background(), func(tx *replica.Tx) error { // one set, of which neither is held
		return errors.Join(tx.Put(key("h"), map[string]any{"status": "active"}), tx.Put(key("i"), map[string]any{"status": "active"}))
	}))
	arrives(a, "h", `{"n":7,"status":"active"}`)
	arrives(a, "i", `{"n":1,"status":"active"}`)
	require.NoError(t, c.Close())
	requireClean(t, a)
	requireClean(t, hub)
}

// Fetching a record brings that one, and changes nothing of what a sync exchanges.
func TestFetch(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, a := open(t, nil), open(t, nil)
	grant := &transport.Grant{Read: notes("open-"), Write: notes("open-")}
	admit(t, net, "hub", hub, grant)
	link := net.Link("a", "hub")
	for i := range 20 {
		put(t, hub, fmt.Sprint("open-", i), `{"v":1}`)
	}
	put(t, hub, "shut", `{"v":1}`)
	put(t, hub, "open-7", `{"v":2}`)
	put(t, a, "open-a", `{"v":1}`)

	n, err := a.Fetch(ctx, link, key("open-7"), key("shut"), key("open-none"))
	require.NoError(t, err)
	require.Equal(t, replica.Counts{ChangesReceived: 2}, moved(n))
	require.Equal(t, []string{"open-7", "open-a"}, ids(t, a))
	require.Equal(t, `{"v":2}`, get(t, a, "open-7"))
	for _, r := range []*replica.Replica{a, hub} {
		st, err := r.Status(ctx)
		require.NoError(t, err)
		require.Zero(t, st.Peers[0].Read.LSN)
		require.Zero(t, st.Peers[0].Acked.LSN)
	}
	syncOnly(t, a, link)
	require.Len(t, ids(t, a), 21)
	require.Len(t, ids(t, hub), 22)

	put(t, hub, "open-8", `{"v":9}`)
	put(t, hub, "open-9", `{"v":9}`)
	n, err = a.Fetch(ctx, link, key("open-9"))
	require.NoError(t, err)
	require.Equal(t, 1, n.ChangesReceived)
	require.Equal(t, `{"v":1}`, get(t, a, "open-8"))
	syncOnly(t, a, link)
	require.Equal(t, `{"v":9}`, get(t, a, "open-8"))

	_, err = a.Fetch(ctx, link, crdt.Key{})
	require.Error(t, err)
	_, err = a.Fetch(ctx, link)
	require.ErrorIs(t, err, replica.ErrSelector)
}

func TestBadSelectors(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	for _, s := range []transport.Scope{
		where("a..b", "1"), where("a", "x"), {Only: make([]transport.Selector, transport.MaxSelectors+1)},
		{Only: []transport.Selector{{Where: make([]transport.Equal, transport.MaxWhere+1)}}},
	} {
		_, err := a.Sync(context.Background(), net.Link("a", "hub"), replica.Only(s))
		require.ErrorIs(t, err, replica.ErrSelector)
		_, err = a.Connect(net.Link("a", "hub"), replica.Only(s))
		require.ErrorIs(t, err, replica.ErrSelector)
	}
	for _, w := range []transport.Scope{where("a..b", "1"), where("a", "x")} { // of a peer
		p := dialRaw(t, net.Link("evil", "hub"))
		h := hello()
		h.Want = w
		p.send(h)
		p.recv()
		require.Equal(t, transport.CodeProtocol, p.refusal().Code)
	}
}
