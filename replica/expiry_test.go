package replica_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// tokenHub hosts a replica whose sessions last as long as lasts says; a negative
// time is an expired token.
func tokenHub(t *testing.T, lasts func() time.Duration) (url string, sessions *atomic.Int64) {
	r := open(t, nil)
	sessions = &atomic.Int64{}
	hub := httplink.Handler(&httplink.ServerOptions{
		Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			sessions.Add(1)
			return r.Accept(ctx, c, g)
		},
		Authorize: func(*http.Request, string) (transport.Grant, error) {
			left := lasts()
			if left < 0 {
				return transport.Grant{}, &transport.Error{Code: transport.CodeExpired, Message: "the token has expired"}
			}
			g := transport.FullGrant()
			g.Expires = time.Now().Add(left)
			return g, nil
		},
	})
	server := httptest.NewServer(hub)
	t.Cleanup(func() {
		require.NoError(t, hub.Close(context.Background()))
		server.Close()
	})
	return server.URL + "/spaces/crew", sessions
}

// A session whose token has expired is followed by another one at once, however
// long the backoff, and nothing is lost in between.
func TestConnectAfterExpiry(t *testing.T) {
	url, sessions := tokenHub(t, func() time.Duration { return 200 * time.Millisecond })
	link, err := httplink.New(url, &httplink.Options{
		Backoff:     transport.Backoff{Min: 1000 * time.Hour, Max: 1000 * time.Hour},
		TokenSource: func(context.Context) (string, time.Time, error) { return "t", time.Time{}, nil },
	})
	require.NoError(t, err)
	r := open(t, nil)
	conn, err := r.Connect(link)
	require.NoError(t, err)
	defer conn.Close()
	require.Eventually(t, func() bool { return sessions.Load() >= 3 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, conn.Err())
}

// Without a source of fresh tokens it ends for good, and says why.
func TestConnectWithExpiredToken(t *testing.T) {
	left := time.Duration(100 * time.Millisecond)
	url, sessions := tokenHub(t, func() time.Duration {
		defer func() { left = -1 }()
		return left
	})
	link, err := httplink.New(url, &httplink.Options{Token: "t"})
	require.NoError(t, err)
	conn, err := open(t, nil).Connect(link)
	require.NoError(t, err)
	select {
	case <-conn.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("goes on with a token that has expired")
	}
	require.ErrorContains(t, conn.Err(), "expired")
	require.Equal(t, transport.CodeToken, transport.CodeOf(conn.Err()))
	require.EqualValues(t, 1, sessions.Load())
}
