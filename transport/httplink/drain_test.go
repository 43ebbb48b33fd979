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

// TestDrainRefusesAndLetsGoOn: a session that is open goes on, new ones are told to
// come back later.
func TestDrainRefusesAndLetsGoOn(t *testing.T) {
	ctx := context.Background()
	handler := httplink.Handler(&httplink.ServerOptions{Accept: func(ctx context.Context, _ string, c transport.Conn, _ transport.Grant) error {
		for {
			f, err := c.Recv(ctx)
			if err != nil {
				return err
			}
			if err := c.Send(ctx, f); err != nil {
				return err
			}
		}
	}})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(func() { require.NoError(t, handler.Close(ctx)) })
	link, err := httplink.New(server.URL+"/spaces/crew", nil)
	require.NoError(t, err)
	conn, err := link.Dial(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })

	handler.Drain()
	resp, err := http.Post(server.URL+"/spaces/crew", "application/octet-stream", http.NoBody)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "5", resp.Header.Get("Retry-After"))
	http.DefaultClient.CloseIdleConnections()
	_, err = link.Dial(ctx)
	var refused *transport.DialError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, transport.CodeBusy, refused.Code)
	require.NotZero(t, refused.RetryAfter)
	require.ErrorContains(t, refused, "shutting down")

	require.NoError(t, conn.Send(ctx, &transport.Ping{Nonce: 3}))
	f, err := conn.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 3}, f)
}
