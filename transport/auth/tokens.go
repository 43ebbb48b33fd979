package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// MaxIdentities is how many identities a token file may hold.
const MaxIdentities = 10_000

// addTokens reads the content of a token file: one token, or a JSON array of
// identities.
func (k *known) addTokens(data []byte) error {
	text := bytes.TrimSpace(data)
	if len(text) == 0 {
		return errors.New("it is empty")
	}
	if text[0] != '[' {
		if err := checkToken(string(text)); err != nil {
			return err
		}
		everything := []string{"*"}
		return k.addToken(sha256.Sum256(text), &Claims{Rules: []Rule{
			{Spaces: everything, Read: everything, Write: everything, Relay: true, Admin: true},
		}})
	}
	if err := checkJSON(text, maxDepth); err != nil {
		return err
	}
	f := &fields{members: map[string]json.RawMessage{"": text}}
	list := f.objects("")
	if len(list) > MaxIdentities {
		return fmt.Errorf("it holds %d identities, at most %d are allowed", len(list), MaxIdentities)
	}
	for i, entry := range list {
		if err := k.addIdentity(entry); err != nil {
			return fmt.Errorf("identity %d: %w", i+1, err)
		}
	}
	return f.err
}

func checkToken(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || r == 0x7f }) {
		return errors.New("a token is not printable ASCII without space")
	}
	if s == "" || len(s) > MaxToken {
		return fmt.Errorf("a token of %d bytes, want 1 to %d", len(s), MaxToken)
	}
	return nil
}

// addIdentity reads an element of a token file.
func (k *known) addIdentity(f *fields) error {
	_, plain := f.members["token"]
	_, hashed := f.members["token_sha256"]
	_, cert := f.members["certificate"]
	token, sum, name := f.text("token"), f.text("token_sha256"), f.text("certificate")
	claims := f.claims()
	f.none()
	if f.err != nil {
		return f.err
	}
	if err := claims.check(); err != nil {
		return err
	}
	switch {
	case plain && !hashed && !cert:
		if err := checkToken(token); err != nil {
			return err
		}
		return k.addToken(sha256.Sum256([]byte(token)), claims)
	case hashed && !plain && !cert:
		var h [sha256.Size]byte
		if n, err := hex.Decode(h[:], []byte(sum[:min(len(sum), 2*len(h))])); err != nil || n != len(h) || len(sum) != 2*len(h) {
			return fmt.Errorf("token_sha256 is not %d hexadecimal digits", 2*len(h))
		}
		return k.addToken(h, claims)
	case cert && !plain && !hashed:
		return k.addCertificate(name, claims)
	}
	return errors.New("want one of token, token_sha256 and certificate")
}

func (k *known) addToken(sum [sha256.Size]byte, c *Claims) error {
	if k.tokens[sum] != nil {
		return errors.New("two identities have the same token")
	}
	k.tokens[sum] = c
	return nil
}

func (k *known) addCertificate(name string, c *Claims) error {
	kind, value, _ := strings.Cut(name, ":")
	switch kind {
	case "dns", "uri", "email", "cn":
	default:
		value = ""
	}
	if value == "" {
		return fmt.Errorf("certificate %q: want dns:NAME, uri:URI, email:ADDRESS or cn:NAME", clip(name))
	}
	if k.certs[name] != nil {
		return fmt.Errorf("two identities have the certificate %q", clip(name))
	}
	k.certs[name] = c
	return nil
}
