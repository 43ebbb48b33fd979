package httplink

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/godwitdb/godwit/transport"
)

// Authorizer says what the peer behind a request may do in a space. See
// ServerOptions for its errors.
type Authorizer func(r *http.Request, space string) (transport.Grant, error)

// Verifier knows what the holder of a credential may do in a space; auth.Authority
// is one. Its errors are as an Authorizer's.
type Verifier interface {
	Token(token, space string) (transport.Grant, error)
	Certificate(cert *x509.Certificate, space string) (transport.Grant, error)
}

// Authorize returns an authoriser for ServerOptions that wants "Authorization:
// Bearer TOKEN" (RFC 6750) or, when there is no such header, a client certificate
// that TLS has verified.
func Authorize(v Verifier) Authorizer {
	return func(r *http.Request, space string) (transport.Grant, error) {
		if header := r.Header.Get("Authorization"); header != "" {
			scheme, token, _ := strings.Cut(header, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return transport.Grant{}, &transport.Error{Code: transport.CodeToken, Message: "want a bearer token"}
			}
			return v.Token(strings.TrimSpace(token), space)
		}
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			return v.Certificate(r.TLS.PeerCertificates[0], space)
		}
		return transport.Grant{}, &transport.Error{Code: transport.CodeToken, Message: "want a token"}
	}
}

// renewer returns what verifies a fresh token of a session: the request that
// opened it is authorised again, with that token. nil without an Authorizer.
func (s *Server) renewer(r *http.Request, space string) func(token string) (transport.Grant, error) {
	if s.opts.Authorize == nil {
		return nil
	}
	opened := r.Clone(context.Background()) // nothing of the request's is kept alive
	opened.Body = http.NoBody
	return func(token string) (transport.Grant, error) {
		again := opened.Clone(context.Background())
		again.Header.Set("Authorization", "Bearer "+token)
		g, err := s.opts.Authorize(again, space)
		if err != nil {
			s.identities.failed(again, err)
		}
		return g, err
	}
}

// CheckListen refuses to listen beyond this machine without auth, unless
// insecure says that this is meant, and warns when tokens are to travel there
// without TLS. addr is what net.Listen takes for tcp.
func CheckListen(addr string, hasAuth, hasTLS, insecure bool) (warning string, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("listen on %q: %w", addr, err)
	}
	switch {
	case isLoopback(host):
	case !hasAuth && !insecure:
		return "", fmt.Errorf("listen on %q: anyone who reaches this machine could read and write every space; "+
			"give keys or tokens, listen on localhost, or say that it is meant to be insecure", addr)
	case hasAuth && !hasTLS && !insecure:
		return fmt.Sprintf("listening on %q without TLS: whoever is on the way can read tokens and records, "+
			"unless a proxy before this makes it HTTPS", addr), nil
	}
	return "", nil
}

// isLoopback takes no name but localhost for this machine: what others resolve
// to may change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

var errExpired = errors.New("the rights have ended")
