package persist

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"crypto/rand"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the length of a key in bytes.
const KeySize = chacha20poly1305.KeySize

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 1 << 20

// Key locks and opens an encrypted file: bytes, or a passphrase from which they
// are derived. The zero Key is none. It prints as nothing that tells what it is.
type Key struct {
	secret string
	cost   *KeyCost // of a passphrase; nil: secret is the key itself
}

// KeyCost says how hard a passphrase is to guess: the parameters of Argon2id
// (RFC 9106). Deriving the key takes the same memory and time at each opening.
type KeyCost struct {
	Time    uint32 // passes
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultKeyCost is what RFC 9106, section 4, recommends where memory is short.
var DefaultKeyCost = KeyCost{Time: 3, Memory: 64 << 10, Threads: 4}

// Bounds of what a file can ask for: an altered one must not exhaust memory.
const (
	maxKeyTime    = 64
	maxKeyMemory  = 1 << 20 // KiB
	maxKeyThreads = 64
	maxSalt       = 64
)

func (c KeyCost) valid() error {
	if c.Time < 1 || c.Time > maxKeyTime || c.Threads < 1 || c.Threads > maxKeyThreads ||
		c.Memory < 8*uint32(c.Threads) || c.Memory > maxKeyMemory {
		return fmt.Errorf("key derivation with %d passes over %d KiB by %d threads: want 1 to %d, %d to %d, 1 to %d",
			c.Time, c.Memory, c.Threads, maxKeyTime, 8*uint32(c.Threads), maxKeyMemory, maxKeyThreads)
	}
	return nil
}

// NewKey returns the key of exactly KeySize bytes, which have to be random.
func NewKey(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("a key of %d bytes: want %d", len(b), KeySize)
	}
	return Key{secret: string(b)}, nil
}

// Passphrase returns the key that is derived from a passphrase, at the cost of
// DefaultKeyCost.
func Passphrase(text string) (Key, error) { return PassphraseCost(text, DefaultKeyCost) }

// PassphraseCost is Passphrase at another cost, which counts when a file is
// locked; to open one, what the file says does.
func PassphraseCost(text string, cost KeyCost) (Key, error) {
	if text == "" || len(text) > maxPassphrase {
		return Key{}, fmt.Errorf("a passphrase of %d bytes: want 1 to %d", len(text), maxPassphrase)
	}
	return Key{secret: text, cost: &cost}, cost.valid()
}

// IsZero reports whether it is no key.
func (k Key) IsZero() bool { return k.secret == "" }

// Equal reports whether both are the same, in a time that does not tell how much of
// them is.
func (k Key) Equal(o Key) bool {
	return (k.cost == nil) == (o.cost == nil) && subtle.ConstantTimeCompare([]byte(k.secret), []byte(o.secret)) == 1
}

// Format writes a word in place of the key, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	word := "(key)"
	if k.IsZero() {
		word = "(no key)"
	}
	_, _ = f.Write([]byte(word))
}

// kdfRaw says that a key is used as it is.
const kdfRaw = "raw"

// newKDF says how a file is to derive its box's key from k: for a passphrase with
// a salt of its own.
func (k Key) newKDF() string {
	if k.cost == nil {
		return kdfRaw
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return formatKDF(*k.cost, salt)
}

// derive returns the key that locks the box. A key of the other kind than kdf
// wants is ErrWrongKey.
func (k Key) derive(kdf string) ([]byte, error) {
	if kdf == kdfRaw {
		if k.cost != nil {
			return nil, fmt.Errorf("%w: the file is locked with %d bytes, not with a passphrase", ErrWrongKey, KeySize)
		}
		return []byte(k.secret), nil
	}
	cost, salt, err := parseKDF(kdf)
	if err != nil {
		return nil, err
	}
	if k.cost == nil {
		return nil, fmt.Errorf("%w: the file is locked with a passphrase, not with %d bytes", ErrWrongKey, KeySize)
	}
	return argon2.IDKey([]byte(k.secret), salt, cost.Time, cost.Memory, cost.Threads, KeySize), nil
}

// formatKDF writes parameters as the PHC string format has them
// (github.com/P-H-C/phc-string-format).
func formatKDF(c KeyCost, salt []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s", argon2.Version, c.Memory, c.Time, c.Threads,
		base64.RawStdEncoding.EncodeToString(salt))
}

// parseKDF reads what formatKDF wrote, and nothing else, within the bounds.
func parseKDF(s string) (cost KeyCost, salt []byte, err error) {
	fields := strings.Split(s, "$")
	if len(fields) != 5 || len(s) > 256 {
		return cost, nil, errKDF
	}
	for _, p := range strings.Split(fields[3], ",") {
		name, value, _ := strings.Cut(p, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return cost, nil, errKDF
		}
		switch name {
		case "m":
			cost.Memory = uint32(n)
		case "t":
			cost.Time = uint32(n)
		case "p":
			cost.Threads = uint8(min(n, 255))
		}
	}
	if salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil || len(salt) < 8 || len(salt) > maxSalt {
		return cost, nil, errKDF
	}
	if formatKDF(cost, salt) != s {
		return cost, nil, errKDF
	}
	return cost, salt, cost.valid()
}

var errKDF = errors.New("the file does not say how its key is derived: it is damaged, or newer than this program")
