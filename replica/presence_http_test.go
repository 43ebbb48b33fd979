package replica_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// hubOnSocket hosts spaces on a loopback socket until the test ends, and returns the
// URL of the space crew.
func hubOnSocket(t *testing.T) (*replica.Hub, string) {
	hub, err := replica.OpenHub(t.TempDir(), nil)
	require.NoError(t, err)
	links := httplink.Handler(&httplink.ServerOptions{Accept: hub.Accept})
	server := httptest.NewServer(links)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, links.Close(ctx))
		server.Close()
		require.NoError(t, hub.Close())
		http.DefaultClient.CloseIdleConnections()
	})
	return hub, server.URL + "/spaces/crew"
}

func connectTo(t *testing.T, r *replica.Replica, url string, rung httplink.Rung) {
	link, err := httplink.New(url, &httplink.Options{Rung: rung, Backoff: transport.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}})
	require.NoError(t, err)
	_, err = r.Connect(link)
	require.NoError(t, err)
}

// TestPresenceAcrossHubs has two replicas, each at a hub of its own, see each other over
// real sockets, on every rung.
func TestPresenceAcrossHubs(t *testing.T) {
	for _, rung := range []httplink.Rung{httplink.RungWebSocket, httplink.RungEvents, httplink.RungPoll} {
		t.Run(string(rung), func(t *testing.T) {
			_, first := hubOnSocket(t)
			second, url := hubOnSocket(t)
			require.NoError(t, second.With(t.Context(), "crew", func(r *replica.Replica) error {
				connectTo(t, r, first, rung)
				return nil
			}))
			a, b := open(t, &replica.Options{Space: "crew"}), open(t, &replica.Options{Space: "crew"})
			connectTo(t, a, first, rung)
			connectTo(t, b, url, rung)

			here, there := room(t, a), room(t, b)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, here.Set("at the stove"))
			var got []string
			for ev := range there.Watch(ctx) {
				got = append(got, string(ev.Kind))
				switch ev.Kind {
				case replica.RoomJoin:
					require.Equal(t, a.ID(), ev.Member.Replica)
					require.JSONEq(t, `"at the stove"`, string(ev.Member.State))
					require.NoError(t, here.Send("dinner"))
				case replica.RoomMessage:
					require.JSONEq(t, `"dinner"`, string(ev.Message))
					require.NoError(t, here.Leave())
				case replica.RoomLeave:
					cancel()
				}
			}
			require.Equal(t, []string{"join", "message", "leave"}, got)
		})
	}
}
