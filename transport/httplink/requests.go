package httplink

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwitdb/godwit/transport"
)

const (
	bodyTime  = 30 * time.Second // what a body gets to arrive, and a piece of a response to be taken, at most
	takeTime  = 10 * time.Second // how long a request waits for a slow session
	chunkSize = 16 << 10         // bytes read from a body at once
)

// carry answers a request of the rungs below the WebSocket.
func (s *Server) carry(w http.ResponseWriter, r *http.Request, space string, grant transport.Grant) {
	w.Header().Set("Cache-Control", "no-store, no-transform")
	if r.Method == http.MethodPost && (r.Header.Get("Content-Type") != mediaBytes || r.Header.Get("Content-Encoding") != "") {
		// A page of another origin can't send this type without being asked first.
		refuseWith(w, http.StatusUnsupportedMediaType, transport.CodeProtocol, "want a body of "+mediaBytes+", not encoded")
		return
	}
	if r.Header.Get(headerLink) == "" {
		s.open(w, r, space, grant)
		return
	}
	v, err := s.find(r, space, grant)
	switch {
	case err != nil:
		refuseWith(w, http.StatusGone, transport.CodeClosed, err.Error())
	case r.Method == http.MethodPost:
		v.post(w, r)
	case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), mediaEvents):
		v.events(w, r)
	case r.Method == http.MethodGet:
		v.poll(w, r)
	default:
		refuseWith(w, http.StatusMethodNotAllowed, transport.CodeProtocol, "want GET or POST")
	}
}

// open begins a virtual connection and its session.
func (s *Server) open(w http.ResponseWriter, r *http.Request, space string, grant transport.Grant) {
	if !s.enter(w, identityOf(r, grant)) {
		return
	}
	v := s.newVirtual(space, grant)
	w.Header().Set(headerLink, v.id)
	setInt(w.Header(), headerIdle, v.idle.Milliseconds())
	w.WriteHeader(http.StatusCreated)
	s.begin(r, space, v, grant)
}

// post takes what comes up, and answers with how far that got. A client that
// names a time to wait gets what is to go down as well.
func (v *virtual) post(w http.ResponseWriter, r *http.Request) {
	at, err := position(r.Header, headerOffset)
	ack, err2 := position(r.Header, headerAck)
	if err := errors.Join(err, err2); err != nil {
		refuseWith(w, http.StatusBadRequest, transport.CodeProtocol, err.Error())
		return
	}
	fetches, turn := r.Header.Get(headerWait) != "", 0
	if fetches {
		turn, err = v.turn(ack)
	} else {
		err = v.confirm(ack)
	}
	if err == nil {
		err = v.take(w, r, at)
	}
	if err != nil {
		v.refuse(w, err)
		return
	}
	if !fetches {
		v.answer(w, ack, nil, false)
		return
	}
	v.respond(w, r, turn, ack)
}

// confirm notes that the client holds what came down before a position.
func (v *virtual) confirm(at int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.acknowledge(at)
}

// take reads a body whose first byte has a position. A body that breaks off, or
// that the session does not fetch in time, is no error: the client learns how far
// it got, and goes on from there.
func (v *virtual) take(w http.ResponseWriter, r *http.Request, at int64) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(min(bodyTime, v.idle)))
	patience := min(takeTime, v.idle/2)
	if r.Header.Get(headerWait) != "" {
		patience = answerTime // what goes down is not to be held up
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	body := http.MaxBytesReader(w, r.Body, 2*maxBody)
	chunk := v.s.chunks.Get().(*[chunkSize]byte)
	defer v.s.chunks.Put(chunk)
	for {
		n, err := body.Read(chunk[:])
		if taken := v.accept(ctx, at, chunk[:n]); taken != nil {
			if ctx.Err() != nil {
				return nil
			}
			return taken
		}
		at += int64(n)
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return err
		case err == io.EOF && r.Header.Get(headerEnd) != "":
			v.fail(nil)
			return nil
		case err != nil:
			return nil
		}
	}
}

