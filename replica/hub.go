package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/godwitdb/godwit/transport"
)

// DefaultMaxSpaces bounds the spaces that a hub holds open at once.
const DefaultMaxSpaces = 256

// Hub hosts many spaces in one folder, each a replica in SPACE.db that is
// created when it is first asked for. It is safe for concurrent use.
type Hub struct {
	dir  string
	opts Options
	join func(space string, r *Replica) error // nil: nothing; see OnOpen

	mu     sync.Mutex // guards what follows
	spaces map[string]*hosted
	tick   int64

	draining, closed bool
}

// hosted is an open space.
type hosted struct {
	ready chan struct{} // closed when opening is over
	r     *Replica
	err   error
	users int   // sessions and callers
	used  int64 // tick of the last use
}

// OpenHub opens the folder, creating it if there is none. Spaces are opened with
// the given options, which may be nil.
func OpenHub(dir string, o *Options) (*Hub, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	return &Hub{dir: dir, opts: o.withDefaults(), spaces: map[string]*hosted{}}, nil
}

// OnOpen has join called for each space that is opened from now on, before anybody
// else may use it: to connect it to others, for example. An error of it keeps the space
// closed. It is to be called before anything else is.
func (h *Hub) OnOpen(join func(space string, r *Replica) error) { h.join = join }

// Accept speaks with a peer about a space, until one side ends the session or
// ctx does; the peer may do what grant says. It closes conn. A server is handed
// this function.
func (h *Hub) Accept(ctx context.Context, space string, conn transport.Conn, grant transport.Grant) error {
	hosted, err := h.acquire(ctx, space)
	if err != nil {
		refuse(ctx, conn, err)
		return fmt.Errorf("space %q: %w", space, err)
	}
	defer h.release(hosted)
	h.mu.Lock()
	draining := h.draining
	h.mu.Unlock()
	if draining { // Drain may not know the space
		refuse(ctx, conn, &transport.Error{Code: errDraining.code, Message: errDraining.message})
		return nil
	}
	return hosted.r.Accept(ctx, conn, grant)
}

// With opens the space if need be and runs fn on it; it stays open meanwhile.
func (h *Hub) With(ctx context.Context, space string, fn func(*Replica) error) error {
	s, err := h.acquire(ctx, space)
	if err != nil {
		return fmt.Errorf("space %q: %w", space, err)
	}
	defer h.release(s)
	return fn(s.r)
}

func (h *Hub) acquire(ctx context.Context, space string) (*hosted, error) {
	if !transport.ValidSpace(space) {
		return nil, &transport.Error{Code: transport.CodeSpace, Message: "not a name of a space: use 1 to 64 of a-z 0-9 . _ -"}
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	s := h.spaces[space]
	isNew := s == nil
	var idle *hosted
	if isNew {
		var err error
		if idle, err = h.makeRoom(); err != nil {
			h.mu.Unlock()
			return nil, err
		}
		s = &hosted{ready: make(chan struct{})}
		h.spaces[space] = s
	}
	s.users++
	h.tick++
	s.used = h.tick
	h.mu.Unlock()
	if isNew {
		h.open(ctx, space, s, idle)
	}
	<-s.ready
	if s.err != nil {
		h.release(s)
		return nil, s.err
	}
	return s, nil
}

// open opens a space and closes the one that made room for it.
func (h *Hub) open(ctx context.Context, space string, s *hosted, idle *hosted) {
	defer close(s.ready)
	if idle != nil {
		s.err = idle.r.Close()
	}
	if s.err == nil {
		opts := h.opts
		opts.Space = space
		s.r, s.err = Open(context.WithoutCancel(ctx), filepath.Join(h.dir, space+".db"), &opts)
		if s.err == nil && h.join != nil {
			if s.err = h.join(space, s.r); s.err != nil {
				s.err = errors.Join(s.err, s.r.Close())
			}
		}
	}
	if s.err != nil {
		h.mu.Lock()
		delete(h.spaces, space)
		h.mu.Unlock()
	}
}

// makeRoom takes the space out of the map that was idle longest, if the hub is
// full. The caller holds mu and closes what is returned.
func (h *Hub) makeRoom() (*hosted, error) {
	if len(h.spaces) < DefaultMaxSpaces {
		return nil, nil
	}
	oldest := ""
	for name, s := range h.spaces {
		if s.users == 0 && (oldest == "" || s.used < h.spaces[oldest].used) {
			oldest = name
		}
	}
	if oldest == "" {
		return nil, &transport.Error{Code: transport.CodeBusy, Message: "too many spaces are in use"}
	}
	idle := h.spaces[oldest]
	delete(h.spaces, oldest)
	return idle, nil
}

func (h *Hub) release(s *hosted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.users--
}

// Close ends all sessions, waits for them and closes all spaces. It is safe to
// call more than once.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	all := h.spaces
	h.spaces = map[string]*hosted{}
	h.mu.Unlock()
	var errs []error
	for _, s := range all {
		<-s.ready
		if s.r != nil {
			errs = append(errs, s.r.Close())
		}
	}
	return errors.Join(errs...)
}
