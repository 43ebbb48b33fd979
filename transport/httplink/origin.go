package httplink

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origins tells requests of pages that may speak with the hub from others.
type origins struct {
	trusted []string
	check   *http.CrossOriginProtection
	open    bool // everyone may do everything
}

// CheckOrigin reports whether s can be one of ServerOptions.Origins.
func CheckOrigin(s string) error {
	if err := http.NewCrossOriginProtection().AddTrustedOrigin(s); err != nil {
		return fmt.Errorf("origin %q: want SCHEME://HOST or SCHEME://HOST:PORT, as a browser sends it", s)
	}
	return nil
}

func newOrigins(trusted []string, open bool) *origins {
	o := &origins{check: http.NewCrossOriginProtection(), open: open}
	for _, s := range trusted {
		if o.check.AddTrustedOrigin(s) == nil {
			o.trusted = append(o.trusted, s)
		}
	}
	return o
}

// allow reports whether the request is no browser's, or of a page of this origin
// or a trusted one. CrossOriginProtection lets every GET pass, which changes
// nothing on other servers; here a GET opens a WebSocket, which it decides about
// as if it were a POST.
func (o *origins) allow(r *http.Request) bool {
	asPost := *r
	asPost.Method = http.MethodPost
	return o.check.Check(&asPost) == nil && !o.rebound(r)
}

// rebound reports whether a page reached a hub that only this machine should
// reach, by a name that was made to resolve to it (DNS rebinding): such a page is
// of the same origin. Where a token is wanted it can do no harm.
func (o *origins) rebound(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !o.open || origin == "" || !ok || slices.Contains(o.trusted, origin) {
		return false
	}
	at, _, err := net.SplitHostPort(local.String())
	if err != nil || !isLoopback(at) {
		return false
	}
	u, err := url.Parse("//" + r.Host)
	return err != nil || !isLoopback(strings.TrimSuffix(u.Hostname(), "."))
}
