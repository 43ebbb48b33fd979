package lanlink

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// MinSecret is the least length of a secret, in bytes: whoever may try to connect can
// try guesses at it without asking anybody.
const MinSecret = 32

var errKey = errors.New("the other side has another key, or none")

// Key is what replicas have that may speak with each other. It is safe for concurrent use.
type Key struct{ private ed25519.PrivateKey }

// NewKey derives a key from a secret of at least MinSecret bytes, which ought to be random.
func NewKey(secret []byte) (*Key, error) {
	secret = bytes.TrimSpace(secret)
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("derive key: the secret has %d bytes, want at least %d", len(secret), MinSecret)
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, "godwit lan key 1", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return &Key{ed25519.NewKeyFromSeed(seed)}, nil
}

func (k *Key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// TLS returns a configuration for either side that lets in who has the key, whatever
// its name and address are.
func (k *Key) TLS() (*tls.Config, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.public(), k.private)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k.private}},
		ClientAuth:   tls.RequireAnyClientCert,
		// Names and authorities say nothing here: VerifyConnection looks at the key, and
		// TLS has the other side prove that it holds the private part.
		InsecureSkipVerify: true,
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || !k.public().Equal(c.PeerCertificates[0].PublicKey) {
				return errKey
			}
			return nil
		},
	}, nil
}
