package auth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithms of signatures.
const (
	EdDSA = "EdDSA" // Ed25519 (RFC 8037)
	HS256 = "HS256" // HMAC with SHA-256 (RFC 7518, section 3.2)
	RS256 = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3)
)

// Bounds of keys.
const (
	MinSecret  = 32      // bytes of a secret for HS256 (RFC 7518, section 3.2)
	MinRSA     = 2048    // bits of an RSA modulus (RFC 7518, section 3.3)
	MaxRSA     = 8192    // bits: what is beyond takes long to verify
	MaxKeys    = 64      // keys of a file
	MaxKeyFile = 1 << 20 // bytes of a key file or a token file
)

// Key verifies the tokens of one algorithm, and signs them if it is a private
// one. Make it with ParseKeys or GenerateKey.
type Key struct {
	id     string // "kid"; "" for a key that tokens need not name
	alg    string
	public any // ed25519.PublicKey, *rsa.PublicKey or []byte
	sign   any // ed25519.PrivateKey, *rsa.PrivateKey or []byte; nil for a public key
}

// ID returns the key's "kid", "" if it has none.
func (k Key) ID() string { return k.id }

// Algorithm returns the one algorithm that the key is for.
func (k Key) Algorithm() string { return k.alg }

// CanSign reports whether Mint can use the key.
func (k Key) CanSign() bool { return k.sign != nil }

// method returns how to sign and verify; not by jwt.GetSigningMethod, which
// knows more than the three.
func (k Key) method() jwt.SigningMethod {
	switch k.alg {
	case EdDSA:
		return jwt.SigningMethodEdDSA
	case RS256:
		return jwt.SigningMethodRS256
	}
	return jwt.SigningMethodHS256
}

// ParseKeys reads the content of a key file: PEM, a JWK, a JWK set or a secret.
func ParseKeys(data []byte) ([]Key, error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(data) > MaxKeyFile:
		return nil, fmt.Errorf("read keys: %d bytes, at most %d are allowed", len(data), MaxKeyFile)
	case len(text) == 0:
		return nil, errors.New("read keys: the file is empty")
	}
	var keys []Key
	var err error
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		keys, err = parsePEM(text)
	case text[0] == '{' || text[0] == '[':
		keys, err = parseJWKs(text)
	default:
		keys, err = parseSecret(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return keys, nil
}

func parsePEM(data []byte) (keys []Key, err error) {
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("damaged PEM")
		}
		if len(keys) == MaxKeys {
			return nil, fmt.Errorf("more than %d keys", MaxKeys)
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		keys, data = append(keys, key), bytes.TrimSpace(rest)
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (Key, error) {
	var parsed any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return Key{}, fmt.Errorf("PEM of %q: want PUBLIC KEY, PRIVATE KEY or RSA PRIVATE KEY", clip(block.Type))
	}
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", block.Type, err)
	}
	return newKey("", parsed)
}

// newKey pins a key to the one algorithm that it is for.
func newKey(id string, parsed any) (Key, error) {
	switch k := parsed.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("Ed25519 key of %d bytes, want %d", len(k), ed25519.PublicKeySize)
		}
		return Key{id: id, alg: EdDSA, public: k}, nil
	case ed25519.PrivateKey:
		return Key{id: id, alg: EdDSA, public: k.Public(), sign: k}, nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < MinRSA || n > MaxRSA {
			return Key{}, fmt.Errorf("RSA key of %d bits, want %d to %d", n, MinRSA, MaxRSA)
		}
		if k.E < 3 || k.E%2 == 0 || k.E > math.MaxInt32 {
			return Key{}, errors.New("RSA key with an exponent that is even, or not in 3 to 2^31-1")
		}
		return Key{id: id, alg: RS256, public: k}, nil
	case *rsa.PrivateKey:
		key, err := newKey(id, &k.PublicKey)
		key.sign = k
		return key, err
	case []byte:
		if len(k) < MinSecret {
			return Key{}, fmt.Errorf("secret of %d bytes, want at least %d", len(k), MinSecret)
		}
		return Key{id: id, alg: HS256, public: k, sign: k}, nil
	}
	return Key{}, errors.New("key of another kind: want Ed25519, RSA or a secret")
}

// parseSecret refuses public keys in other forms than PEM: as an HMAC secret
// they would let everyone in.
func parseSecret(text []byte) ([]Key, error) {
	_, notPublic := x509.ParsePKIXPublicKey(text)
	_, notRSA := x509.ParsePKCS1PublicKey(text)
	_, notCert := x509.ParseCertificate(text)
	if notPublic == nil || notRSA == nil || notCert == nil {
		return nil, errors.New("a public key in DER: convert it to PEM")
	}
	for _, prefix := range []string{"ssh-", "ecdsa-", "---- BEGIN", "-----"} {
		if bytes.HasPrefix(text, []byte(prefix)) {
			return nil, errors.New("a key in a form that is not known: convert it to PEM")
		}
	}
	key, err := newKey("", bytes.Clone(text))
	return []Key{key}, err
}

// GenerateKey makes a key that can sign: for RS256 one of 3072 bits.
func GenerateKey(alg string) (Key, error) {
	switch alg {
	case EdDSA:
		_, k, err := ed25519.GenerateKey(nil)
		if err != nil {
			return Key{}, fmt.Errorf("generate key: %w", err)
		}
		return newKey("", k)
	case RS256:
		k, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			return Key{}, fmt.Errorf("generate key: %w", err)
		}
		return newKey("", k)
	case HS256:
		var secret [32]byte
		_, _ = rand.Read(secret[:])                                                // never fails
		return newKey("", []byte(base64.RawURLEncoding.EncodeToString(secret[:]))) // so that it can be a text file
	}
	return Key{}, fmt.Errorf("generate key: no algorithm %q: want %s, %s or %s", alg, EdDSA, HS256, RS256)
}

// MarshalPrivate returns the content of a key file for whoever signs.
func (k Key) MarshalPrivate() ([]byte, error) {
	if secret, ok := k.sign.([]byte); ok {
		return append(bytes.Clone(secret), '\n'), nil
	}
	if k.sign == nil {
		return nil, errors.New("write key: it is a public one")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.sign)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// MarshalPublic returns the content of a key file for whoever only verifies;
// nil for a secret, which has no public part.
func (k Key) MarshalPublic() ([]byte, error) {
	if k.alg == HS256 {
		return nil, nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
