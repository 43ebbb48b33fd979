package httplink

import (
	"bufio"
	"net"
	"net/http"
)

// wsBuffer is the size in bytes of each of a WebSocket's two buffers: most messages of a
// session that has caught up are shorter, and what is longer passes them by.
const wsBuffer = 1 << 10

// smallBuffers hands out the connection with buffers of wsBuffer, in place of those of
// 4 KiB each that net/http has, since a session keeps them.
type smallBuffers struct {
	http.ResponseWriter
	hijacker http.Hijacker
}

// withSmallBuffers returns w as it is if it cannot hand out its connection.
func withSmallBuffers(w http.ResponseWriter) http.ResponseWriter {
	for inner := w; ; {
		switch t := inner.(type) {
		case http.Hijacker:
			return smallBuffers{w, t}
		case interface{ Unwrap() http.ResponseWriter }:
			inner = t.Unwrap()
		default:
			return w
		}
	}
}

// Hijack implements http.Hijacker.
func (w smallBuffers) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := w.hijacker.Hijack()
	if err != nil || rw.Reader.Buffered() > 0 { // a peer that does not wait for the answer
		return c, rw, err
	}
	return c, bufio.NewReadWriter(bufio.NewReaderSize(c, wsBuffer), bufio.NewWriterSize(c, wsBuffer)), nil
}
