package transport

import "context"

// Link is a path to one peer's space: it dials, again and again if need be.
// Links are safe for concurrent use.
type Link interface {
	// Dial opens a connection. ctx bounds the dialling only. A peer that
	// answers and says no gives a *DialError.
	Dial(ctx context.Context) (Conn, error)

	// Backoff says how long to wait between attempts.
	Backoff() Backoff

	// String names the link for people and logs; it holds no secrets.
	String() string
}

// Prober is implemented by a Link that can find out whether its peer can be reached,
// for less than a dial costs.
type Prober interface {
	// Probe asks the peer itself; nil means that it answered. Safe for concurrent use.
	Probe(ctx context.Context) error
}
