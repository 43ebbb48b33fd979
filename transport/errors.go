package transport

import (
	"errors"
	"fmt"
	"time"
)

// Sentinels, to be found with errors.Is.
var (
	// ErrClosed says that the connection has ended, whoever ended it.
	ErrClosed = errors.New("connection closed")
	// ErrTooLarge says that a frame, or a part of it, exceeds its bound.
	ErrTooLarge = errors.New("frame too large")
	// ErrMalformed says that bytes are no frame.
	ErrMalformed = errors.New("malformed frame")
	// ErrUnknownFrame says that a frame is of a kind this version lacks.
	ErrUnknownFrame = errors.New("unknown frame kind")
)

// Codes of Error frames and of DialError.
const (
	CodeProtocol  = "protocol"  // version or capability not understood, or a frame out of turn
	CodeSpace     = "space"     // no such space here, or another one was asked for
	CodeAuth      = "auth"      // known who, but without the rights
	CodeToken     = "token"     // not known who: no token, or none that is accepted
	CodeExpired   = "expired"   // the rights of the session have ended: dial again, with a fresh token
	CodeRights    = "rights"    // of an Exception: the peer may not write that
	CodeRate      = "rate"      // too much at once: come back later
	CodeTooLarge  = "too-large" // a bound was exceeded
	CodeMalformed = "malformed" // bytes that are no frame or no change
	CodeInternal  = "internal"  // the peer's own trouble
	CodeClosed    = "closed"    // the peer is shutting down
	CodeBusy      = "busy"      // too many sessions: come back later
	CodeTimeout   = "timeout"   // the peer took too long: try again
)

// CodeOf returns the code that tells a peer about err: that of a *DialError or
// an *Error inside it, or the one of the sentinel it wraps, else CodeInternal.
func CodeOf(err error) string {
	var frame *Error
	var dial *DialError
	switch {
	case errors.As(err, &frame):
		return frame.Code
	case errors.As(err, &dial):
		return dial.Code
	case errors.Is(err, ErrTooLarge):
		return CodeTooLarge
	case errors.Is(err, ErrMalformed):
		return CodeMalformed
	case errors.Is(err, ErrUnknownFrame):
		return CodeProtocol
	case errors.Is(err, ErrClosed):
		return CodeClosed
	}
	return CodeInternal
}

// DialError is a peer's refusal to open a connection, or the failure to reach it.
type DialError struct {
	Peer       string        // the link's name
	Code       string        // why: one of the codes; CodeClosed when nobody answered
	RetryAfter time.Duration // how long the peer asks us to wait; 0 when it said nothing
	Doubtful   bool          // it may be the answer of something on the way to the peer: a proxy, the login page of a network
	Err        error         // the cause
}

// Error returns the peer, the code and the cause.
func (e *DialError) Error() string {
	return fmt.Sprintf("dial %s: %s: %v", e.Peer, e.Code, e.Err)
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }
