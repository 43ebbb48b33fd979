package httplink

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/godwitdb/godwit/transport"
)

const defaultMaxSessions = 10_000

// ServerOptions of a server. Accept is required.
type ServerOptions struct {
	// Accept runs the session of one connection with what Authorize granted.
	// The connection is closed when it returns; its error is dropped (the session reports it). The
	// context ends when the server closes.
	Accept func(ctx context.Context, space string, c transport.Conn, g transport.Grant) error

	// Authorize is asked before a connection is opened, and says what the peer
	// may do; nil grants everything to everyone.
	// An error with the code (see transport.CodeOf) CodeAuth answers 403,
	// CodeSpace 404 and CodeBusy 503, with the message of a *transport.Error;
	// every other error answers 401, without its text.
	Authorize Authorizer

	MaxSessions int           // open connections beyond this are refused with 503; 0 means 10,000
	Heartbeat   time.Duration // as in Options
}

// Server hosts spaces under PREFIX/spaces/NAME, for any prefix. It is an
// http.Handler, to be made with Handler. The http.Server around it should set
// ReadHeaderTimeout; its other timeouts do not touch open connections, and its
// Shutdown does not wait for them: call Close too.
type Server struct {
	opts  ServerOptions
	codec *transport.Codec
	done  sync.WaitGroup // sessions, and what ends them

	mu     sync.Mutex // guards what follows
	closed bool
	count  int
	open   map[*conn]context.CancelFunc
}

// Handler returns a server. It can be mounted anywhere.
func Handler(opts *ServerOptions) *Server {
	s := &Server{opts: *opts, codec: transport.NewCodec(), open: map[*conn]context.CancelFunc{}}
	if s.opts.MaxSessions <= 0 {
		s.opts.MaxSessions = defaultMaxSessions
	}
	return s
}

// ServeHTTP opens a connection to the space named by the path, and returns when
// its session has ended.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	space, ok := spaceOf(r.URL.Path)
	if !ok {
		http.Error(w, "no such space: want /spaces/NAME, NAME being 1 to 64 of a-z, 0-9 and ._-", http.StatusNotFound)
		return
	}
	grant := transport.FullGrant()
	if s.opts.Authorize != nil {
		var err error
		if grant, err = s.opts.Authorize(r, space); err != nil {
			refuse(w, err)
			return
		}
	}
	if !s.enter() {
		refuse(w, &transport.Error{Code: transport.CodeBusy, Message: "no room for another session, come back later"})
		return
	}
	defer s.leave()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	if ws.Subprotocol() != subprotocol {
		_ = ws.Close(websocket.StatusPolicyViolation, "want subprotocol "+subprotocol)
		return
	}
	s.serve(r.Context(), space, newConn(ws, s.codec, s.opts.Heartbeat), grant)
}

func (s *Server) serve(ctx context.Context, space string, c *conn, grant transport.Grant) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.open[c] = cancel
	closed := s.closed
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	}()
	if closed {
		goodbye(ctx, c)
		return
	}
	_ = s.opts.Accept(ctx, space, c, grant)
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.count >= s.opts.MaxSessions {
		return false
	}
	s.count++
	s.done.Add(1)
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	s.done.Done()
}

// Sessions returns the number of open connections.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Close refuses new connections, ends the open ones with an Error frame of
// CodeClosed and waits for their sessions. When ctx ends first it returns the
// context's error, and the sessions are still about to end.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for c, cancel := range s.open {
		s.done.Go(func() {
			goodbye(ctx, c)
			cancel()
			_ = c.Close()
		})
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		s.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// goodbye tells the peer why the connection ends, if that is possible soon.
func goodbye(ctx context.Context, c *conn) {
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	_ = c.Send(ctx, &transport.Error{Code: transport.CodeClosed, Message: "the server is shutting down"})
}

// refuse answers a request that is not let in.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusUnauthorized
	switch transport.CodeOf(err) {
	case transport.CodeAuth:
		status = http.StatusForbidden
	case transport.CodeSpace:
		status = http.StatusNotFound
	case transport.CodeBusy:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	default:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	text := http.StatusText(status)
	var told *transport.Error
	if errors.As(err, &told) && status != http.StatusUnauthorized {
		text = told.Message
	}
	http.Error(w, text, status)
}
