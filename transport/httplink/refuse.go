package httplink

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// refusal is an answer to a request that is not let in.
type refusal struct {
	status     int
	code, text string
}

// refusalOf returns the answer for an Authorizer's error. What is no refusal is
// kept from the peer.
func refusalOf(err error) refusal {
	r := refusal{http.StatusUnauthorized, transport.CodeOf(err), ""}
	switch r.code {
	case transport.CodeToken, transport.CodeExpired:
	case transport.CodeAuth:
		r.status = http.StatusForbidden
	case transport.CodeSpace:
		r.status = http.StatusNotFound
	case transport.CodeRate:
		r.status = http.StatusTooManyRequests
	case transport.CodeBusy:
		r.status = http.StatusServiceUnavailable
	default:
		return refusal{r.status, transport.CodeToken, http.StatusText(r.status)}
	}
	r.text = http.StatusText(r.status)
	var told *transport.Error
	if errors.As(err, &told) {
		r.text = told.Message
	}
	return r
}

// refuse answers a request that is not let in.
func refuse(w http.ResponseWriter, err error) {
	r := refusalOf(err)
	switch r.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "5")
	}
	refuseWith(w, r.status, r.code, r.text)
}

// refuseRate answers a request that is one too many.
func refuseRate(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	refuseWith(w, http.StatusTooManyRequests, transport.CodeRate, "too many requests, come back later")
}

// refuseWith answers a request with a refusal that a client knows as the hub's
// own: it takes one without a code for the work of something on the way.
func refuseWith(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set(headerCode, code)
	http.Error(w, text, status)
}
