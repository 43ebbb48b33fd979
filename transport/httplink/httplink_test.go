package httplink_test

import (
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // more than processors: most of them wait for sockets
	goleak.VerifyTestMain(m)
}

// hub is a server on a loopback socket whose sessions are handed to the test.
type hub struct {
	*httplink.Server
	url      string // of the space "crew"
	sessions chan session
}

type session struct {
	space string
	conn  transport.Conn
	ctx   context.Context
	end   func() // lets Accept return
}

// listen starts a hub with options, whose Accept it sets.
func listen(tb testing.TB, opts httplink.ServerOptions) *hub {
	h := &hub{sessions: make(chan session, 16)}
	opts.Accept = func(ctx context.Context, space string, c transport.Conn, _ transport.Grant) error {
		inner, end := context.WithCancel(ctx)
		h.sessions <- session{space, c, ctx, end}
		<-inner.Done()
		return nil
	}
	h.Server = httplink.Handler(&opts)
	server := httptest.NewServer(h.Server)
	h.url = server.URL + "/spaces/crew"
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(tb, h.Close(ctx))
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h
}

func dial(tb testing.TB, url string, opts *httplink.Options) (transport.Conn, error) {
	link, err := httplink.New(url, opts)
	require.NoError(tb, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := link.Dial(ctx)
	if err == nil {
		tb.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"http://localhost:80/spaces/crew": "http://localhost:80/spaces/crew",
		"https://h/a/b/spaces/a.b_c-9":    "https://h/a/b/spaces/a.b_c-9",
		"ws://h/spaces/x":                 "http://h/spaces/x",
		"wss://[::1]:9/spaces/x":          "https://[::1]:9/spaces/x",
		"http://h/spaces/spaces/x":        "http://h/spaces/spaces/x",
		"":                                "",
		"h/spaces/x":                      "",
		"ftp://h/spaces/x":                "",
		"http:///spaces/x":                "",
		"http://h":                        "",
		"http://h/":                       "",
		"http://h/spaces":                 "",
		"http://h/spaces/":                "",
		"http://h/spaces/Crew":            "",
		"http://h/spaces/x/":              "",
		"http://h/spaces/..":              "",
		"http://h/spaces/%2e%2e%2fx":      "",
		"http://h/myspaces/x":             "",
		"http://h/spaces/" + string(make([]byte, 9)): "",
		"http://me:hunter2@h/spaces/x":               "",
		"http://h/spaces/x?token=hunter2":            "",
		"http://me:hunter2@h:port/spaces/x":          "",
	} {
		link, err := httplink.New(url, nil)
		if want == "" {
			require.Error(t, err, "%q", url)
			require.NotContains(t, err.Error(), "hunter2")
			t.Log(err)
			continue
		}
		require.NoError(t, err, "%q", url)
		require.Equal(t, want, link.String())
	}
}

func TestAnyPrefix(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", h.Server)
	mux.Handle("/stripped/", http.StripPrefix("/stripped", h.Server))
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, prefix := range []string{"/api/v1", "/stripped"} {
		_, err := dial(t, server.URL+prefix+"/spaces/fleet", nil)
		require.NoError(t, err)
		require.Equal(t, "fleet", (<-h.sessions).space)
	}
	require.Equal(t, 2, h.Sessions())
	require.NoError(t, h.Close(context.Background()))
	require.Zero(t, h.Sessions())
}

// A dial that is refused says why, in a way that a program can act upon.
func TestRefusals(t *testing.T) {
	token := bearer(t, "s3cret")
	says := func(err error) httplink.Authorizer {
		return func(*http.Request, string) (transport.Grant, error) { return transport.Grant{}, err }
	}
	answers := func(status int, header ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			http.Error(w, "because\x1b[31m", status)
		})
	}
	hub := func(opts httplink.ServerOptions) http.Handler { return listen(t, opts).Server }
	full := listen(t, httplink.ServerOptions{MaxSessions: 1})
	_, err := dial(t, full.url, nil)
	require.NoError(t, err)

	for name, tt := range map[string]struct {
		handler http.Handler
		token   string
		code    string
		retry   time.Duration
		text    string
	}{
		"no token":        {hub(httplink.ServerOptions{Authorize: token}), "", transport.CodeToken, 0, "want a token"},
		"wrong token":     {hub(httplink.ServerOptions{Authorize: token}), "s3cre", transport.CodeToken, 0, "not known"},
		"expired":         {hub(httplink.ServerOptions{Authorize: says(&transport.Error{Code: transport.CodeExpired, Message: "over"})}), "", transport.CodeToken, 0, "401 Unauthorized: over"},
		"rate":            {hub(httplink.ServerOptions{Authorize: says(&transport.Error{Code: transport.CodeRate, Message: "slow"})}), "", transport.CodeRate, 5 * time.Second, "429 Too Many Requests: slow"},
		"no rights":       {hub(httplink.ServerOptions{Authorize: says(&transport.Error{Code: transport.CodeAuth, Message: "read only"})}), "", transport.CodeAuth, 0, "read only"},
		"no such space":   {hub(httplink.ServerOptions{Authorize: says(&transport.Error{Code: transport.CodeSpace, Message: "gone"})}), "", transport.CodeSpace, 0, "gone"},
		"busy":            {hub(httplink.ServerOptions{Authorize: says(&transport.Error{Code: transport.CodeBusy, Message: "wait"})}), "", transport.CodeBusy, 5 * time.Second, "wait"},
		"other error":     {hub(httplink.ServerOptions{Authorize: says(context.Canceled)}), "", transport.CodeToken, 0, "401"},
		"full":            {full.Server, "", transport.CodeBusy, 5 * time.Second, "no room"},
		"not a hub":       {answers(200), "", transport.CodeProtocol, 0, "because[31m"},
		"not here":        {http.NotFoundHandler(), "", transport.CodeSpace, 0, "404"},
		"too many":        {answers(429, "Retry-After", "120"), "", transport.CodeBusy, 2 * time.Minute, "429"},
		"too many, date":  {answers(503, "Retry-After", time.Now().Add(72*time.Hour).UTC().Format(http.TimeFormat)), "", transport.CodeBusy, time.Hour, "503"},
		"odd retry-after": {answers(503, "Retry-After", "-5"), "", transport.CodeBusy, 0, "503"},
		"broken":          {answers(500), "", transport.CodeInternal, 0, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			_, err := dial(t, server.URL+"/spaces/crew", &httplink.Options{Token: tt.token})
			var refused *transport.DialError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tt.code, refused.Code)
			require.Equal(t, tt.retry, refused.RetryAfter)
			require.ErrorContains(t, err, tt.text)
			require.NotContains(t, err.Error(), "\x1b")
			t.Log(err)
		})
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := dial(t, server.URL+"/spaces/crew", nil)
	var refused *transport.DialError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, transport.CodeClosed, refused.Code)
}

