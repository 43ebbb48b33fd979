package replica_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

type stratNote struct {
	Title string `json:"title"`
	N     int    `json:"n,omitempty" godwit:",counter"`

	Tags []string `json:"tags,omitempty"`
}

func remoteNotes(r *replica.Replica, timeout time.Duration) *replica.Collection[stratNote] {
	return replica.NewCollection[stratNote](r, "notes",
		replica.WithSave(replica.SaveRemote(timeout)), replica.WithDelete(replica.DeleteRemote(timeout)))
}

func requireHas(t testing.TB, r *replica.Replica, id, want string) {
	t.Helper()
	v, err := r.Get(t.Context(), key(id))
	if want == "" {
		require.ErrorIs(t, err, replica.ErrNotFound)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want, string(v))
}

// What a write that waits for the peers has returned for is there, whatever the schedule.
func TestSaveRemote(t *testing.T) {
	for name, when := range map[string]replica.LinkOption{"live": replica.Live(), "on demand": replica.OnDemand()} {
		t.Run(name, func(t *testing.T) {
			net, hub, a := network(t), open(t, nil), open(t, nil)
			serve(t, net, "hub", hub)
			_, err := a.Connect(net.Link("a", "hub"), when)
			require.NoError(t, err)
			ctx, all := t.Context(), remoteNotes(a, 0)
			id, err := all.Create(ctx, stratNote{Title: "Tides"})
			require.NoError(t, err)
			requireHas(t, hub, id, `{"title":"Tides"}`)
			require.NoError(t, all.Put(ctx, "1", stratNote{Title: "a"}))
			requireHas(t, hub, "1", `{"title":"a"}`)
			require.NoError(t, all.Put(ctx, "1", stratNote{Title: "a"}), "nothing to write, nothing to wait for")
			require.NoError(t, all.Edit(ctx, "1", func(n *stratNote) error { n.Title = "b"; return nil }))
			requireHas(t, hub, "1", `{"title":"b"}`)
			require.NoError(t, all.Increment(ctx, "1", "n", 2))
			require.NoError(t, all.SetPath(ctx, "1", "title", "c"))
			require.NoError(t, all.Append(ctx, "1", "tags", "sea"))
			requireHas(t, hub, "1", `{"n":2,"tags":["sea"],"title":"c"}`)
			n, err := all.PutAll(ctx, threeNotes())
			require.NoError(t, err)
			require.Equal(t, 3, n)
			requireHas(t, hub, "m2", `{"title":"2"}`)
			require.NoError(t, all.Delete(ctx, "1"))
			requireHas(t, hub, "1", "")
		})
	}
}

func threeNotes() iter.Seq2[string, stratNote] {
	return func(yield func(string, stratNote) bool) {
		for i := range 3 {
			if !yield(fmt.Sprint("m", i), stratNote{Title: fmt.Sprint(i)}) {
				return
			}
		}
	}
}

// A hub that nobody is dialled by waits for those that have dialled it.
func TestSaveRemoteOfAHub(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	all := remoteNotes(hub, 0)
	var pending *replica.PendingError
	require.ErrorAs(t, all.Put(t.Context(), "1", stratNote{Title: "a"}), &pending)
	require.ErrorIs(t, pending, replica.ErrNoLinks)
	c, err := a.Connect(net.Link("a", "hub"))
	require.NoError(t, err)
	require.NoError(t, c.SyncNow(t.Context()))
	require.NoError(t, all.Put(t.Context(), "1", stratNote{Title: "b"}))
	requireHas(t, a, "1", `{"title":"b"}`)
}

// silent has a name be dialled, and never says anything; dialled is called first.
func silent(t testing.TB, net *memlink.Network, name string, dialled func()) {
	_, err := net.Listen(name, func(ctx context.Context, c transport.Conn) error {
		dialled()
		<-ctx.Done()
		return nil
	})
	require.NoError(t, err)
}

