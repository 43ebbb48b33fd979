package httplink

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

var (
	errIdle      = errors.New("no request came for too long")
	errOvertaken = errors.New("a later request has taken over")
)

// virtual is the server's end of a virtual connection: a transport.Conn whose
// bytes travel in requests of the client's. It costs no goroutine; it ends by
// itself when no request has come for the idle time.
type virtual struct {
	stream
	s       *Server
	id      string
	space   string
	grant   transport.Grant // of the request that opened it
	idle    time.Duration
	reaper  *time.Timer
	closing sync.Once     // guards the work of Close
	ended   chan struct{} // closed when that is done

	seen  time.Time // of the last request; guarded by mu, as what follows
	asked int       // requests so far that fetch bytes; only the latest gets them
	told  bool      // the client knows that nothing more comes down
}

// newVirtual returns a virtual connection with an id that can't be guessed.
func (s *Server) newVirtual(space string, grant transport.Grant) *virtual {
	v := &virtual{
		stream: stream{codec: s.codec}, s: s, id: rand.Text(), space: space, grant: grant,
		idle: s.opts.IdleTimeout, ended: make(chan struct{}), seen: time.Now(),
	}
	v.mu.Lock() // until reap finds all in place
	v.reaper = time.AfterFunc(v.idle, v.reap)
	v.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.virtuals[v.id] = v
	return v
}

// reap ends the connection if its client is gone without a word.
func (v *virtual) reap() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over() != nil {
		return
	}
	if left := v.idle - time.Since(v.seen); left > 0 {
		v.reaper.Reset(left)
		return
	}
	v.end(errIdle)
}

// find returns the virtual connection that a request names, if whoever sent it
// may use it: the subject that opened it, with the rights that it had then.
// Anything else is no such connection, as if it had ended.
func (s *Server) find(r *http.Request, space string, grant transport.Grant) (*virtual, error) {
	s.mu.Lock()
	v := s.virtuals[r.Header.Get(headerLink)]
	s.mu.Unlock()
	if v == nil || v.space != space || v.grant.Subject != grant.Subject {
		return nil, &transport.Error{Code: transport.CodeClosed, Message: "no such connection, it may have ended: open another one"}
	}
	if !sameRights(v.grant, grant) {
		v.fail(errors.New("the rights of the peer have changed"))
		return nil, &transport.Error{Code: transport.CodeClosed, Message: "the rights have changed: open another connection"}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = time.Now()
	return v, nil
}

func sameRights(a, b transport.Grant) bool {
	return a.Relay == b.Relay && a.Admin == b.Admin && a.Read.Hash() == b.Read.Hash() && a.Write.Hash() == b.Write.Hash()
}

// Close implements transport.Conn: what was sent has closeGrace to be fetched.
func (v *virtual) Close() error {
	v.closing.Do(func() {
		defer close(v.ended)
		v.drain()
		v.reaper.Stop()
		v.s.mu.Lock()
		defer v.s.mu.Unlock()
		delete(v.s.virtuals, v.id)
	})
	<-v.ended
	return nil
}

// drain waits until the client has all that was sent and knows of the end, or
// time is up.
func (v *virtual) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed, v.in = true, inbox{}
	v.signal()
	for v.gone == nil && (len(v.out) > 0 || !v.told) {
		if v.wait(ctx, nil) != nil {
			break
		}
	}
	v.end(nil)
	v.base, v.out = v.last(), nil
}

// turn notes that the client holds what came down before a position, and that it
// fetches what follows: a request that fetched before gets nothing any more.
func (v *virtual) turn(at int64) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at < v.base {
		return 0, errOvertaken
	}
	if err := v.acknowledge(at); err != nil {
		return 0, err
	}
	v.asked++
	v.signal()
	return v.asked, nil
}

// fetch waits until there are bytes from a position on, nothing more can come, a
// later request fetches, or hold is over; it returns what there is, at most most
// bytes. last says that the stream ends with them.
func (v *virtual) fetch(ctx context.Context, turn int, at int64, most int, hold time.Duration) (b []byte, last bool, err error) {
	deadline := time.Now().Add(hold) // before the timer begins, which fires once: then it is not too early
	timer := time.NewTimer(hold)
	defer timer.Stop()
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		switch {
		case turn != v.asked || at < v.base:
			return nil, false, errOvertaken
		case v.gone != nil:
			return nil, false, v.gone
		case at < v.last() || v.closed || !time.Now().Before(deadline):
			b = v.from(at, most)
			if last = v.closed && at+int64(len(b)) == v.last(); last {
				v.told = true
				v.signal()
			}
			return b, last, nil
		}
		if err := v.wait(ctx, timer.C); err != nil {
			return nil, false, err
		}
	}
}
