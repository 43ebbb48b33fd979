package httplink_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/transporttest"
)

func TestConformance(t *testing.T) {
	for _, rung := range httplink.Rungs() {
		t.Run(string(rung), func(t *testing.T) {
			transporttest.Run(t, func(tb testing.TB) (a, b transport.Conn) {
				h := listen(tb, httplink.ServerOptions{})
				return h.connect(tb, h.url, rung)
			})
		})
	}
}

// connect returns both ends of a connection that is carried by one rung.
func (h *hub) connect(tb testing.TB, url string, rung httplink.Rung) (dialled, accepted transport.Conn) {
	a, err := dial(tb, url, &httplink.Options{Rung: rung})
	require.NoError(tb, err)
	require.Equal(tb, rung, httplink.RungOf(a))
	return a, (<-h.sessions).conn
}