// Whatever ends the wait, the write is kept, the error says why, and it goes out later.
func TestSaveRemoteIsKept(t *testing.T) {
	for name, test := range map[string]struct {
		hinder func(t *testing.T, net *memlink.Network, a *replica.Replica, cancel func()) // before the write
		want   error
		closed bool
	}{
		"no link": {func(*testing.T, *memlink.Network, *replica.Replica, func()) {}, replica.ErrNoLinks, false},
		"nobody listens": {func(t *testing.T, net *memlink.Network, a *replica.Replica, _ func()) {
			_, err := a.Connect(net.Link("a", "none"))
			require.NoError(t, err)
		}, nil, false},
		"paused": {func(t *testing.T, net *memlink.Network, a *replica.Replica, _ func()) {
			_, err := a.Connect(net.Link("a", "hub"))
			require.NoError(t, err)
			a.Pause()
		}, replica.ErrPaused, false},
		"offline": {func(t *testing.T, net *memlink.Network, a *replica.Replica, _ func()) {
			_, err := a.Connect(net.Link("a", "hub"))
			require.NoError(t, err)
			a.SetOnline(false)
		}, replica.ErrOffline, false},
		"the time is up": {func(t *testing.T, net *memlink.Network, a *replica.Replica, _ func()) {
			silent(t, net, "mute", func() {})
			_, err := a.Connect(net.Link("a", "mute"))
			require.NoError(t, err)
		}, context.DeadlineExceeded, false},
		"cancelled behind the commit": {func(t *testing.T, net *memlink.Network, a *replica.Replica, cancel func()) {
			silent(t, net, "mute", cancel)
			_, err := a.Connect(net.Link("a", "mute"), replica.OnDemand())
			require.NoError(t, err)
		}, context.Canceled, false},
		"closed behind the commit": {func(t *testing.T, net *memlink.Network, a *replica.Replica, _ func()) {
			silent(t, net, "mute", func() { go a.Close() })
			_, err := a.Connect(net.Link("a", "mute"), replica.OnDemand())
			require.NoError(t, err)
		}, replica.ErrClosed, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, hub, path := network(t), open(t, nil), t.TempDir()+"/a.db"
				serve(t, net, "hub", hub)
				a := openAt(t, path, nil)
				put(t, a, "gone", `{"title":"gone"}`)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				test.hinder(t, net, a, cancel)
				all := remoteNotes(a, 5*time.Second)
				id, err := all.Create(ctx, stratNote{Title: "kept"})
				var pending *replica.PendingError
				require.ErrorAs(t, err, &pending)
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
				}
				require.NotEmpty(t, id)
				if test.closed {
					require.NoError(t, a.Close())
					a = openAt(t, path, nil)
				} else if ctx.Err() == nil {
					require.ErrorAs(t, all.Delete(ctx, "gone"), &pending)
					requireHas(t, a, "gone", "")
				}
				requireHas(t, a, id, `{"title":"kept"}`)
				a.Resume()
				a.SetOnline(true)
				syncWith(t, a, net.Link("a", "hub"))
				requireHas(t, hub, id, `{"title":"kept"}`)
				requireEqual(t, hub, a)
			})
		})
	}
}

// What failed before the commit wrote nothing, and does not read as if it had.
func TestSaveRemoteThatWroteNothing(t *testing.T) {
	a := open(t, nil)
	all := remoteNotes(a, 0)
	var pending *replica.PendingError
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id, err := all.Create(ctx, stratNote{Title: "none"})
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, errors.As(err, &pending))
	require.Empty(t, id)
	require.ErrorIs(t, all.Delete(t.Context(), "none"), replica.ErrNotFound)
	require.ErrorContains(t, remoteNotes(a, -1).Put(t.Context(), "1", stratNote{}), "negative")
	require.NoError(t, a.Close())
	err = all.Put(t.Context(), "1", stratNote{Title: "none"})
	require.ErrorIs(t, err, replica.ErrClosed)
	require.False(t, errors.As(err, &pending))
}

// A peer that refuses is no reason to wait, and says why.
func TestSaveRemoteRefused(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	admit(t, net, "hub", hub, &transport.Grant{Subject: "a", Read: transport.Everything(), Write: notes("mine")})
	for _, when := range []replica.LinkOption{replica.Live(), replica.OnDemand()} {
		c, err := a.Connect(net.Link("a", "hub"), when)
		require.NoError(t, err)
		all := remoteNotes(a, 0)
		require.NoError(t, all.Put(t.Context(), "mine1", stratNote{Title: "a"}))
		id, err := all.Create(t.Context(), stratNote{Title: "a"})
		var refused *replica.RefusedError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, transport.CodeRights, refused.Peer.Code)
		require.NotEmpty(t, id)
		requireHas(t, a, id, `{"title":"a"}`)
		require.NoError(t, all.Delete(t.Context(), "mine1"))
		require.NoError(t, c.Close())
	}
}

