package natslink_test

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/natslink"
)

// hubOf starts a hub that joins those who come by HTTP with the fleets of a NATS server,
// and returns it and the URL of the space.
func hubOf(t *testing.T, nats string) (*replica.Hub, string) {
	hub, err := replica.OpenHub(t.TempDir(), &replica.Options{Synchronous: persist.Normal})
	require.NoError(t, err)
	node := newNode(t, nats, &natslink.Options{Hub: true, Pulse: time.Hour})
	hub.OnOpen(func(space string, r *replica.Replica) error {
		fleet, err := node.Fleet(space)
		if err != nil {
			return err
		}
		for _, l := range fleet.Links() {
			if _, err := r.Connect(l); err != nil {
				return err
			}
		}
		return nil
	})
	links := httplink.Handler(&httplink.ServerOptions{Accept: hub.Accept})
	server := httptest.NewServer(links)
	t.Cleanup(func() {
		require.NoError(t, links.Close(within(t)))
		server.Close()
		require.NoError(t, hub.Close())
	})
	serve(t, node, &natslink.ServeOptions{Accept: hub.Accept})
	return hub, server.URL + "/spaces/" + space
}

// client opens a replica that a hub serves by WebSocket.
func client(t *testing.T, url string, now func() time.Time) *place {
	r, err := replica.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), &replica.Options{Space: space, Synchronous: persist.Normal, Now: now})
	require.NoError(t, err)
	p := &place{r: r}
	t.Cleanup(func() { p.close(t) })
	link, err := httplink.New(url, &httplink.Options{Rung: httplink.RungWebSocket})
	require.NoError(t, err)
	_, err = r.Connect(link)
	require.NoError(t, err)
	return p
}

// streams waits until a hub's session with the stream stands and has nothing to hand on.
func streams(t *testing.T, hub *replica.Hub) {
	require.NoError(t, hub.With(t.Context(), space, func(r *replica.Replica) error {
		(&place{r: r}).awaitHanded(t)
		return nil
	}))
}

// Who is at one hub sees who is at another: how they come, what they say, how they go;
// and that nothing is heard of them any more when nothing joins the hubs.
func TestPresenceAcrossHubs(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream(t))
	hub1, url1 := hubOf(t, s.ClientURL())
	hub2, url2 := hubOf(t, s.ClientURL())
	var ahead atomic.Int64 // of b's clock
	a, b := client(t, url1, nil), client(t, url2, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	a.put(t, "1", 1)
	b.put(t, "2", 2)
	await(t, 2, a, b)
	streams(t, hub1)
	streams(t, hub2)

	here, err := a.r.Room("kitchen")
	require.NoError(t, err)
	there, err := b.r.Room("kitchen")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []string
	require.NoError(t, here.Set("at the door"))
	for ev := range there.Watch(ctx) {
		text := string(ev.Member.State)
		if ev.Kind == replica.RoomMessage {
			text = string(ev.Message)
		}
		got = append(got, string(ev.Kind)+" "+text)
		require.Equal(t, a.r.ID(), ev.Member.Replica)
		switch len(got) {
		case 1:
			require.NoError(t, here.Set("at the stove"))
		case 2:
			require.NoError(t, here.Send("dinner"))
		case 3:
			require.NoError(t, here.Leave())
		case 4:
			require.NoError(t, here.Set("back"))
		case 5:
			stopServer(s)
			ahead.Store(int64(2 * transport.MaxPresence))
		default:
			cancel()
		}
	}
	require.Equal(t, []string{
		`join "at the door"`, `update "at the stove"`, `message "dinner"`, `leave "at the stove"`, `join "back"`, `timeout "back"`,
	}, got)
}
