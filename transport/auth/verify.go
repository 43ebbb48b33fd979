package auth

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Bounds of tokens.
const (
	MaxToken  = transport.MaxBearer // bytes of a token
	maxHeader = 1 << 10             // bytes of a JWT's header, decoded
	MaxLeeway = 5 * time.Minute
)

const defaultLeeway = 30 * time.Second

// Options of an Authority. The zero Options is good.
type Options struct {
	Audience string           // unless "", tokens must be for it ("aud")
	Leeway   time.Duration    // by how much clocks may differ; 0 means 30 s, at most MaxLeeway
	NoExpiry bool             // tokens need no "exp"
	Reload   time.Duration    // how often at most to look whether files have changed; 0 means 5 s
	Now      func() time.Time // nil means time.Now
}

func (o *Options) fill() error {
	if o.Leeway < 0 || o.Leeway > MaxLeeway {
		return errors.New("the leeway is not within 0 to 5 minutes")
	}
	if o.Leeway == 0 {
		o.Leeway = defaultLeeway
	}
	if o.Reload <= 0 {
		o.Reload = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// verify returns the claims of a JWT that one of the keys has signed, and that
// is for us, now. Its error is what the peer is told.
func (o *Options) verify(token string, keys []Key) (*Claims, error) {
	h, err := parseHeader(token)
	if err != nil {
		return nil, refuse(transport.CodeToken, "the token is not valid: %v", err)
	}
	if err := h.verify(keys); err != nil {
		return nil, err
	}
	payload, err := decodeSegment(h.payload)
	if err != nil {
		return nil, refuse(transport.CodeToken, "the token's claims are not valid: %v", err)
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, refuse(transport.CodeToken, "the token's claims are not valid: %v", err)
	}
	return c, o.inForce(c)
}

// header is what a JWT says before it is verified.
type header struct {
	alg, kid                   string
	signed, payload, signature string // parts of the token: the first two with the dot, the second, the third
}

// parseHeader takes a token apart, and reads its header (RFC 7515, section 4.1).
func parseHeader(token string) (h header, err error) {
	if len(token) > MaxToken {
		return h, errors.New("it is too long")
	}
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return h, errors.New("it is not a signed JWT")
	}
	h.signed, h.payload, h.signature = token[:len(parts[0])+1+len(parts[1])], parts[1], parts[2]
	b, err := decodeSegment(parts[0])
	if err != nil {
		return h, err
	}
	if len(b) > maxHeader {
		return h, errors.New("its header is too long")
	}
	if err := checkJSON(b, 2); err != nil {
		return h, err
	}
	f := newFields(b)
	h.alg, h.kid = f.text("alg"), f.text("kid")
	if _, must := f.members["crit"]; must {
		f.fail("it has extensions that must be understood")
	}
	if _, other := f.members["enc"]; other {
		f.fail("it is encrypted")
	}
	return h, f.err
}

// decodeSegment reads base64url without padding, and nothing that only looks
// like it: the library passes over line feeds.
func decodeSegment(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("a part of it is not base64url")
	}
	return b, nil
}

// verify looks for a key that has signed. The algorithm is the key's: a header
// with another one finds no key.
func (h *header) verify(keys []Key) error {
	signature, err := decodeSegment(h.signature)
	if err != nil {
		return refuse(transport.CodeToken, "the token is not valid: %v", err)
	}
	algorithm, found := false, false
	for _, key := range keys {
		algorithm = algorithm || key.alg == h.alg
		if key.alg != h.alg || key.id != "" && h.kid != "" && key.id != h.kid {
			continue
		}
		found = true
		if key.method().Verify(h.signed, signature, key.public) == nil {
			return nil
		}
	}
	switch {
	case !algorithm:
		return refuse(transport.CodeToken, "the token is signed with algorithm %q, for which there is no key", clip(h.alg))
	case !found:
		return refuse(transport.CodeToken, "the token is signed with key %q, which is not known", clip(h.kid))
	}
	return refuse(transport.CodeToken, "the token's signature is wrong")
}

// inForce checks the times and the audience of claims, and moves their end by the
// leeway, which is where the grant ends.
func (o *Options) inForce(c *Claims) error {
	now := o.Now()
	switch {
	case c.Expires.IsZero() && !o.NoExpiry:
		return refuse(transport.CodeToken, `the token of %s does not say when it ends ("exp")`, c.name())
	case !c.Expires.IsZero() && !now.Before(c.Expires.Add(o.Leeway)):
		return refuse(transport.CodeExpired, "the token of %s has expired", c.name())
	case now.Before(c.NotBefore.Add(-o.Leeway)), now.Before(c.IssuedAt.Add(-o.Leeway)):
		return refuse(transport.CodeToken, "the token of %s is not valid yet", c.name())
	case o.Audience != "" && !slices.Contains(c.Audience, o.Audience):
		return refuse(transport.CodeToken, "the token of %s is for another audience", c.name())
	}
	if !c.Expires.IsZero() {
		c.Expires = c.Expires.Add(o.Leeway)
	}
	return nil
}
