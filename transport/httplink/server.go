package httplink

import (
	"context"
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
	// An error with the code (see transport.CodeOf) CodeToken or CodeExpired
	// answers 401, CodeAuth 403, CodeSpace 404, CodeRate 429 and CodeBusy 503, with
	// the message of a *transport.Error; every other error answers 401, without its
	// text. It is asked again, with the same request, for each fresh token of a
	// session.
	Authorize Authorizer

	// Origins of web pages that may speak with this server, as SCHEME://HOST[:PORT];
	// see CheckOrigin. Pages of its own origin always may, those of others never;
	// what is no browser says no origin. A server on a loopback address without
	// Authorize takes only localhost for its own origin.
	Origins []string

	Limits Limits // of each identity

	MaxSessions int           // open connections beyond this are refused with 503; 0 means 10,000
	Heartbeat   time.Duration // as in Options
	IdleTimeout time.Duration // a connection that is no WebSocket ends after this long without a request; 0 means 3 heartbeats
}

// Server hosts spaces under PREFIX/spaces/NAME, for any prefix. It is an
// http.Handler, to be made with Handler. The http.Server around it should set
// ReadHeaderTimeout; its other timeouts do not touch open connections, and its
// Shutdown does not wait for them: call Close too.
type Server struct {
	opts       ServerOptions
	origins    *origins
	identities *identities // nil: without limits
	codec      *transport.Codec
	chunks     sync.Pool      // *[chunkSize]byte, to read bodies with
	done       sync.WaitGroup // sessions, and what ends them

	mu       sync.Mutex // guards what follows
	closed   bool
	count    int
	sessions map[transport.Conn]context.CancelFunc
	virtuals map[string]*virtual // by id
}

// Handler returns a server. It can be mounted anywhere.
func Handler(opts *ServerOptions) *Server {
	s := &Server{
		opts: *opts, origins: newOrigins(opts.Origins, opts.Authorize == nil), identities: newIdentities(opts.Limits),
		codec: transport.NewCodec(), chunks: sync.Pool{New: func() any { return new([chunkSize]byte) }},
		sessions: map[transport.Conn]context.CancelFunc{}, virtuals: map[string]*virtual{},
	}
	if s.opts.MaxSessions <= 0 {
		s.opts.MaxSessions = defaultMaxSessions
	}
	if s.opts.Heartbeat <= 0 {
		s.opts.Heartbeat = defaultHeartbeat
	}
	if s.opts.IdleTimeout <= 0 {
		s.opts.IdleTimeout = 3 * s.opts.Heartbeat
	}
	return s
}

// ServeHTTP answers a request of a connection to the space named by the path. A
// session runs on after the request that has opened it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	space, ok := spaceOf(r.URL.Path)
	if !ok {
		refuseWith(w, http.StatusNotFound, transport.CodeSpace, "no such space: want /spaces/NAME, NAME being 1 to 64 of a-z, 0-9 and ._-")
		return
	}
	if r.Method == http.MethodHead {
		s.here(w)
		return
	}
	grant, ok := s.authorize(w, r, space)
	switch {
	case !ok:
	case r.Method == http.MethodPost || r.Header.Get(headerLink) != "":
		s.carry(w, r, space, grant)
	default:
		s.upgrade(w, r, space, grant)
	}
}

// authorize says what the peer behind a request, any request, may do in the
// space, and answers the request itself when that is nothing or too much.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, space string) (grant transport.Grant, ok bool) {
	if !s.origins.allow(r) {
		refuseWith(w, http.StatusForbidden, transport.CodeAuth, "a page of another origin may not speak with this hub")
		return grant, false
	}
	grant = transport.FullGrant()
	if s.opts.Authorize != nil {
		if wait := s.identities.barred(r); wait > 0 {
			refuseRate(w, wait)
			return grant, false
		}
		var err error
		if grant, err = s.opts.Authorize(r, space); err != nil {
			s.identities.failed(r, err)
			refuse(w, err)
			return grant, false
		}
	}
	if wait := s.identities.request(identityOf(r, grant)); wait > 0 {
		refuseRate(w, wait)
		return grant, false
	}
	return grant, true
}

// upgrade opens a WebSocket, and begins its session or answers its probe.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, space string, grant transport.Grant) {
	who := identityOf(r, grant)
	if !s.enter(w, who) {
		return
	}
	ws, err := websocket.Accept(withSmallBuffers(w), r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol, probeProtocol}, CompressionMode: websocket.CompressionDisabled,
		InsecureSkipVerify: true, // the origin was checked
	})
	switch {
	case err != nil: // Accept has answered
	case ws.Subprotocol() == subprotocol:
		s.begin(r, space, newConn(ws, s.codec, s.opts.Heartbeat), grant)
		return
	case ws.Subprotocol() == probeProtocol:
		echoProbe(r.Context(), ws)
	default:
		_ = ws.Close(websocket.StatusPolicyViolation, "want subprotocol "+subprotocol)
	}
	s.leave(who)
}

// begin runs the session of a connection, for which enter was asked, in a
// goroutine of its own: that of the request, with its grown stack and buffers, is
// not kept for it.
func (s *Server) begin(r *http.Request, space string, c transport.Conn, grant transport.Grant) {
	ctx, who := context.WithoutCancel(r.Context()), identityOf(r, grant)
	c = newGranted(c, grant, s.renewer(r, space), s.identities.find(who))
	go func() {
		defer s.leave(who)
		s.serve(ctx, space, c, grant)
	}()
}

// serve runs the session of a connection with what was granted, and closes it.
func (s *Server) serve(ctx context.Context, space string, c transport.Conn, grant transport.Grant) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.sessions[c] = cancel
	closed := s.closed
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, c)
	}()
	if closed {
		goodbye(ctx, c)
		return
	}
	_ = s.opts.Accept(ctx, space, c, grant)
}

// enter reserves the place of a session, or answers that there is none.
func (s *Server) enter(w http.ResponseWriter, who string) bool {
	if !s.identities.begin(who) {
		refuse(w, &transport.Error{Code: transport.CodeRate, Message: "too many sessions of one peer, come back later"})
		return false
	}
	s.mu.Lock()
	why := ""
	switch {
	case s.closed:
		why = "shutting down, come back later"
	case s.count >= s.opts.MaxSessions:
		why = "no room for another session, come back later"
	default:
		s.count++
		s.done.Add(1)
	}
	s.mu.Unlock()
	if why != "" {
		s.identities.end(who)
		refuse(w, &transport.Error{Code: transport.CodeBusy, Message: why})
	}
	return why == ""
}

func (s *Server) leave(who string) {
	s.identities.end(who)
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

// Drain refuses new connections from now on, with 503 and Retry-After. Open ones go on
// until their sessions end, or Close is called.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Close refuses new connections, ends the open ones with an Error frame of
// CodeClosed and waits for their sessions. When ctx ends first it returns the
// context's error, and the sessions are still about to end.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for c, cancel := range s.sessions {
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
func goodbye(ctx context.Context, c transport.Conn) {
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	_ = c.Send(ctx, &transport.Error{Code: transport.CodeClosed, Message: "the server is shutting down"})
}