// A peer that turns the replica away for good: the error has its code.
func TestSaveRemoteTurnedAway(t *testing.T) {
	net, a := network(t), open(t, nil)
	_, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		return c.Send(ctx, &transport.Error{Code: transport.CodeAuth, Message: "who are you"})
	})
	require.NoError(t, err)
	_, err = a.Connect(net.Link("a", "hub"), replica.OnDemand())
	require.NoError(t, err)
	err = remoteNotes(a, 0).Put(t.Context(), "1", stratNote{Title: "a"})
	var pending *replica.PendingError
	require.ErrorAs(t, err, &pending)
	require.Equal(t, transport.CodeAuth, transport.CodeOf(err))
}

// Reads that fetch first show what the peer has, and what is here when it cannot be asked.
func TestFetchRemoteFirst(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	c, err := a.Connect(net.Link("a", "hub"), replica.OnDemand())
	require.NoError(t, err)
	ctx := t.Context()
	all := replica.NewCollection[stratNote](a, "notes", replica.WithFetch(replica.FetchRemoteFirst(0)))
	title := func() string {
		t.Helper()
		v, err := all.Get(ctx, "1")
		require.NoError(t, err)
		return v.Title
	}
	require.Zero(t, all.Fetched())
	put(t, a, "mine", `{"title":"mine"}`)
	put(t, hub, "1", `{"title":"one"}`)
	put(t, hub, "2", `{"title":"two"}`)
	require.Equal(t, "one", title())
	_, err = a.Get(ctx, key("2"))
	require.ErrorIs(t, err, replica.ErrNotFound, "the record alone was fetched")
	n, err := all.Count(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	put(t, hub, "1", `{"title":"uno"}`)
	for id, res := range all.All(ctx) {
		require.NoError(t, res.Err)
		require.True(t, id != "1" || res.Value.Title == "uno")
	}
	put(t, hub, "1", `{"title":"un"}`)
	found := 0
	for range all.Query(ctx, replica.Query{Where: replica.Where("title", replica.Eq, "un")}) {
		found++
	}
	require.Equal(t, 1, found)
	fresh := all.Fetched()
	require.NoError(t, fresh.Err)
	require.NotZero(t, fresh.Time)
	_, err = hub.Get(ctx, key("mine"))
	require.ErrorIs(t, err, replica.ErrNotFound, "nothing was sent")

	put(t, hub, "1", `{"title":"unseen"}`)
	for name, test := range map[string]struct {
		cut, mend func()
		want      error
	}{
		"partition":    {func() { net.Partition("a", "hub") }, func() { net.Heal("a", "hub") }, nil},
		"pause":        {a.Pause, a.Resume, replica.ErrPaused},
		"offline":      {func() { a.SetOnline(false) }, func() { a.SetOnline(true) }, replica.ErrOffline},
		"disconnected": {c.Disconnect, c.Reconnect, replica.ErrPaused},
	} {
		test.cut()
		require.Equal(t, "un", title(), name)
		require.Error(t, all.Fetched().Err, name)
		if test.want != nil {
			require.ErrorIs(t, all.Fetched().Err, test.want, name)
		}
		require.Equal(t, fresh.Time, all.Fetched().Time, name)
		test.mend()
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = all.Get(cancelled, "1")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "unseen", title())
	require.NoError(t, all.Fetched().Err)

	require.NoError(t, c.Close())
	require.Equal(t, "unseen", title())
	require.ErrorIs(t, all.Fetched().Err, replica.ErrNoLinks)
	_, err = a.Connect(net.Link("a", "hub"), replica.OnDemand(), replica.PushOnly())
	require.NoError(t, err)
	require.ErrorIs(t, all.Refresh(ctx), replica.ErrNoLinks, "a link that does not carry it")
	require.ErrorContains(t, all.Refresh(ctx, "a\x00b"), "a\\x00b")
	require.NoError(t, a.Close())
	_, err = all.Get(ctx, "1")
	require.ErrorIs(t, err, replica.ErrClosed)
}

// A peer that says nothing is waited for as long as was said.
func TestFetchRemoteFirstInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, a := network(t), open(t, nil)
		silent(t, net, "mute", func() {})
		_, err := a.Connect(net.Link("a", "mute"), replica.OnDemand())
		require.NoError(t, err)
		put(t, a, "1", `{"title":"here"}`)
		all := replica.NewCollection[stratNote](a, "notes", replica.WithFetch(replica.FetchRemoteFirst(2*time.Second)))
		began := time.Now()
		v, err := all.Get(t.Context(), "1")
		require.NoError(t, err)
		require.Equal(t, "here", v.Title)
		require.Equal(t, 2*time.Second, time.Since(began))
		require.ErrorIs(t, all.Fetched().Err, context.DeadlineExceeded)
	})
}

