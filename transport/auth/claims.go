package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/godwitdb/godwit/transport"
)

// Bounds of claims.
const (
	MaxSubject   = 256  // bytes of a subject
	MaxRules     = 64   // rules of an identity
	MaxSelectors = 1024 // selectors of all its rules together
	MaxSpaces    = 256  // names and patterns of spaces of all its rules together
)

// Claims say who someone is and what it may do.
type Claims struct {
	Subject   string
	Audience  []string  // whom the token is for; not looked at without Options.Audience
	Expires   time.Time // zero: never
	NotBefore time.Time // zero: from the beginning
	IssuedAt  time.Time // zero: not told
	Rules     []Rule
}

// Rule grants rights on spaces; the package's doc has its parts. The zero Rule
// grants nothing.
type Rule struct {
	Spaces []string `json:"spaces"`
	Read   []string `json:"read,omitempty"`
	Write  []string `json:"write,omitempty"`
	Relay  bool     `json:"relay,omitempty"`
	Admin  bool     `json:"admin,omitempty"`
}

// Grant adds up the rules for the space. Without one that matches, it is an error
// with transport.CodeAuth.
func (c *Claims) Grant(space string) (transport.Grant, error) {
	g := transport.Grant{Subject: c.Subject, Expires: c.Expires}
	var read, write []string
	found := false
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.matches(space) {
			continue
		}
		found = true
		read, write = append(read, r.Read...), append(write, r.Write...)
		g.Relay, g.Admin = g.Relay || r.Relay, g.Admin || r.Admin
	}
	if !found {
		return transport.Grant{}, refuse(transport.CodeAuth, "%s has no rights in space %q", c.name(), space)
	}
	var err error
	if g.Read, err = ParseScope(read); err == nil {
		g.Write, err = ParseScope(write)
	}
	if err != nil {
		return transport.Grant{}, refuse(transport.CodeToken, "the rights of %s are not valid: %v", c.name(), err)
	}
	return g, nil
}

func (c *Claims) name() string {
	if c.Subject == "" {
		return "the bearer of the token"
	}
	return fmt.Sprintf("%q", c.Subject)
}

func (r *Rule) matches(space string) bool {
	for _, pattern := range r.Spaces {
		if ok, err := path.Match(pattern, space); ok && err == nil {
			return true
		}
	}
	return false
}

// parseClaims reads the payload of a token.
func parseClaims(b []byte) (*Claims, error) {
	if err := checkJSON(b, maxDepth); err != nil {
		return nil, err
	}
	f := newFields(b)
	c := f.claims()
	if f.err != nil {
		return nil, f.err
	}
	return c, c.check()
}

// claims takes the claims out; what else there is stays.
func (f *fields) claims() *Claims {
	c := &Claims{
		Subject: f.text("sub"),
		Expires: f.date("exp"), NotBefore: f.date("nbf"), IssuedAt: f.date("iat"),
	}
	var one string
	if raw := f.members["aud"]; len(raw) > 0 && raw[0] == '"' {
		f.take("aud", "a string", &one)
		c.Audience = []string{one}
	} else {
		c.Audience = f.texts("aud")
	}
	for _, r := range f.objects("godwit") {
		rule := Rule{Spaces: r.texts("spaces"), Read: r.texts("read"), Write: r.texts("write"), Relay: r.flag("relay"), Admin: r.flag("admin")}
		r.none()
		if r.err != nil {
			f.fail("in godwit, %w", r.err)
			return c
		}
		c.Rules = append(c.Rules, rule)
	}
	return c
}

// check holds the claims to their bounds, and their rules to what can be granted.
func (c *Claims) check() error {
	if err := checkSubject(c.Subject); err != nil {
		return err
	}
	if len(c.Rules) == 0 {
		return errors.New(`it grants nothing: the claim "godwit" is missing or empty`)
	}
	if len(c.Rules) > MaxRules {
		return fmt.Errorf("it has %d rules, at most %d are allowed", len(c.Rules), MaxRules)
	}
	spaces, selectors := 0, 0
	for i := range c.Rules {
		r := &c.Rules[i]
		spaces, selectors = spaces+len(r.Spaces), selectors+len(r.Read)+len(r.Write)
		if spaces > MaxSpaces || selectors > MaxSelectors {
			return fmt.Errorf("it names more than %d spaces or %d selectors", MaxSpaces, MaxSelectors)
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return nil
}

func checkSubject(s string) error {
	switch {
	case s == "":
		return errors.New(`the subject ("sub") is missing`)
	case len(s) > MaxSubject:
		return fmt.Errorf("the subject has %d bytes, at most %d are allowed", len(s), MaxSubject)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("the subject is not UTF-8 or has a control character")
	}
	return nil
}

func (r *Rule) check() error {
	if len(r.Spaces) == 0 {
		return errors.New("it names no spaces")
	}
	for _, s := range r.Spaces {
		if !transport.ValidSpace(strings.ReplaceAll(s, "*", "x")) {
			return fmt.Errorf("%q names no space: want 1 to 64 of a-z, 0-9 and ._-, or * for any of them", clip(s))
		}
	}
	if _, err := ParseScope(r.Read); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if _, err := ParseScope(r.Write); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// wireClaims is the payload of a token as it is written.
type wireClaims struct {
	Subject   string           `json:"sub"`
	Audience  jwt.ClaimStrings `json:"aud,omitempty"`
	Expires   int64            `json:"exp,omitempty"`
	NotBefore int64            `json:"nbf,omitempty"`
	IssuedAt  int64            `json:"iat,omitempty"`
	Rules     []Rule           `json:"godwit"`
}

// MarshalJSON writes the payload of a token; times lose what is below a second.
func (c *Claims) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireClaims{
		Subject: c.Subject, Audience: c.Audience, Rules: c.Rules,
		Expires: seconds(c.Expires), NotBefore: seconds(c.NotBefore), IssuedAt: seconds(c.IssuedAt),
	})
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
