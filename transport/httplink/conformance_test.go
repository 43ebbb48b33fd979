package httplink_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/transporttest"
)

// eachRung runs a test for each of the rungs, at once: they wait more than they work.
func eachRung(t *testing.T, rungs []httplink.Rung, test func(t *testing.T, rung httplink.Rung)) {
	for _, rung := range rungs {
		t.Run(string(rung), func(t *testing.T) {
			t.Parallel()
			test(t, rung)
		})
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	eachRung(t, httplink.Rungs(), func(t *testing.T, rung httplink.Rung) {
		transporttest.Run(t, func(tb testing.TB) (a, b transport.Conn) {
			h := listen(tb, httplink.ServerOptions{})
			return h.connect(tb, h.url, &httplink.Options{Rung: rung})
		})
	})
}

// TCP connections break, and others take their place: a WebSocket has ended, the
// other rungs go on.
func TestConformanceBroken(t *testing.T) {
	t.Parallel()
	eachRung(t, httplink.Rungs(), func(t *testing.T, rung httplink.Rung) {
		transporttest.RunBroken(t, func(tb testing.TB) (a, b transport.Conn, cut func()) {
			h := listen(tb, httplink.ServerOptions{})
			m := between(tb, h, &middlebox{})
			a, b = h.connect(tb, m.url, &httplink.Options{Rung: rung})
			return a, b, func() { m.lines.cut(false) }
		})
	})
}

// The path is gone: both ends find that out by themselves.
func TestConformanceGone(t *testing.T) {
	if testing.Short() {
		t.Skip("TestHalfOpen and TestBadWeather do much of this")
	}
	t.Parallel()
	eachRung(t, []httplink.Rung{httplink.RungWebSocket, httplink.RungEvents, httplink.RungPost}, func(t *testing.T, rung httplink.Rung) {
		transporttest.RunBroken(t, func(tb testing.TB) (a, b transport.Conn, cut func()) {
			const beat = 50 * time.Millisecond
			h := listen(tb, httplink.ServerOptions{Heartbeat: beat})
			m := between(tb, h, &middlebox{})
			a, b = h.connect(tb, m.url, &httplink.Options{Rung: rung, Heartbeat: beat})
			return a, b, func() { m.lines.cut(true) }
		})
	})
}

// Requests that are repeated, lost and held up stay without consequence.
func TestConformanceHiding(t *testing.T) {
	if testing.Short() {
		t.Skip("TestHalfOpen and TestBadWeather do much of this")
	}
	t.Parallel()
	eachRung(t, httplink.Rungs()[1:], func(t *testing.T, rung httplink.Rung) {
		transporttest.RunHiding(t, func(tb testing.TB) (a, b transport.Conn) {
			onward := &http.Transport{}
			tb.Cleanup(onward.CloseIdleConnections)
			h, w := listen(tb, httplink.ServerOptions{}), newWeather(tb)
			m := between(tb, h, &middlebox{carry: w.loses(0.02, roundTripper(w.repeats(0.3, onward))), before: w.delays(time.Millisecond)})
			a, b = h.connect(tb, m.url, &httplink.Options{Rung: rung})
			w.on.Store(true)
			return a, b
		})
	})
}

// connect returns both ends of a connection that is carried by one rung.
func (h *hub) connect(tb testing.TB, url string, opts *httplink.Options) (dialled, accepted transport.Conn) {
	a, err := dial(tb, url, opts)
	require.NoError(tb, err)
	require.Equal(tb, opts.Rung, httplink.RungOf(a))
	return a, (<-h.sessions).conn
}
