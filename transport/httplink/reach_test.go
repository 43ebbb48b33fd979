package httplink_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// A probe reaches a hub that would let nobody in, and is not taken in by what only
// stands on the way, or by a hub that is closed.
func TestProbe(t *testing.T) {
	hub := httplink.Handler(&httplink.ServerOptions{
		Accept: func(context.Context, string, transport.Conn, transport.Grant) error { panic("a probe is no session") },
		Authorize: func(*http.Request, string) (transport.Grant, error) {
			return transport.Grant{}, &transport.Error{Code: transport.CodeToken, Message: "who are you"}
		},
	})
	server := httptest.NewServer(hub)
	defer server.Close()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer portal.Close()
	probe := func(url string) error {
		link, err := httplink.New(url+"/spaces/crew", nil)
		require.NoError(t, err)
		return link.(transport.Prober).Probe(t.Context())
	}
	require.NoError(t, probe(server.URL))
	require.ErrorContains(t, probe(portal.URL), "no hub")
	require.NoError(t, hub.Close(context.Background()))
	require.ErrorContains(t, probe(server.URL), "503")
	server.Close()
	require.ErrorContains(t, probe(server.URL), "refused")
}
