package httplink

import (
	"context"
	"fmt"
	"net/http"

	"github.com/godwitdb/godwit/transport"
)

// codeHere is what a hub answers to a HEAD, of whomever: that the request has come to a
// hub, and not to something on the way. It says nothing of the space.
const codeHere = "here"

// Probe implements transport.Prober with a HEAD request, which carries no token. A hub
// that is older does not answer it as one.
func (l *link) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Probe)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, l.url, nil)
	if err != nil {
		return err
	}
	for name, values := range l.opts.Header {
		req.Header[name] = values
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return l.refused(transport.CodeClosed, cause(err))
	}
	_ = resp.Body.Close() // that of a HEAD is empty
	if resp.Header.Get(headerCode) != codeHere {
		return l.refused(transport.CodeClosed, fmt.Errorf("what answers is no hub that takes sessions: %s", resp.Status))
	}
	return nil
}

// here answers a probe.
func (s *Server) here(w http.ResponseWriter) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		refuseWith(w, http.StatusServiceUnavailable, transport.CodeClosed, "shutting down: come back later")
		return
	}
	w.Header().Set(headerCode, codeHere)
	w.WriteHeader(http.StatusNoContent)
}