// fetches begins a request for what goes down behind the position it names, in place of
// the one before it. If it cannot, it has answered.
func (v *virtual) fetches(w http.ResponseWriter, r *http.Request) (turn int, at int64, ok bool) {
	at, err := position(r.Header, headerLast)
	if err != nil {
		refuseWith(w, http.StatusBadRequest, transport.CodeProtocol, err.Error())
		return 0, 0, false
	}
	if turn, err = v.turn(at); err != nil {
		v.refuse(w, err)
		return 0, 0, false
	}
	return turn, at, true
}

// poll answers with what is to go down, once there is some.
func (v *virtual) poll(w http.ResponseWriter, r *http.Request) {
	turn, at, ok := v.fetches(w, r)
	if !ok {
		return
	}
	v.respond(w, r, turn, at)
}

// respond holds a request until there is something to go down.
func (v *virtual) respond(w http.ResponseWriter, r *http.Request, turn int, at int64) {
	hold := milliseconds(r.Header, headerWait, v.idle/3)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(hold + min(bodyTime, v.idle)))
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	b, last, err := v.fetch(r.Context(), turn, at, maxBody, hold)
	if err != nil && !errors.Is(err, errOvertaken) {
		v.refuse(w, err)
		return
	}
	v.answer(w, at, b, last)
}

// answer writes a body whose first byte has a position, and how far the bytes
// that came up got.
func (v *virtual) answer(w http.ResponseWriter, at int64, body []byte, last bool) {
	h := w.Header()
	h.Set("Content-Type", mediaBytes)
	setInt(h, "Content-Length", int64(len(body)))
	setInt(h, headerOffset, at)
	setInt(h, headerAck, v.reached())
	if last {
		h.Set(headerEnd, "1")
	}
	_, _ = w.Write(body)
}

// refuse answers a request that the connection can't take.
func (v *virtual) refuse(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	setInt(w.Header(), headerAck, v.reached())
	switch {
	case errors.As(err, &tooLarge):
		refuseWith(w, http.StatusRequestEntityTooLarge, transport.CodeTooLarge, "the body is too large, send it in parts")
	case errors.Is(err, errGap), errors.Is(err, errAhead), errors.Is(err, errOvertaken):
		refuseWith(w, http.StatusConflict, transport.CodeProtocol, err.Error())
	default:
		refuseWith(w, http.StatusGone, transport.CodeClosed, err.Error())
	}
}

// events sends what is to go down as server-sent events, until either side ends
// the stream or a later request fetches.
func (v *virtual) events(w http.ResponseWriter, r *http.Request) {
	turn, at, ok := v.fetches(w, r)
	if !ok {
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	w.Header().Set("Content-Type", mediaEvents)
	w.Header().Set("X-Accel-Buffering", "no") // nginx's, and others'
	setInt(w.Header(), headerOffset, at)
	if err := control.Flush(); errors.Is(err, http.ErrNotSupported) {
		refuseWith(w, http.StatusNotImplemented, transport.CodeInternal, "this server can't stream")
		return
	}
	wait := milliseconds(r.Header, headerWait, v.idle/3)
	events := appendEvents(nil, at, nil, false) // tells the client that events get through
	for last := false; ; {
		_ = control.SetWriteDeadline(time.Now().Add(min(bodyTime, v.idle)))
		if _, err := w.Write(events); err != nil || last || control.Flush() != nil {
			return
		}
		var b []byte
		var err error
		if b, last, err = v.fetch(r.Context(), turn, at, maxEvents, wait); errors.Is(err, transport.ErrClosed) {
			last = true
		} else if err != nil {
			return
		}
		at += int64(len(b))
		if len(b) == 0 {
			events = nil // while nothing goes on, the connection keeps no buffer
		}
		events = appendEvents(events[:0], at, b, last)
	}
}

// appendEvents appends events that carry the bytes before a position, or a comment
// when there are none, and after the last the event that says so.
func appendEvents(buf []byte, at int64, b []byte, last bool) []byte {
	if len(b) == 0 && !last {
		return append(buf, ":\n\n"...)
	}
	at -= int64(len(b))
	for part := range slices.Chunk(b, maxEvent) {
		at += int64(len(part))
		buf = append(strconv.AppendInt(append(buf, "id: "...), at, 10), "\ndata: "...)
		buf = append(base64.StdEncoding.AppendEncode(buf, part), "\n\n"...)
	}
	if last {
		buf = append(buf, "event: end\ndata:\n\n"...)
	}
	return buf
}