func TestToken(t *testing.T) {
	h := listen(t, httplink.ServerOptions{Authorize: bearer(t, "s3cret")})
	_, err := dial(t, h.url, &httplink.Options{Token: "s3cret"})
	require.NoError(t, err)
	_, err = dial(t, h.url, &httplink.Options{Header: http.Header{"Authorization": {"bearer s3cret"}}})
	require.NoError(t, err)
	_, err = dial(t, h.url, &httplink.Options{TokenSource: func(context.Context) (string, time.Time, error) { return "s3cret", time.Time{}, nil }})
	require.NoError(t, err)
	_, err = dial(t, h.url, &httplink.Options{TokenSource: func(context.Context) (string, time.Time, error) { return "", time.Time{}, context.Canceled }})
	require.ErrorIs(t, err, context.Canceled)
}

// The server says goodbye, joins its sessions and lets no one in any more.
func TestServerClose(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	var conns []transport.Conn
	var sessions []session
	for range 3 {
		c, err := dial(t, h.url, nil)
		require.NoError(t, err)
		conns, sessions = append(conns, c), append(sessions, <-h.sessions)
	}
	require.NoError(t, h.Close(context.Background()))
	require.Zero(t, h.Sessions())
	for _, s := range sessions {
		require.Error(t, s.ctx.Err())
	}
	for _, c := range conns {
		got, err := c.Recv(context.Background())
		require.NoError(t, err)
		require.Equal(t, transport.CodeClosed, got.(*transport.Error).Code)
		_, err = c.Recv(context.Background())
		require.ErrorIs(t, err, transport.ErrClosed)
	}
	_, err := dial(t, h.url, nil)
	require.Equal(t, transport.CodeBusy, transport.CodeOf(err))
	require.NoError(t, h.Close(context.Background()))
}

// A session that does not end holds up Close no longer than its context.
func TestServerCloseGivesUp(t *testing.T) {
	begun, stuck := make(chan struct{}), make(chan struct{})
	s := httplink.Handler(&httplink.ServerOptions{Accept: func(context.Context, string, transport.Conn, transport.Grant) error {
		close(begun)
		<-stuck
		return nil
	}})
	server := httptest.NewServer(s)
	defer server.Close()
	_, err := dial(t, server.URL+"/spaces/crew", nil)
	require.NoError(t, err)
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Close(ctx), context.Canceled)
	close(stuck)
	require.NoError(t, s.Close(context.Background()))
}

// The connection ends with its session.
func TestSessionEnds(t *testing.T) {
	h := listen(t, httplink.ServerOptions{})
	c, err := dial(t, h.url, nil)
	require.NoError(t, err)
	s := <-h.sessions
	require.NoError(t, s.conn.Send(context.Background(), &transport.Error{Code: transport.CodeSpace, Message: "no"}))
	s.end()
	got, err := c.Recv(context.Background())
	require.NoError(t, err)
	require.EqualError(t, got.(*transport.Error), "no (space)")
	_, err = c.Recv(context.Background())
	require.ErrorIs(t, err, transport.ErrClosed)
}

// A server that speaks first is no path that lets nothing through.
func TestServerSpeaksFirst(t *testing.T) {
	s := httplink.Handler(&httplink.ServerOptions{Accept: func(ctx context.Context, _ string, c transport.Conn, _ transport.Grant) error {
		for nonce := range 10 {
			if err := c.Send(ctx, &transport.Ping{Nonce: uint64(nonce)}); err != nil {
				return err
			}
		}
		_, err := c.Recv(ctx)
		return err
	}})
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := dial(t, server.URL+"/spaces/crew", &httplink.Options{Probe: time.Hour})
	require.NoError(t, err)
	require.Equal(t, httplink.RungWebSocket, httplink.RungOf(c))
	for nonce := range 10 {
		f, err := c.Recv(t.Context())
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: uint64(nonce)}, f)
	}
	require.NoError(t, c.Close())
	require.NoError(t, s.Close(context.Background()))
}
