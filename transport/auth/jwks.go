package auth

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// parseJWKs reads a JWK or a JWK set (RFC 7517). Keys of a set that are for
// something else are passed over, as its section 5 asks; one that is for us and
// is broken refuses the set.
func parseJWKs(data []byte) ([]Key, error) {
	if err := checkJSON(data, maxDepth); err != nil {
		return nil, err
	}
	f := newFields(data)
	list := []*fields{f}
	if _, set := f.members["keys"]; set {
		list = f.objects("keys")
	}
	if f.err != nil {
		return nil, f.err
	}
	if len(list) > MaxKeys {
		return nil, fmt.Errorf("%d keys, at most %d are allowed", len(list), MaxKeys)
	}
	var keys []Key
	for i, jwk := range list {
		key, ok, err := parseJWK(jwk)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if !ok {
			continue
		}
		if slices.ContainsFunc(keys, func(k Key) bool { return k.id == key.id && k.alg == key.alg }) {
			return nil, fmt.Errorf("key %d: another %s key has the same kid %q", i+1, key.alg, clip(key.id))
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key for signatures with EdDSA (Ed25519), HS256 or RS256")
	}
	return keys, nil
}

// parseJWK returns false for a key that is for something else.
func parseJWK(f *fields) (Key, bool, error) {
	kty, crv, alg, use, id := f.text("kty"), f.text("crv"), f.text("alg"), f.text("use"), f.text("kid")
	var parsed any
	want := ""
	switch {
	case f.err != nil:
		return Key{}, false, f.err
	case kty == "OKP" && crv == "Ed25519":
		want, parsed = EdDSA, ed25519.PublicKey(f.binary("x"))
	case kty == "RSA":
		want, parsed = RS256, &rsa.PublicKey{N: new(big.Int).SetBytes(f.binary("n")), E: f.exponent("e")}
	case kty == "oct":
		want, parsed = HS256, f.binary("k")
	case kty == "":
		return Key{}, false, errors.New(`"kty" is missing`)
	default:
		return Key{}, false, nil
	}
	ops := f.texts("key_ops")
	if f.err != nil {
		return Key{}, false, f.err
	}
	if alg != "" && alg != want || use != "" && use != "sig" || ops != nil && !slices.Contains(ops, "verify") {
		return Key{}, false, nil
	}
	key, err := newKey(id, parsed)
	return key, err == nil, err
}

// binary reads base64url (RFC 7515, section 2).
func (f *fields) binary(name string) []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(f.text(name))
	if err != nil || len(b) == 0 {
		f.fail("%q is missing or not base64url", name)
	}
	return b
}

// exponent reads one of an RSA key; what an int32 cannot hold comes back as 0,
// which newKey refuses.
func (f *fields) exponent(name string) int {
	e := new(big.Int).SetBytes(f.binary(name))
	if e.BitLen() > 31 {
		return 0
	}
	return int(e.Int64())
}
