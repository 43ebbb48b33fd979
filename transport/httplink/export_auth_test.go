package httplink

import (
	"time"

	"github.com/godwitdb/godwit/transport"
)

// NewGranted and NewRenewing are the two ends of a connection whose rights end,
// for tests over memlink and with a clock of their own.
func NewGranted(c transport.Conn, g transport.Grant, renew func(string) (transport.Grant, error), l Limits) transport.Conn {
	return newGranted(c, g, renew, newIdentities(l).find("subject x"))
}

func NewRenewing(c transport.Conn, source TokenSource, token string, expires time.Time) transport.Conn {
	return newRenewing(c, source, token, expires)
}

// MaxIdle is how many identities without session are remembered.
const MaxIdle = maxIdle

// Remembered returns how many identities a server knows.
func (s *Server) Remembered() int {
	s.identities.mu.Lock()
	defer s.identities.mu.Unlock()
	return len(s.identities.byName)
}
