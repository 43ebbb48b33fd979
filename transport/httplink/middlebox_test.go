package httplink_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// middlebox is a reverse proxy before a hub that gets in the way.
type middlebox struct {
	url      string // of the space "crew", through it
	server   *httptest.Server
	lines    lines
	upgrades atomic.Int64
	requests atomic.Int64

	// before is asked with each request, and may answer it itself.
	before func(w http.ResponseWriter, r *http.Request) (answered bool)
	// carry sends a request on to the hub.
	carry func(r *http.Request) (*http.Response, error)
	// body is what the client gets of an answer's.
	body func(r *http.Request, body io.ReadCloser) io.ReadCloser
}

// between puts a middlebox before a hub, until the test ends.
func between(tb testing.TB, h *hub, m *middlebox) *middlebox {
	target, err := url.Parse(strings.TrimSuffix(h.url, "/spaces/crew"))
	require.NoError(tb, err)
	onward := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		ErrorLog: quiet,
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if m.carry != nil {
				return m.carry(r)
			}
			return onward.RoundTrip(r)
		}),
		ModifyResponse: func(resp *http.Response) error {
			if m.body != nil && resp.StatusCode != http.StatusSwitchingProtocols {
				resp.Body = m.body(resp.Request, resp.Body)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	m.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.requests.Add(1)
		if isUpgrade(r) {
			m.upgrades.Add(1)
		}
		if m.before == nil || !m.before(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	m.server.Config.ErrorLog = quiet
	m.lines.Listener = m.server.Listener
	m.server.Listener = &m.lines
	m.server.Start()
	m.url = m.server.URL + "/spaces/crew"
	tb.Cleanup(func() {
		m.lines.cut(true)
		m.server.Close()
		onward.CloseIdleConnections()
	})
	return m
}

// lines are the connections of clients.
type lines struct {
	net.Listener
	mu   sync.Mutex // guards what follows
	open []*line
	gone bool
	ice  atomic.Bool
}

// line is one of them; frozen, it passes nothing on and does not say so.
type line struct {
	net.Conn
	ice  *atomic.Bool
	done chan struct{}
	once sync.Once
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.ice.Load() {
		<-l.done
		return 0, net.ErrClosed
	}
	return n, err
}

func (l *line) Write(p []byte) (int, error) {
	if l.ice.Load() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Conn.Close()
}

// freeze lets nothing through from now on, neither over what is open nor anew.
func (l *lines) freeze() { l.ice.Store(true) }

// Accept implements net.Listener.
func (l *lines) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &line{Conn: conn, ice: &l.ice, done: make(chan struct{})}
		l.mu.Lock()
		gone := l.gone
		l.open = append(l.open, c)
		l.mu.Unlock()
		if !gone {
			return c, nil
		}
		_ = c.Close()
	}
}

// cut breaks off what is open; for good, nothing is let through any more.
func (l *lines) cut(forGood bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = l.gone || forGood
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

// stripsUpgrade passes a WebSocket's opening on as a plain request.
func stripsUpgrade(_ http.ResponseWriter, r *http.Request) bool {
	r.Header.Del("Upgrade")
	r.Header.Del("Connection")
	return false
}

// refusesUpgrade answers a WebSocket's opening with a status.
func refusesUpgrade(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if isUpgrade(r) {
			http.Error(w, "blocked by policy", status)
			return true
		}
		return false
	}
}

// swallows lets a WebSocket be opened, and nothing through.
func swallows(w http.ResponseWriter, r *http.Request) bool {
	if !isUpgrade(r) {
		return false
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"godwit.1", "godwit.probe"}})
	if err == nil {
		ws.CloseRead(context.Background()) // until the client hangs up
		_ = ws.CloseNow()
	}
	return true
}

// postsOnly refuses all but POST.
func postsOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost {
		http.Error(w, "blocked by policy", http.StatusForbidden)
	}
	return r.Method != http.MethodPost
}

// keepsAll hands an answer's body on when it is whole.
func keepsAll(_ *http.Request, body io.ReadCloser) io.ReadCloser {
	return &kept{source: body}
}

type kept struct {
	source io.ReadCloser
	once   sync.Once
	whole  bytes.Reader
}

func (k *kept) Read(p []byte) (int, error) {
	k.once.Do(func() {
		all, _ := io.ReadAll(k.source)
		k.whole.Reset(all)
	})
	return k.whole.Read(p)
}

func (k *kept) Close() error { return k.source.Close() }

// broken is a body that breaks off after some bytes.
type broken struct {
	io.ReadCloser
	left int
	w    *weather
}

var errCut = errors.New("cut")

func (b *broken) Read(p []byte) (int, error) {
	if !b.w.on.Load() {
		return b.ReadCloser.Read(p)
	}
	if b.left == 0 {
		b.w.bad.Add(1)
		return 0, errCut
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// weather is what goes wrong with requests by chance. It is safe for concurrent use.
type weather struct {
	mu   sync.Mutex
	rand *rand.Rand
	on   atomic.Bool
	bad  atomic.Int64 // what was done to requests
}

func newWeather(tb testing.TB) *weather {
	seed := rand.Uint64()
	tb.Logf("seed %d", seed)
	return &weather{rand: rand.New(rand.NewPCG(seed, 0))}
}

func (w *weather) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	hit := w.rand.Float64() < p && w.on.Load()
	if hit {
		w.bad.Add(1)
	}
	return hit
}

func (w *weather) upTo(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

// repeats sends requests twice, as a proxy does that did not see the first answer.
func (w *weather) repeats(p float64, next http.RoundTripper) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if !w.chance(p) {
			return next.RoundTrip(r)
		}
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		first := r.Clone(r.Context())
		first.Body, first.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if resp, err := next.RoundTrip(first); err == nil {
			_ = resp.Body.Close()
		}
		return next.RoundTrip(r)
	}
}

// loses drops requests, or their answers.
func (w *weather) loses(p float64, next http.RoundTripper) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if w.chance(p / 2) {
			return nil, errCut
		}
		resp, err := next.RoundTrip(r)
		if err == nil && w.chance(p/2) {
			_ = resp.Body.Close()
			return nil, errCut
		}
		return resp, err
	}
}

// cuts breaks off each answer after some bytes.
func (w *weather) cuts(least, most int) func(*http.Request, io.ReadCloser) io.ReadCloser {
	return func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return &broken{body, least + w.upTo(most-least), w}
	}
}

// delays holds up requests for up to a time.
func (w *weather) delays(most time.Duration) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if !w.chance(1) {
			return false
		}
		t := time.NewTimer(time.Duration(w.upTo(int(most))))
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
		return false
	}
}

// stutters hands each event on twice.
func stutters(_ *http.Request, body io.ReadCloser) io.ReadCloser {
	return &stutter{ReadCloser: body, lines: bufio.NewReader(body)}
}

type stutter struct {
	io.ReadCloser
	lines *bufio.Reader
	left  []byte
}

func (s *stutter) Read(p []byte) (int, error) {
	for len(s.left) == 0 {
		var event []byte
		for len(event) == 0 || !bytes.HasSuffix(event, []byte("\n\n")) {
			line, err := s.lines.ReadBytes('\n')
			if event = append(event, line...); err != nil {
				return 0, err
			}
		}
		s.left = append(event, event...)
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}
