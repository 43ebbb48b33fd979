package httplink_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// raw dials a hub as a WebSocket client that may send anything.
func raw(t *testing.T, url string, header http.Header) (*websocket.Conn, *http.Response, error) {
	ws, resp, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{
		Subprotocols: []string{"godwit.1"}, HTTPHeader: header,
	})
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
	}
	return ws, resp, err
}

// What is no frame is an error of Recv, and the connection goes on.
func TestHostileMessages(t *testing.T) {
	ctx := context.Background()
	ping, err := transport.NewCodec().Encode(&transport.Ping{Nonce: 1})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		typ     websocket.MessageType
		message []byte
		want    error
	}{
		"text":        {websocket.MessageText, ping, transport.ErrMalformed},
		"empty":       {websocket.MessageBinary, nil, transport.ErrMalformed},
		"random":      {websocket.MessageBinary, []byte{1, 0, 0xff, 0xff}, transport.ErrMalformed},
		"future kind": {websocket.MessageBinary, []byte{77, 0, 0xa0}, transport.ErrUnknownFrame},
		"largest":     {websocket.MessageBinary, append([]byte{byte(transport.KindChanges)}, make([]byte, transport.MaxFrame-1)...), transport.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			h := listen(t, httplink.ServerOptions{})
			ws, _, err := raw(t, h.url, nil)
			require.NoError(t, err)
			s := <-h.sessions
			require.NoError(t, ws.Write(ctx, tt.typ, tt.message))
			_, err = s.conn.Recv(ctx)
			require.ErrorIs(t, err, tt.want)
			require.NotErrorIs(t, err, transport.ErrClosed)
			require.NoError(t, ws.Write(ctx, websocket.MessageBinary, ping))
			got, err := s.conn.Recv(ctx)
			require.NoError(t, err)
			require.Equal(t, &transport.Ping{Nonce: 1}, got)
		})
	}
}

func TestGiantMessage(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	ws, _, err := raw(t, h.url, nil)
	require.NoError(t, err)
	s := <-h.sessions
	go func() {
		_ = ws.Write(context.Background(), websocket.MessageBinary, make([]byte, transport.MaxFrame+1))
	}()
	_, err = s.conn.Recv(context.Background())
	require.ErrorIs(t, err, transport.ErrTooLarge)
	require.ErrorIs(t, err, transport.ErrClosed)
	require.Equal(t, transport.CodeTooLarge, transport.CodeOf(err))
}

// Bytes on the socket that are no HTTP, or no WebSocket after the upgrade, end
// that connection and nothing else.
func TestRandomBytes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	source := rand.NewChaCha8([32]byte(append(binary.LittleEndian.AppendUint64(nil, seed), make([]byte, 24)...)))
	h := listen(t, httplink.ServerOptions{})
	host := strings.TrimSuffix(strings.TrimPrefix(h.url, "http://"), "/spaces/crew")
	upgrade := "GET /spaces/crew HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: godwit.1\r\n\r\n"
	for i := range 40 {
		conn, err := net.Dial("tcp", host)
		require.NoError(t, err)
		if i%2 == 1 {
			_, err = io.WriteString(conn, upgrade)
			require.NoError(t, err)
		}
		noise := make([]byte, 4096)
		_, _ = source.Read(noise)
		if i%4 == 3 {
			noise[0], noise[1] = 0x82, 0xfe // a masked binary frame, so that the payload is what is random
		}
		_, _ = conn.Write(noise)
		if i%2 == 1 {
			s := <-h.sessions
			_ = conn.(*net.TCPConn).CloseWrite()
			for err = nil; !errors.Is(err, transport.ErrClosed); {
				_, err = s.conn.Recv(context.Background())
				require.Error(t, err)
			}
			s.end()
		}
		require.NoError(t, conn.Close())
	}
	_, err := dial(t, h.url, nil)
	require.NoError(t, err)
}

func TestForeignRequests(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	for path, want := range map[string]int{
		"/": 404, "/spaces/": 404, "/spaces/Crew": 404, "/spaces/a/b": 404, "/spaces/%2e%2e": 404, "/spaces/crew": 426,
	} {
		resp, err := http.Get(strings.TrimSuffix(h.url, "/spaces/crew") + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, path)
	}
	_, resp, err := raw(t, h.url, http.Header{"Origin": {"https://evil.example"}})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Zero(t, h.Sessions())
}

func TestOtherSubprotocol(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	ws, _, err := websocket.Dial(context.Background(), h.url, &websocket.DialOptions{Subprotocols: []string{"chat"}})
	require.NoError(t, err)
	_, _, err = ws.Read(context.Background())
	require.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err))

	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err == nil {
			_ = ws.CloseNow()
		}
	}))
	defer chat.Close()
	_, err = dial(t, chat.URL+"/spaces/crew", nil)
	require.Equal(t, transport.CodeProtocol, transport.CodeOf(err))
	require.ErrorContains(t, err, "godwit.1")
}

// A peer that answers no pings is gone; one that has nothing to say is not.
func TestHeartbeat(t *testing.T) {
	ctx := context.Background()
	first := true
	mute := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols: []string{"godwit.1"},
			OnPingReceived: func(context.Context, []byte) bool { // that of the dial is answered
				answer := first
				first = false
				return answer
			},
		})
		if err == nil {
			_, _, _ = ws.Read(ctx)
			_ = ws.CloseNow()
		}
	}))
	defer mute.Close()
	c, err := dial(t, mute.URL+"/spaces/crew", &httplink.Options{Heartbeat: 20 * time.Millisecond})
	require.NoError(t, err)
	_, err = c.Recv(ctx)
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorContains(t, err, "no answer")

	pings := make(chan struct{}, 100)
	quiet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:   []string{"godwit.1"},
			OnPingReceived: func(context.Context, []byte) bool { pings <- struct{}{}; return true },
		})
		if err == nil {
			_, _, _ = ws.Read(ctx)
		}
	}))
	defer quiet.Close()
	c, err = dial(t, quiet.URL+"/spaces/crew", &httplink.Options{Heartbeat: 300 * time.Millisecond})
	require.NoError(t, err)
	for range 3 {
		select {
		case <-pings:
		case <-time.After(30 * time.Second):
			t.Fatal("no ping")
		}
	}
	require.NoError(t, c.Send(ctx, &transport.Ping{}))
}
