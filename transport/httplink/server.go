package httplink

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// ServerOptions of a server. Accept is required.
type ServerOptions struct {
	// Accept runs the session of one connection. The connection is closed
	// when it returns; its error is dropped (the session reports it). The
	// context ends when the server closes.
	Accept func(ctx context.Context, space string, c transport.Conn) error

	// Authorize is asked before a connection is opened; nil lets everyone in.
	// A *transport.Error with CodeSpace answers 404, with CodeBusy 503, with
	// CodeAuth 403; every other error 401.
	Authorize func(r *http.Request, space string) error

	MaxSessions int           // open connections beyond this are refused with 503; 0 means 10,000
	Heartbeat   time.Duration // as in Options
}

// Server hosts spaces under PREFIX/spaces/NAME, for any prefix. It is an
// http.Handler.
type Server struct{}

// Handler returns a server. It can be mounted anywhere.
func Handler(opts *ServerOptions) *Server { return &Server{} }

// ServeHTTP opens a connection to the space named by the path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Sessions returns the number of open connections.
func (s *Server) Sessions() int { return 0 }

// Close refuses new connections, ends the open ones with an Error frame of
// CodeClosed and waits for their sessions, or for ctx.
func (s *Server) Close(ctx context.Context) error { return nil }

// BearerToken returns an authoriser for ServerOptions that wants
// "Authorization: Bearer TOKEN".
func BearerToken(token string) (func(*http.Request, string) error, error) {
	return nil, errors.ErrUnsupported
}

// BearerTokenFile is BearerToken with the token in a file; space around it is
// ignored.
func BearerTokenFile(path string) (func(*http.Request, string) error, error) {
	return nil, errors.ErrUnsupported
}

// CheckListen refuses to listen beyond this machine without auth, unless
// insecure says that this is meant. addr is what net.Listen takes.
func CheckListen(addr string, hasAuth, insecure bool) error { return errors.ErrUnsupported }
