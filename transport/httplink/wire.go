package httplink

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Headers of the rungs below the WebSocket; see the package documentation.
const (
	headerLink   = "Godwit-Link"   // the id of a virtual connection
	headerOffset = "Godwit-Offset" // the position of the body's first byte
	headerAck    = "Godwit-Ack"    // the position up to which the sender has what came the other way
	headerWait   = "Godwit-Wait"   // how long the server may stay silent, in milliseconds
	headerIdle   = "Godwit-Idle"   // after how long without a request the server gives up, in milliseconds
	headerEnd    = "Godwit-End"    // "1": after this body, nothing more comes from its sender
	headerCode   = "Godwit-Code"   // of a refusal: that it is the hub's own, and why
	headerLast   = "Last-Event-ID" // of the HTML standard: the position up to which the client has what came down
)

const (
	mediaBytes  = "application/octet-stream"
	mediaEvents = "text/event-stream"
	maxBody     = 512 << 10 // bytes of a body that carries part of a stream; many proxies refuse 1 MiB
	minBody     = 4 << 10   // bytes to which a client shortens bodies that do not get through
	maxEvent    = 6 << 10   // bytes of a stream in one event, so that little is lost with one that is cut
	maxEvents   = 8 * maxEvent
	probeSize   = 4 // bytes of the message that probes a WebSocket
)

// position reads a header that names a byte of a stream.
func position(h http.Header, name string) (int64, error) {
	n, err := strconv.ParseInt(h.Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("header %s is %q, want a position", name, printable(h.Get(name)))
	}
	return n, nil
}

// milliseconds reads a header that holds a time, at most most; 0 when it holds none.
func milliseconds(h http.Header, name string, most time.Duration) time.Duration {
	n, err := strconv.ParseInt(h.Get(name), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Millisecond, most)
}

func setInt(h http.Header, name string, n int64) { h.Set(name, strconv.FormatInt(n, 10)) }

// sleep waits, and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
