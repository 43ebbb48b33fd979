package httplink_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/memlink"
	"github.com/godwitdb/godwit/transport/transporttest"
)

// The wrappers are Conns like those they wrap.
func TestGrantedConformance(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, func(tb testing.TB) (a, b transport.Conn) {
		h := listen(tb, httplink.ServerOptions{
			Authorize: func(*http.Request, string) (transport.Grant, error) {
				g := transport.FullGrant()
				g.Subject, g.Expires = "alice", time.Now().Add(time.Hour)
				return g, nil
			},
			Limits: httplink.Limits{Requests: 1e6, Frames: 1e6, Bytes: 1e9, Sessions: 10},
		})
		source := func(context.Context) (string, time.Time, error) { return "t", time.Now().Add(time.Hour), nil }
		a, err := dial(tb, h.url, &httplink.Options{TokenSource: source})
		require.NoError(tb, err)
		return a, (<-h.sessions).conn
	})
}

// pair returns the two ends of a connection in memory.
func pair(t *testing.T) (client, server transport.Conn) {
	n := memlink.New(1)
	accepted := make(chan transport.Conn, 1)
	_, err := n.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		accepted <- c
		<-ctx.Done()
		return nil
	})
	require.NoError(t, err)
	client, err = n.Link("edge", "hub").Dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return client, <-accepted
}

func until(at time.Time) transport.Grant {
	return transport.Grant{Subject: "alice", Read: transport.Everything(), Expires: at}
}

// Rights that end, end the session: not before, at once then, and with a word.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		client, server := pair(t)
		start := time.Now()
		c := httplink.NewGranted(server, until(start.Add(time.Minute)), nil, httplink.Limits{})
		require.NoError(t, c.Send(ctx, &transport.Ping{Nonce: 1}))
		_, err := c.Recv(ctx)
		require.Equal(t, time.Minute, time.Since(start))
		require.ErrorIs(t, err, transport.ErrClosed)
		require.Equal(t, transport.CodeExpired, transport.CodeOf(err))
		require.ErrorIs(t, c.Send(ctx, &transport.Ping{}), transport.ErrClosed)
		_, err = c.Recv(ctx)
		require.Equal(t, transport.CodeExpired, transport.CodeOf(err))

		f, err := client.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: 1}, f)
		f, err = client.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, transport.CodeExpired, f.(*transport.Error).Code, "nothing was sent after the end but the reason")
	})
}

// A frame that comes after the end is not delivered, even if it waited there.
func TestNothingAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		c := httplink.NewGranted(server, until(time.Now().Add(time.Second)), nil, httplink.Limits{})
		require.NoError(t, client.Send(t.Context(), &transport.Ping{}))
		time.Sleep(time.Second)
		_, err := c.Recv(t.Context())
		require.Equal(t, transport.CodeExpired, transport.CodeOf(err))
	})
}

// A cancelled Recv is no end of rights.
func TestCancelledRecv(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		c := httplink.NewGranted(server, until(time.Now().Add(time.Hour)), nil, httplink.Limits{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Recv(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, client.Send(t.Context(), &transport.Ping{Nonce: 2}))
		f, err := c.Recv(t.Context())
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: 2}, f)
	})
}

// A client that shows fresh tokens in time keeps its session; the session does
// not see them.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, start := t.Context(), time.Now()
		left, right := pair(t)
		asked := 0
		source := func(context.Context) (string, time.Time, error) {
			if asked++; time.Since(start) < 46*time.Second {
				return "", time.Time{}, errors.New("the issuer is away")
			}
			return time.Now().Format(time.RFC3339Nano), time.Now().Add(time.Minute), nil
		}
		var renewed []time.Time
		renew := func(token string) (transport.Grant, error) {
			at, err := time.Parse(time.RFC3339Nano, token)
			renewed = append(renewed, at)
			return until(at.Add(time.Minute)), err
		}
		client := httplink.NewRenewing(left, source, "first", start.Add(time.Minute))
		defer client.Close()
		server := httplink.NewGranted(right, until(start.Add(time.Minute)), renew, httplink.Limits{})
		go func() {
			time.Sleep(10 * time.Minute)
			_ = client.Send(ctx, &transport.Ping{Nonce: 5})
		}()
		f, err := server.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: 5}, f)
		require.Equal(t, 10*time.Minute, time.Since(start))
		require.Greater(t, len(renewed), 8)
		require.Less(t, asked, 20)
	})
}

