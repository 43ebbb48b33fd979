package transport

import "context"

// Conn is one connection to a peer, carrying frames in order.
//
// One goroutine may send while another receives; two that send, or two that
// receive, at once are not allowed. Close may be called by anyone, any number of
// times: it unblocks both, releases everything and waits for the goroutines the
// Conn started. It tells the peer, and lets frames that were sent before it
// arrive where the carrier can (about a second is the most it takes).
type Conn interface {
	// Send hands f to the carrier and blocks while the peer is slow. A nil
	// error means that f was taken, not that it arrived. A frame beyond the
	// bounds of this package is refused with ErrTooLarge or ErrMalformed and
	// leaves the Conn as it was. When ctx ends while the frame is under way,
	// the Conn may be closed by it (a message can't be half sent); every later
	// call then says so. f is not kept.
	Send(ctx context.Context, f Frame) error

	// Recv returns the next frame, which belongs to the caller. When ctx ends,
	// nothing is lost: the next Recv goes on. A frame that can't be decoded
	// is an error that wraps ErrMalformed, ErrTooLarge or ErrUnknownFrame; the
	// Conn stays open after it, so that the peer can be told (unless the carrier
	// can't go on after a message of more than MaxFrame: then the error wraps
	// ErrClosed too). After either side has closed, or the path broke, the error wraps ErrClosed; frames that
	// arrived before are returned first, unless this side closed.
	Recv(ctx context.Context) (Frame, error)

	// Close ends the connection. It returns nil when called again.
	Close() error
}

// Meter is implemented by a Conn that counts bytes.
type Meter interface {
	// Stats returns the bytes of the frames sent and received so far, as they
	// were on the wire: encoded and compressed, without the carrier's own
	// framing. Safe for concurrent use.
	Stats() (sent, received int64)
}

// OneShot is implemented by a Conn of a link that has other ways too: while it says
// so, the session ends when both sides have everything, and the link decides in Dial
// when it is time for the next one.
type OneShot interface {
	// OneShot may answer otherwise from time to time. Safe for concurrent use.
	OneShot() bool
}
