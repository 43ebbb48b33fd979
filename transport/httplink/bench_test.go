package httplink_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// BenchmarkRoundTrip measures two hops over loopback on each rung, and beside them
// the same over a bare WebSocket: the limit.
func BenchmarkRoundTrip(b *testing.B) {
	ctx := context.Background()
	change := &transport.Changes{End: true, Sets: []transport.Set{{Members: []transport.Member{
		{Collection: "customers", ID: "c1", Data: make([]byte, 120)},
	}}}}
	for _, rung := range httplink.Rungs() {
		b.Run(string(rung), func(b *testing.B) {
			h := listen(b, httplink.ServerOptions{})
			c, accepted := h.connect(b, h.url, &httplink.Options{Rung: rung})
			go func() {
				for {
					f, err := accepted.Recv(ctx)
					if err != nil || accepted.Send(ctx, f) != nil {
						return
					}
				}
			}()
			for b.Loop() {
				require.NoError(b, c.Send(ctx, change))
				_, err := c.Recv(ctx)
				require.NoError(b, err)
			}
		})
	}
	b.Run("BareWebSocket", func(b *testing.B) {
		server := httptest.NewServer(http.HandlerFunc(echo))
		defer server.Close()
		ws, _, err := websocket.Dial(ctx, server.URL, nil)
		require.NoError(b, err)
		defer ws.CloseNow()
		message, err := transport.NewCodec().Encode(change)
		require.NoError(b, err)
		for b.Loop() {
			require.NoError(b, ws.Write(ctx, websocket.MessageBinary, message))
			_, _, err := ws.Read(ctx)
			require.NoError(b, err)
		}
	})
}

func echo(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	for {
		typ, message, err := ws.Read(r.Context())
		if err != nil || ws.Write(r.Context(), typ, message) != nil {
			return
		}
	}
}