// What a token may change is when rights end, nothing else.
func TestRenewalRefused(t *testing.T) {
	later := until(time.Now().Add(240 * time.Hour))
	other := func(change func(*transport.Grant)) transport.Grant {
		g := later
		change(&g)
		return g
	}
	for name, tt := range map[string]struct {
		grant transport.Grant
		err   error
		code  string // "" when the session goes on
	}{
		"same":          {grant: later},
		"not known":     {err: &transport.Error{Code: transport.CodeToken, Message: "who?"}, code: transport.CodeToken},
		"no rights":     {err: &transport.Error{Code: transport.CodeAuth, Message: "no"}, code: transport.CodeAuth},
		"over":          {err: &transport.Error{Code: transport.CodeExpired, Message: "no"}, code: transport.CodeExpired},
		"broken":        {err: errors.New("secret detail"), code: transport.CodeToken},
		"other subject": {grant: other(func(g *transport.Grant) { g.Subject = "root" }), code: transport.CodeExpired},
		"reads less":    {grant: other(func(g *transport.Grant) { g.Read = transport.Scope{} }), code: transport.CodeExpired},
		"writes more":   {grant: other(func(g *transport.Grant) { g.Write = transport.Everything() }), code: transport.CodeExpired},
		"relays":        {grant: other(func(g *transport.Grant) { g.Relay = true }), code: transport.CodeExpired},
		"admin":         {grant: other(func(g *transport.Grant) { g.Admin = true }), code: transport.CodeExpired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, right := pair(t)
				server := httplink.NewGranted(right, until(time.Now().Add(time.Hour)), func(token string) (transport.Grant, error) {
					require.Equal(t, "fresh", token)
					return tt.grant, tt.err
				}, httplink.Limits{})
				require.NoError(t, client.Send(t.Context(), &transport.Token{Bearer: "fresh"}))
				require.NoError(t, client.Send(t.Context(), &transport.Ping{}))
				f, err := server.Recv(t.Context())
				if tt.code == "" {
					require.NoError(t, err)
					require.Equal(t, &transport.Ping{}, f)
					return
				}
				require.Equal(t, tt.code, transport.CodeOf(err))
				f, err = client.Recv(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.code, f.(*transport.Error).Code)
				require.NotContains(t, f.(*transport.Error).Message, "secret")
			})
		})
	}
}

// Over real sockets and on every rung: the session outlives the token that it
// was opened with, since the hub was shown another one in time.
func TestRenewalOverHTTP(t *testing.T) {
	for _, rung := range httplink.Rungs() {
		t.Run(string(rung), func(t *testing.T) {
			t.Parallel()
			end := time.Now().Add(time.Second)
			over := end.Add(2 * time.Second) // with leeway, as hubs have it
			h := listen(t, httplink.ServerOptions{Authorize: func(r *http.Request, space string) (transport.Grant, error) {
				if r.Header.Get("Authorization") == "Bearer second" && space == "crew" {
					return until(time.Now().Add(time.Hour)), nil
				}
				return until(over), nil
			}})
			source := func(context.Context) (string, time.Time, error) {
				if time.Until(end) > 500*time.Millisecond {
					return "first", end, nil
				}
				return "second", time.Now().Add(time.Hour), nil
			}
			c, err := dial(t, h.url, &httplink.Options{TokenSource: source, Rung: rung})
			require.NoError(t, err)
			s := <-h.sessions
			recv := make(chan error, 1)
			go func() { _, err := s.conn.Recv(s.ctx); recv <- err }()
			require.Eventually(t, func() bool { return time.Now().After(over) }, 30*time.Second, 10*time.Millisecond)
			require.NoError(t, c.Send(t.Context(), &transport.Ping{}))
			require.NoError(t, <-recv, "the session goes on, and does not see the token")
			require.NoError(t, s.conn.Send(s.ctx, &transport.Pong{}))
			_, err = c.Recv(t.Context())
			require.NoError(t, err)
			s.end()
		})
	}
}

// Over its limits a peer is slowed down; one that does not let off is sent away.
func TestFrameLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, start := t.Context(), time.Now()
		client, right := pair(t)
		server := httplink.NewGranted(right, transport.FullGrant(), nil, httplink.Limits{Frames: 100})
		go func() {
			for client.Send(ctx, &transport.Ping{}) == nil {
			}
		}()
		got := 0
		var err error
		for ; err == nil && got < 10_000; got++ {
			_, err = server.Recv(ctx)
		}
		require.Equal(t, transport.CodeRate, transport.CodeOf(err))
		require.NotErrorIs(t, err, transport.ErrClosed, "it is worth a line in the log")
		require.InDelta(t, 10, time.Since(start).Seconds(), 1.5)
		require.InDelta(t, 1100, got, 150)
		var last transport.Frame
		for err = nil; err == nil && (last == nil || last.Kind() != transport.KindError); {
			last, err = client.Recv(ctx)
		}
		require.Equal(t, transport.CodeRate, last.(*transport.Error).Code)
		_ = client.Close()
	})
}

