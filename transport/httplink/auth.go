package httplink

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"unicode"

	"github.com/godwitdb/godwit/transport"
)

// Authorizer says what the peer behind a request may do in a space. See
// ServerOptions for its errors.
type Authorizer func(r *http.Request, space string) (transport.Grant, error)

// BearerToken returns an authoriser for ServerOptions that wants
// "Authorization: Bearer TOKEN" (RFC 6750), compares in constant time and grants
// everything. The token must be printable ASCII without space.
func BearerToken(token string) (Authorizer, error) {
	if token == "" {
		return nil, errors.New("read token: it is empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || r == 0x7f }) {
		return nil, errors.New("read token: want printable ASCII without space")
	}
	want := sha256.Sum256([]byte(token)) // so that not even the length shows
	return func(r *http.Request, _ string) (transport.Grant, error) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			return transport.Grant{}, errors.New("no or wrong bearer token")
		}
		return transport.FullGrant(), nil
	}, nil
}

// BearerTokenFile is BearerToken with the token in a file; space around it is
// ignored.
func BearerTokenFile(path string) (Authorizer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	authorize, err := BearerToken(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return authorize, nil
}

// CheckListen refuses to listen beyond this machine without auth, unless
// insecure says that this is meant. addr is what net.Listen takes for tcp.
func CheckListen(addr string, hasAuth, insecure bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", addr, err)
	}
	if hasAuth || insecure || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("listen on %q: anyone who reaches this machine could read and write every space; "+
		"give a token file, listen on localhost, or say that it is meant to be insecure", addr)
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
