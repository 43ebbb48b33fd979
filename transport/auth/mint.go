package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Mint returns a JWT with these claims, signed with key. It refuses claims that
// no Authority would take, apart from their times.
func Mint(c *Claims, key Key) (string, error) {
	if err := c.check(); err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	if !key.CanSign() {
		return "", errors.New("mint token: the key can only verify: want a private one")
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	return sign(payload, key)
}

// sign makes a JWT of any payload.
func sign(payload []byte, key Key) (string, error) {
	head := map[string]string{"alg": key.alg, "typ": "JWT"}
	if key.id != "" {
		head["kid"] = key.id
	}
	h, err := json.Marshal(head)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := key.method().Sign(signed, key.sign)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	token := signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(token) > MaxToken {
		return "", fmt.Errorf("mint token: it has %d bytes, at most %d are allowed", len(token), MaxToken)
	}
	return token, nil
}

// Expiry returns when a JWT says that it ends, for whoever has to renew it;
// false for another token, or one that does not end. Nothing is verified.
func Expiry(token string) (time.Time, bool) {
	parts := strings.Split(token[:min(len(token), MaxToken)], ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := decodeSegment(parts[1])
	if err != nil || checkJSON(payload, maxDepth) != nil {
		return time.Time{}, false
	}
	f := newFields(payload)
	t := f.date("exp")
	return t, f.err == nil && !t.IsZero()
}