// Reads that refresh behind themselves show what is here, and the next one what came; one
// refresh goes on at a time, and not beyond Close.
func TestFetchLocalThenRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, hub, a := network(t), open(t, nil), open(t, nil)
		dials := 0
		_, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
			dials++
			return hub.Accept(ctx, c, transport.FullGrant())
		})
		require.NoError(t, err)
		c, err := a.Connect(net.Link("a", "hub"), replica.OnDemand())
		require.NoError(t, err)
		all := replica.NewCollection[stratNote](a, "notes", replica.WithFetch(replica.FetchLocalThenRefresh(time.Second)))
		count := func() int {
			t.Helper()
			n, err := all.Count(t.Context())
			require.NoError(t, err)
			return n
		}
		put(t, hub, "1", `{"title":"one"}`)
		require.Zero(t, count())
		require.Zero(t, count())
		synctest.Wait()
		require.Equal(t, 1, dials)
		require.NoError(t, all.Fetched().Err)
		v, err := all.Get(t.Context(), "1")
		require.NoError(t, err)
		require.Equal(t, "one", v.Title)
		synctest.Wait()
		require.Equal(t, 1, dials, "within the pause")
		put(t, hub, "2", `{"title":"two"}`)
		time.Sleep(time.Second)
		require.Equal(t, 1, count())
		synctest.Wait()
		require.Equal(t, 2, dials)
		require.Equal(t, 2, count())

		require.NoError(t, c.Close())
		silent(t, net, "mute", func() { dials++ })
		_, err = a.Connect(net.Link("a", "mute"), replica.OnDemand())
		require.NoError(t, err)
		time.Sleep(time.Second)
		for range 3 {
			require.Equal(t, 2, count())
			synctest.Wait()
			require.Equal(t, 3, dials, "one at a time")
			time.Sleep(time.Second)
		}
		require.NoError(t, a.Close())
		require.ErrorIs(t, all.Fetched().Err, context.Canceled)
		_, err = all.Count(t.Context())
		require.ErrorIs(t, err, replica.ErrClosed)
	})
}

// WithIndex and the tags index and plain are declared in one place, also when encrypted.
func TestDeclaredFields(t *testing.T) {
	type person struct {
		Name string `json:"name" godwit:",index,plain"`
		City string `json:"city" godwit:",plain"`
	}
	ctx, a := t.Context(), open(t, nil)
	k, err := replica.NewKey(make([]byte, replica.KeySize))
	require.NoError(t, err)
	require.NoError(t, a.Encrypt(ctx, k))
	require.NoError(t, a.SetPlaintext(ctx, "people", "address.zip"))
	people := replica.NewCollection[person](a, "people", replica.WithIndex("address.zip"))
	require.NoError(t, people.EnsureIndexes(ctx))
	require.NoError(t, people.EnsureIndexes(ctx), "again")
	require.NoError(t, a.EnsureIndex(ctx, "people", "city"))
	all, err := a.Indexes(ctx, "people")
	require.NoError(t, err)
	var fields []string
	for _, x := range all {
		fields = append(fields, x.Field)
	}
	require.Equal(t, []string{"address.zip", "city", "name"}, fields)
	secret := replica.NewCollection[stratNote](a, "notes", replica.WithIndex("title"))
	require.ErrorIs(t, secret.EnsureIndexes(ctx), replica.ErrPlainIndex)
	bad := replica.NewCollection[stratNote](a, "notes", replica.WithIndex("a["))
	require.Error(t, bad.EnsureIndexes(ctx))
}
