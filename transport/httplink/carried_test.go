package httplink_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// ask sends a request of the rungs below the WebSocket, with headers in pairs.
func ask(t *testing.T, method, url string, body []byte, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/octet-stream")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// message is a frame as it stands in a stream.
func message(t *testing.T, f transport.Frame) []byte {
	m, err := transport.NewCodec().Encode(f)
	require.NoError(t, err)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
}

// What does not fit a virtual connection is refused, and leaves it as it was.
func TestHostileRequests(t *testing.T) {
	h := listen(t, httplink.ServerOptions{Authorize: func(r *http.Request, _ string) (transport.Grant, error) {
		g := transport.FullGrant()
		g.Subject, g.Relay = r.Header.Get("Who"), r.Header.Get("Less") == ""
		return g, nil
	}})
	open := ask(t, "POST", h.url, nil, "Who", "ann")
	require.Equal(t, http.StatusCreated, open.StatusCode)
	id, s := open.Header.Get("Godwit-Link"), <-h.sessions
	require.Len(t, id, 26, "128 bits")
	ping := message(t, &transport.Ping{Nonce: 7})
	require.NoError(t, s.conn.Send(context.Background(), &transport.Ping{Nonce: 1}))

	for name, tt := range map[string]struct {
		method, url string
		header      []string
		body        []byte
		want        int
	}{
		"another's":        {"POST", h.url, []string{"Who", "bob", "Godwit-Offset", "0", "Godwit-Ack", "0"}, ping, 410},
		"nobody's":         {"GET", h.url, []string{"Last-Event-ID", "0"}, nil, 410},
		"another space":    {"POST", strings.Replace(h.url, "crew", "fleet", 1), []string{"Who", "ann", "Godwit-Offset", "0", "Godwit-Ack", "0"}, ping, 410},
		"unknown":          {"GET", h.url, []string{"Who", "ann", "Godwit-Link", strings.Repeat("A", 26), "Last-Event-ID", "0"}, nil, 410},
		"no offset":        {"POST", h.url, []string{"Who", "ann", "Godwit-Ack", "0"}, ping, 400},
		"negative offset":  {"POST", h.url, []string{"Who", "ann", "Godwit-Offset", "-1", "Godwit-Ack", "0"}, ping, 400},
		"huge offset":      {"POST", h.url, []string{"Who", "ann", "Godwit-Offset", "99999999999999999999", "Godwit-Ack", "0"}, ping, 400},
		"gap":              {"POST", h.url, []string{"Who", "ann", "Godwit-Offset", "1", "Godwit-Ack", "0"}, ping, 409},
		"ack of nothing":   {"POST", h.url, []string{"Who", "ann", "Godwit-Offset", "0", "Godwit-Ack", "9999"}, ping, 409},
		"fetch of nothing": {"GET", h.url, []string{"Who", "ann", "Last-Event-ID", "9999"}, nil, 409},
		"events, nothing":  {"GET", h.url, []string{"Who", "ann", "Accept", "text/event-stream", "Last-Event-ID", "9999"}, nil, 409},
		"no position":      {"GET", h.url, []string{"Who", "ann"}, nil, 400},
		"odd position":     {"GET", h.url, []string{"Who", "ann", "Accept", "text/event-stream", "Last-Event-ID", "x"}, nil, 400},
		"form":             {"POST", h.url, []string{"Who", "ann", "Content-Type", "text/plain", "Godwit-Offset", "0", "Godwit-Ack", "0"}, ping, 415},
		"packed":           {"POST", h.url, []string{"Who", "ann", "Content-Encoding", "gzip", "Godwit-Offset", "0", "Godwit-Ack", "0"}, ping, 415},
		"other method":     {"PUT", h.url, []string{"Who", "ann", "Godwit-Offset", "0", "Godwit-Ack", "0"}, ping, 405},
	} {
		t.Run(name, func(t *testing.T) {
			resp := ask(t, tt.method, tt.url, tt.body, append([]string{"Godwit-Link", id}, tt.header...)...)
			require.Equal(t, tt.want, resp.StatusCode)
			require.NotEmpty(t, resp.Header.Get("Godwit-Code"))
		})
	}
	for range 2 { // repeated, it comes once
		resp := ask(t, "POST", h.url, ping, "Who", "ann", "Godwit-Link", id, "Godwit-Offset", "0", "Godwit-Ack", "0")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, strconv.Itoa(len(ping)), resp.Header.Get("Godwit-Ack"))
	}
	f, err := s.conn.Recv(t.Context())
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 7}, f)
	short, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.conn.Recv(short)
	require.ErrorIs(t, err, context.Canceled)
	down := ask(t, "GET", h.url, nil, "Who", "ann", "Godwit-Link", id, "Last-Event-ID", "0")
	got, err := io.ReadAll(down.Body)
	require.NoError(t, err)
	require.Equal(t, message(t, &transport.Ping{Nonce: 1}), got)

	less := ask(t, "GET", h.url, nil, "Who", "ann", "Less", "1", "Godwit-Link", id, "Last-Event-ID", "0")
	require.Equal(t, http.StatusGone, less.StatusCode, "other rights, another connection")
	_, err = s.conn.Recv(t.Context())
	require.ErrorIs(t, err, transport.ErrClosed)
}

