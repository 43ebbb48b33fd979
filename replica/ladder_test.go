package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// ladderLink serves hub behind a reverse proxy, and returns a link through it
// that has to take the rung.
func ladderLink(t *testing.T, hub *replica.Replica, rung httplink.Rung, before func(w http.ResponseWriter, r *http.Request) bool, buffers bool) transport.Link {
	handler := httplink.Handler(&httplink.ServerOptions{
		Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			return hub.Accept(ctx, c, g)
		},
	})
	server := httptest.NewServer(handler)
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	onward := &http.Transport{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: onward, ErrorLog: log.New(io.Discard, "", 0)}
	if buffers {
		proxy.ModifyResponse = func(resp *http.Response) error {
			resp.Body = &whole{source: resp.Body}
			return nil
		}
	}
	middlebox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !before(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, handler.Close(ctx))
		middlebox.Close()
		onward.CloseIdleConnections()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	link, err := httplink.New(middlebox.URL+"/spaces/crew", &httplink.Options{Probe: time.Second})
	require.NoError(t, err)
	return watchedLink{link, func(c transport.Conn) { require.Equal(t, rung, httplink.RungOf(c)) }}
}

// watchedLink shows each connection that it dials.
type watchedLink struct {
	transport.Link
	dialled func(transport.Conn)
}

func (l watchedLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	if err == nil {
		l.dialled(c)
	}
	return c, err
}

// whole is a body that comes when all of it is there.
type whole struct {
	source io.ReadCloser
	r      io.Reader
}

func (w *whole) Read(p []byte) (int, error) {
	if w.r == nil {
		all, _ := io.ReadAll(w.source)
		w.r = bytes.NewReader(all)
	}
	return w.r.Read(p)
}

func (w *whole) Close() error { return w.source.Close() }

// Whatever is between two replicas, they sync once and stay in sync.
func TestSyncThroughProxies(t *testing.T) {
	t.Parallel()
	pass := func(http.ResponseWriter, *http.Request) bool { return false }
	strip := func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Upgrade")
		r.Header.Del("Connection")
		return false
	}
	posts := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			http.Error(w, "blocked", http.StatusForbidden)
		}
		return r.Method != http.MethodPost
	}
	for _, tt := range []struct {
		rung    httplink.Rung
		before  func(http.ResponseWriter, *http.Request) bool
		buffers bool
	}{
		{httplink.RungWebSocket, pass, false}, {httplink.RungEvents, strip, false},
		{httplink.RungPoll, strip, true}, {httplink.RungPost, posts, true},
	} {
		t.Run(string(tt.rung), func(t *testing.T) {
			hub, a := open(t, &replica.Options{Space: "crew"}), open(t, nil)
			link := ladderLink(t, hub, tt.rung, tt.before, tt.buffers)
			for i := range 300 {
				put(t, hub, fmt.Sprint("h", i), `{"text":"there","n":1}`)
				put(t, a, fmt.Sprint("a", i), `{"text":"here","n":2}`)
			}
			syncWith(t, a, link)
			requireEqual(t, hub, a)

			c, err := a.Connect(link)
			require.NoError(t, err)
			defer c.Close()
			arrives := func(from, to *replica.Replica, id string) {
				put(t, from, id, `{"live":true}`)
				require.Eventually(t, func() bool {
					_, err := to.Get(context.Background(), key(id))
					return err == nil
				}, 30*time.Second, time.Millisecond)
			}
			arrives(a, hub, "up")
			arrives(hub, a, "down")
			require.NoError(t, c.Close())
			requireEqual(t, hub, a)
		})
	}
}
