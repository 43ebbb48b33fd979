package httplink

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Options of a link. The zero Options is good for a hub without auth.
type Options struct {
	Token      string                                // a bearer token; "" for none
	TokenFunc  func(context.Context) (string, error) // asked at each dial instead of Token; for tokens that expire
	Header     http.Header                           // added to the request that dials
	HTTPClient *http.Client                          // nil means http.DefaultClient
	Backoff    transport.Backoff
	Heartbeat  time.Duration // how long a connection may be silent before it is probed; 0 means 20 s
}

// New returns a link to the space at url: http(s)://host[:port]/any/prefix/spaces/NAME
// (ws and wss are taken too). nil options mean the zero ones.
func New(url string, opts *Options) (transport.Link, error) { return nil, errors.ErrUnsupported }