// A message that is announced larger than any ends the connection, before it has
// taken memory.
func TestGiantAnnounced(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	id := ask(t, "POST", h.url, nil).Header.Get("Godwit-Link")
	s := <-h.sessions
	giant := binary.BigEndian.AppendUint32(nil, transport.MaxFrame+1)
	resp := ask(t, "POST", h.url, append(message(t, &transport.Ping{}), giant...), "Godwit-Link", id, "Godwit-Offset", "0", "Godwit-Ack", "0")
	require.Equal(t, http.StatusGone, resp.StatusCode)
	_, err := s.conn.Recv(t.Context())
	require.NoError(t, err, "what came before")
	_, err = s.conn.Recv(t.Context())
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorIs(t, err, transport.ErrTooLarge)
	require.Equal(t, transport.CodeTooLarge, transport.CodeOf(err))

	id = ask(t, "POST", h.url, nil).Header.Get("Godwit-Link") // a body that is too large, within a message that is not
	body := append(binary.BigEndian.AppendUint32(nil, 4<<20), make([]byte, 2<<20)...)
	resp = ask(t, "POST", h.url, body, "Godwit-Link", id, "Godwit-Offset", "0", "Godwit-Ack", "0")
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	require.Equal(t, strconv.Itoa(1<<20), resp.Header.Get("Godwit-Ack"), "what came is kept")
}

// A client that is gone without a word is given up; one that only holds a
// request open, sends a body without end in sight or reads nothing is, too.
func TestAbandoned(t *testing.T) {
	for name, client := range map[string]func(t *testing.T, url, id string){
		"silent": func(*testing.T, string, string) {},
		"holds events": func(t *testing.T, url, id string) {
			_ = ask(t, "GET", url, nil, "Godwit-Link", id, "Last-Event-ID", "0", "Accept", "text/event-stream")
		},
		"drips": func(t *testing.T, url, id string) {
			conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/spaces/crew"))
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			_, err = io.WriteString(conn, "POST /spaces/crew HTTP/1.1\r\nHost: h\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n"+
				"Godwit-Link: "+id+"\r\nGodwit-Offset: 0\r\nGodwit-Ack: 0\r\n\r\n\x00")
			require.NoError(t, err)
			answer, err := io.ReadAll(conn) // the server hangs up
			require.NoError(t, err)
			require.Contains(t, string(answer), "Godwit-Ack: 1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := listen(t, httplink.ServerOptions{IdleTimeout: 150 * time.Millisecond})
			open := ask(t, "POST", h.url, nil)
			require.Equal(t, "150", open.Header.Get("Godwit-Idle"))
			s := <-h.sessions
			client(t, h.url, open.Header.Get("Godwit-Link"))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := s.conn.Recv(ctx)
			require.ErrorIs(t, err, transport.ErrClosed)
			require.ErrorContains(t, err, "no request")
			s.end()
			for h.Sessions() > 0 {
				require.NoError(t, ctx.Err())
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// Each request carries what the options say at that time, and one that is no
// longer let in ends the connection with the reason.
func TestEachRequestIsAuthorised(t *testing.T) {
	for _, rung := range httplink.Rungs()[1:] {
		t.Run(string(rung), func(t *testing.T) {
			t.Parallel()
			var asked, banned atomic.Int64
			h := listen(t, httplink.ServerOptions{Heartbeat: 50 * time.Millisecond, Authorize: func(r *http.Request, _ string) (transport.Grant, error) {
				if r.Header.Get("Ticket") == "" || banned.Load() > 0 {
					return transport.Grant{}, &transport.Error{Code: transport.CodeAuth, Message: "your ticket is void"}
				}
				return transport.FullGrant(), nil
			}})
			c := dialLink(t, newLink(t, h.url, &httplink.Options{Rung: rung, Heartbeat: 50 * time.Millisecond,
				HeaderFunc: func(context.Context) (http.Header, error) {
					return http.Header{"Ticket": {strconv.FormatInt(asked.Add(1), 10)}}, nil
				}}))
			s := <-h.sessions
			converse(t, c, s.conn, 3, 5000)
			require.Greater(t, asked.Load(), int64(2))
			banned.Store(1)
			_, err := c.Recv(t.Context())
			require.ErrorIs(t, err, transport.ErrClosed)
			require.Equal(t, transport.CodeAuth, transport.CodeOf(err))
			require.ErrorContains(t, err, "your ticket is void")
		})
	}
}
