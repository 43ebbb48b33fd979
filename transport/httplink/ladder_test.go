package httplink_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

var quiet = log.New(io.Discard, "", 0)

// wave is a Changes frame of about n bytes, numbered.
func wave(number, n int) *transport.Changes {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(number), byte(n), byte(n >> 8)}).Read(data) // does not compress
	return &transport.Changes{Part: uint64(number), Sets: []transport.Set{{Members: []transport.Member{{Collection: "c", ID: "1", Data: data}}}}}
}

// converse sends frames both ways, at once and in turns, and holds what arrives
// against what was sent.
func converse(t *testing.T, a, b transport.Conn, frames, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	waves := make([]*transport.Changes, frames)
	for i := range waves {
		waves[i] = wave(i, 1+(i*7919)%size)
	}
	send := func(c transport.Conn) (err error) {
		for i := 0; i < frames && err == nil; i++ {
			err = c.Send(ctx, waves[i])
		}
		return err
	}
	receive := func(c transport.Conn) error {
		for i := range frames {
			if err := expect(ctx, c, waves[i]); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make(chan error, 4)
	for _, c := range []transport.Conn{a, b} {
		go func() { errs <- send(c) }()
		go func() { errs <- receive(c) }()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	for _, w := range waves {
		require.NoError(t, a.Send(ctx, w))
		require.NoError(t, expect(ctx, b, w))
		require.NoError(t, b.Send(ctx, w))
		require.NoError(t, expect(ctx, a, w))
	}
}

func expect(ctx context.Context, c transport.Conn, want *transport.Changes) error {
	got, err := c.Recv(ctx)
	if err == nil && !equal(got, want) {
		err = fmt.Errorf("frame %d is not what was sent", want.Part)
	}
	return err
}

func equal(f transport.Frame, want *transport.Changes) bool {
	got, ok := f.(*transport.Changes)
	return ok && got.Part == want.Part && len(got.Sets) == 1 && string(got.Sets[0].Members[0].Data) == string(want.Sets[0].Members[0].Data)
}

// dialLink dials a link, until the test ends.
func dialLink(t *testing.T, link transport.Link) transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := link.Dial(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newLink(t *testing.T, url string, opts *httplink.Options) transport.Link {
	t.Helper()
	link, err := httplink.New(url, opts)
	require.NoError(t, err)
	return link
}

// Whatever is between, the highest rung that gets through is taken, and works.
func TestLadder(t *testing.T) {
	for name, tt := range map[string]struct {
		box  *middlebox
		want httplink.Rung
	}{
		"nothing bad":        {&middlebox{}, httplink.RungWebSocket},
		"strips upgrade":     {&middlebox{before: stripsUpgrade}, httplink.RungEvents},
		"refuses with 400":   {&middlebox{before: refusesUpgrade(400)}, httplink.RungEvents},
		"refuses with 403":   {&middlebox{before: refusesUpgrade(403)}, httplink.RungEvents},
		"refuses with 404":   {&middlebox{before: refusesUpgrade(404)}, httplink.RungEvents},
		"refuses with 501":   {&middlebox{before: refusesUpgrade(501)}, httplink.RungEvents},
		"refuses with 503":   {&middlebox{before: refusesUpgrade(503)}, httplink.RungEvents},
		"portal":             {&middlebox{before: refusesUpgrade(200)}, httplink.RungEvents},
		"swallows":           {&middlebox{before: swallows}, httplink.RungEvents},
		"breaks off":         {&middlebox{before: breaksUpgrade}, httplink.RungEvents},
		"never answers":      {&middlebox{before: ignoresUpgrade}, httplink.RungEvents},
		"buffers":            {&middlebox{before: stripsUpgrade, body: keepsAll}, httplink.RungPoll},
		"buffers websockets": {&middlebox{body: keepsAll}, httplink.RungWebSocket},
		"posts only":         {&middlebox{before: postsOnly}, httplink.RungPost},
		"posts only, kept":   {&middlebox{before: postsOnly, body: keepsAll}, httplink.RungPost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := listen(t, httplink.ServerOptions{})
			m := between(t, h, tt.box)
			c := dialLink(t, newLink(t, m.url, &httplink.Options{Probe: 500 * time.Millisecond}))
			require.Equal(t, tt.want, httplink.RungOf(c))
			for { // a probe that timed out may have left a session behind
				s := <-h.sessions
				if s.ctx.Err() == nil && len(h.sessions) == 0 {
					converse(t, c, s.conn, 20, 100_000)
					break
				}
			}
			require.Equal(t, tt.want, httplink.RungOf(c))
		})
	}
}

func breaksUpgrade(w http.ResponseWriter, r *http.Request) bool {
	if isUpgrade(r) {
		panic(http.ErrAbortHandler)
	}
	return false
}

func ignoresUpgrade(_ http.ResponseWriter, r *http.Request) bool {
	if isUpgrade(r) {
		<-r.Context().Done()
	}
	return isUpgrade(r)
}

// What is lost, cut short, repeated or held up on the way neither loses nor
// repeats a frame, nor changes their order, on any rung.
func TestBadWeather(t *testing.T) {
	for name, set := range map[string]func(m *middlebox, w *weather, onward http.RoundTripper){
		"cuts":    func(m *middlebox, w *weather, _ http.RoundTripper) { m.body = w.cuts(8<<10, 64<<10) },
		"repeats": func(m *middlebox, w *weather, onward http.RoundTripper) { m.carry = w.repeats(0.5, onward) },
		"loses":   func(m *middlebox, w *weather, onward http.RoundTripper) { m.carry = w.loses(0.2, onward) },
		"delays":  func(m *middlebox, w *weather, _ http.RoundTripper) { m.before = w.delays(20 * time.Millisecond) },
		"all": func(m *middlebox, w *weather, onward http.RoundTripper) {
			m.body, m.before = w.cuts(8<<10, 64<<10), w.delays(5*time.Millisecond)
			m.carry = w.loses(0.1, roundTripper(w.repeats(0.3, onward)))
		},
	} {
		for _, rung := range httplink.Rungs()[1:] {
			t.Run(name+"/"+string(rung), func(t *testing.T) {
				t.Parallel()
				onward := &http.Transport{}
				defer onward.CloseIdleConnections()
				h := listen(t, httplink.ServerOptions{})
				m, w := &middlebox{}, newWeather(t)
				set(m, w, onward)
				between(t, h, m)
				c := dialLink(t, newLink(t, m.url, &httplink.Options{Rung: rung}))
				s := <-h.sessions
				w.on.Store(true)
				converse(t, c, s.conn, 25, 200_000)
				require.Positive(t, w.bad.Load(), "the weather was bad")
				require.Equal(t, rung, httplink.RungOf(c))
				require.Empty(t, h.sessions, "one connection held")
			})
		}
	}
}

// An event that comes again is passed over by its id.
func TestRepeatedEvents(t *testing.T) {
	t.Parallel()
	h := listen(t, httplink.ServerOptions{})
	m := between(t, h, &middlebox{before: stripsUpgrade, body: func(r *http.Request, body io.ReadCloser) io.ReadCloser {
		if r.Header.Get("Accept") == "text/event-stream" {
			return stutters(r, body)
		}
		return body
	}})
	c, s := h.connect(t, m.url, &httplink.Options{Rung: httplink.RungEvents})
	converse(t, c, s, 20, 50_000)
}

// A connection goes down a rung in place when what carried it no longer gets
// through, and up again when that does.
func TestChangesRung(t *testing.T) {
	t.Parallel()
	var buffering, getless atomic.Bool
	h := listen(t, httplink.ServerOptions{Heartbeat: 200 * time.Millisecond, IdleTimeout: 20 * time.Second})
	m := between(t, h, &middlebox{})
	m.before = func(w http.ResponseWriter, r *http.Request) bool {
		return stripsUpgrade(w, r) || getless.Load() && postsOnly(w, r)
	}
	m.body = func(r *http.Request, body io.ReadCloser) io.ReadCloser {
		if buffering.Load() {
			return keepsAll(r, body)
		}
		return &cutOff{body, &buffering}
	}
	c := dialLink(t, newLink(t, m.url, &httplink.Options{Heartbeat: 200 * time.Millisecond, Probe: 200 * time.Millisecond, ClimbAfter: 500 * time.Millisecond}))
	s := <-h.sessions
	reaches := func(want httplink.Rung) {
		t.Helper()
		for start := time.Now(); httplink.RungOf(c) != want; {
			converse(t, c, s.conn, 3, 5000)
			require.Less(t, time.Since(start), 30*time.Second, "%s", want)
		}
	}
	reaches(httplink.RungEvents)
	buffering.Store(true)
	reaches(httplink.RungPoll)
	getless.Store(true)
	reaches(httplink.RungPost)
	getless.Store(false)
	reaches(httplink.RungPoll)
	buffering.Store(false)
	reaches(httplink.RungEvents)
	require.Empty(t, h.sessions, "one connection held")
}

// cutOff is a body that breaks off once stop is set.
type cutOff struct {
	io.ReadCloser
	stop *atomic.Bool
}

func (u *cutOff) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if u.stop.Load() {
		return 0, errCut
	}
	return n, err
}

// A rung that was found blocked is left out for a while; a connection below a
// WebSocket ends when one has become possible, and the next takes it.
func TestClimbs(t *testing.T) {
	var open atomic.Bool
	h := listen(t, httplink.ServerOptions{})
	m := between(t, h, &middlebox{})
	m.before = func(w http.ResponseWriter, r *http.Request) bool { return !open.Load() && stripsUpgrade(w, r) }
	slow := newLink(t, m.url, &httplink.Options{ClimbAfter: time.Hour})
	for range 3 {
		require.Equal(t, httplink.RungEvents, httplink.RungOf(dialLink(t, slow)))
		<-h.sessions
	}
	require.EqualValues(t, 1, m.upgrades.Load(), "it is remembered that WebSockets are blocked")

	link := newLink(t, m.url, &httplink.Options{ClimbAfter: 50 * time.Millisecond})
	c := dialLink(t, link)
	s := <-h.sessions
	converse(t, c, s.conn, 3, 5000)
	open.Store(true)
	_, err := c.Recv(context.Background())
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorContains(t, err, "better path")
	require.Equal(t, transport.CodeClosed, transport.CodeOf(err))
	require.NoError(t, c.Close())
	_, err = s.conn.Recv(context.Background())
	require.ErrorIs(t, err, transport.ErrClosed)
	require.Equal(t, httplink.RungWebSocket, httplink.RungOf(dialLink(t, link)))
	<-h.sessions
}

// What the hub itself says is not taken for a blocked path: one request is enough
// to know it.
func TestRefusalsAreFinal(t *testing.T) {
	for _, code := range []string{transport.CodeAuth, transport.CodeSpace, transport.CodeBusy, "other"} {
		for _, rung := range append(httplink.Rungs(), "") {
			h := listen(t, httplink.ServerOptions{Authorize: func(*http.Request, string) (transport.Grant, error) {
				return transport.Grant{}, &transport.Error{Code: code, Message: "no"}
			}})
			m := between(t, h, &middlebox{})
			_, err := newLink(t, m.url, &httplink.Options{Rung: rung}).Dial(context.Background())
			var refused *transport.DialError
			require.ErrorAs(t, err, &refused)
			require.EqualValues(t, 1, m.requests.Load(), "%s on %q: %v", code, rung, err)
		}
	}
}

func TestPinnedRungs(t *testing.T) {
	_, err := httplink.New("http://h/spaces/x", &httplink.Options{Rung: "pigeon"})
	require.ErrorContains(t, err, "pigeon")
	h := listen(t, httplink.ServerOptions{})
	for rung, m := range map[httplink.Rung]*middlebox{
		httplink.RungWebSocket: {before: stripsUpgrade},
		httplink.RungEvents:    {body: keepsAll},
		httplink.RungPoll:      {before: postsOnly},
		httplink.RungPost: {before: func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "blocked", http.StatusForbidden)
			return true
		}},
	} {
		link := newLink(t, between(t, h, m).url, &httplink.Options{Rung: rung, Probe: 300 * time.Millisecond})
		_, err := link.Dial(context.Background())
		var refused *transport.DialError
		require.ErrorAs(t, err, &refused, "%s", rung)
		t.Log(err)
	}
	for len(h.sessions) > 0 { // those below the WebSocket were opened, and left
		s := <-h.sessions
		_, err := s.conn.Recv(context.Background())
		require.ErrorIs(t, err, transport.ErrClosed)
	}
}

// A path that swallows everything without breaking is noticed by both ends.
func TestHalfOpen(t *testing.T) {
	const beat = 100 * time.Millisecond
	eachRung(t, httplink.Rungs(), func(t *testing.T, rung httplink.Rung) {
		h := listen(t, httplink.ServerOptions{Heartbeat: beat})
		m := between(t, h, &middlebox{})
		c, s := h.connect(t, m.url, &httplink.Options{Rung: rung, Heartbeat: beat})
		converse(t, c, s, 3, 5000)
		m.lines.freeze()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for _, end := range []transport.Conn{c, s} {
			_, err := end.Recv(ctx)
			require.ErrorIs(t, err, transport.ErrClosed)
		}
	})
}