// One that pauses is served for ever.
func TestFrameLimitWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		client, right := pair(t)
		server := httplink.NewGranted(right, transport.FullGrant(), nil, httplink.Limits{Frames: 100})
		go func() {
			for range 60 {
				for range 150 {
					if client.Send(ctx, &transport.Ping{}) != nil {
						return
					}
				}
				time.Sleep(3 * time.Second)
			}
			_ = client.Close()
		}()
		got := 0
		for {
			if _, err := server.Recv(ctx); err != nil {
				require.Equal(t, transport.CodeClosed, transport.CodeOf(err))
				break
			}
			got++
		}
		require.Equal(t, 60*150, got)
	})
}

func TestByteLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, start := t.Context(), time.Now()
		client, right := pair(t)
		server := httplink.NewGranted(right, transport.FullGrant(), nil, httplink.Limits{Bytes: 1}) // which is 1 MiB
		noise := make([]byte, 1<<20)
		x := uint64(1)
		for i := range noise {
			x = x*6364136223846793005 + 1442695040888963407
			noise[i] = byte(x >> 56)
		}
		go func() {
			for range 40 {
				if client.Send(ctx, &transport.Changes{Sets: []transport.Set{{Members: []transport.Member{{Data: noise}}}}}) != nil {
					return
				}
			}
		}()
		for range 40 {
			_, err := server.Recv(ctx)
			require.NoError(t, err)
		}
		require.InDelta(t, 31, time.Since(start).Seconds(), 2, "40 MiB, of which 9 at once")
	})
}

func TestSessionLimit(t *testing.T) {
	h := listen(t, httplink.ServerOptions{
		Authorize: bearer(t, `[{"sub":"a","token":"a1","godwit":[{"spaces":["*"]}]},{"sub":"a","token":"a2","godwit":[{"spaces":["*"]}]},
			{"sub":"b","token":"b","godwit":[{"spaces":["*"]}]}]`),
		Limits: httplink.Limits{Sessions: 2},
	})
	open := func(token string) (transport.Conn, error) { return dial(t, h.url, &httplink.Options{Token: token}) }
	first, err := open("a1")
	require.NoError(t, err)
	_, err = open("a2")
	require.NoError(t, err)
	_, err = open("a1")
	require.Equal(t, transport.CodeRate, transport.CodeOf(err))
	var refused *transport.DialError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 5*time.Second, refused.RetryAfter)
	_, err = open("b")
	require.NoError(t, err, "another subject has limits of its own")
	require.NoError(t, first.Close())
	(<-h.sessions).end()
	require.Eventually(t, func() bool { _, err := open("a2"); return err == nil }, 30*time.Second, 10*time.Millisecond)
}

func TestRequestLimit(t *testing.T) {
	h := listen(t, httplink.ServerOptions{Limits: httplink.Limits{Requests: 0.01}}) // one at once, then one in 100 s
	_, err := dial(t, h.url, nil)
	require.NoError(t, err)
	_, err = dial(t, h.url, nil)
	var refused *transport.DialError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, transport.CodeRate, refused.Code)
	require.InDelta(t, 100, refused.RetryAfter.Seconds(), 5)
}

// Whoever guesses is not listened to for a while, not even when it guesses right.
func TestFailureLimit(t *testing.T) {
	h := listen(t, httplink.ServerOptions{
		Authorize: bearer(t, `[{"sub":"a","token":"right","godwit":[{"spaces":["crew"]}]},{"sub":"b","token":"elsewhere","godwit":[{"spaces":["other"]}]}]`),
		Limits:    httplink.Limits{Failures: 0.3}, // three at once, then one in 3.3 s
	})
	open := func(token string) *transport.DialError {
		_, err := dial(t, h.url, &httplink.Options{Token: token, Rung: httplink.RungWebSocket})
		var refused *transport.DialError
		if err != nil {
			require.ErrorAs(t, err, &refused)
		}
		return refused
	}
	for range 3 {
		require.Nil(t, open("right"), "what is accepted does not count")
		require.Equal(t, transport.CodeAuth, open("elsewhere").Code, "nor who is known")
		require.Equal(t, transport.CodeToken, open("wrong").Code)
	}
	refused := open("wrong")
	require.Equal(t, transport.CodeRate, refused.Code)
	require.InDelta(t, 3, refused.RetryAfter.Seconds(), 2)
	require.Equal(t, transport.CodeRate, open("right").Code)
}

// Whoever comes with ever new names takes no more memory for it.
func TestIdentitiesAreBounded(t *testing.T) {
	n := 0
	s := httplink.Handler(&httplink.ServerOptions{
		Authorize: func(*http.Request, string) (transport.Grant, error) {
			n++
			return transport.Grant{Subject: time.Unix(int64(n), 0).String()}, nil
		},
		Accept: func(context.Context, string, transport.Conn, transport.Grant) error { return nil },
		Limits: httplink.Limits{Requests: 1},
	})
	for range httplink.MaxIdle + 100 {
		r, err := http.NewRequest(http.MethodGet, "/spaces/crew", nil)
		require.NoError(t, err)
		s.ServeHTTP(discard{}, r)
	}
	require.Equal(t, httplink.MaxIdle, s.Remembered())
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
