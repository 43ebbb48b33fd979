package transporttest

import (
	"testing"

	"github.com/godwitdb/godwit/transport"
)

// Factory returns a pair of connected Conns, closed when the test ends.
type Factory func(tb testing.TB) (dialled, accepted transport.Conn)

// Run holds the Conns of a carrier against the contract of transport.Conn.
func Run(t *testing.T, factory Factory) {}
