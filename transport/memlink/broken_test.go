package memlink_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
	"github.com/godwitdb/godwit/transport/transporttest"
)

func TestBroken(t *testing.T) {
	transporttest.RunBroken(t, func(tb testing.TB) (a, b transport.Conn, cut func()) {
		n := memlink.New(1)
		tb.Cleanup(func() { require.NoError(tb, n.Close()) })
		a, b = connect(tb, n)
		return a, b, func() { n.CutNode("phone") }
	})
}
