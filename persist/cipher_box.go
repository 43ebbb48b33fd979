package persist

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"golang.org/x/crypto/chacha20poly1305"
)

// phase is how far a change of the encryption has come.
type phase byte

// The order in which they follow each other. Their numbers are stored.
const (
	phaseSteady  phase = 0
	phaseConvert phase = 1 // rows are sealed anew, with the key to be used from now on
	phaseVacuum  phase = 2 // the file has to be written anew, without what is free in it
	phaseFold    phase = 3 // what was overwritten is in the WAL still
)

// box is what the file's key opens: the state of the encryption. Whoever has not
// that key cannot alter it, so a file cannot be talked into storing plain text.
type box struct {
	phase  phase
	target int64 // the number of the key that content is sealed with; 0: with none
	plain  bool  // rows that are not sealed may be there
	keys   []dataKey
}

// dataKey seals content. It is random and known to this file alone.
type dataKey struct {
	n   int64
	key [KeySize]byte
}

func newDataKey(n int64) dataKey {
	k := dataKey{n: n}
	rand.Read(k.key[:]) // never fails
	return k
}

// maxBoxKeys bounds the keys of a box. There are two while content goes from one to
// another.
const maxBoxKeys = 8

const boxFormat = 1

// append writes the box: format, phase, plain, target, then each key's number and
// bytes; numbers as uvarints.
func (b *box) append(to []byte) []byte {
	to = append(to, boxFormat, byte(b.phase), 0)
	if b.plain {
		to[len(to)-1] = 1
	}
	to = binary.AppendUvarint(to, uint64(b.target))
	for _, k := range b.keys {
		to = append(binary.AppendUvarint(to, uint64(k.n)), k.key[:]...)
	}
	return to
}

// parseBox reads what append wrote.
func parseBox(b []byte) (*box, error) {
	if len(b) < 4 || b[0] != boxFormat || b[1] > byte(phaseFold) || b[2] > 1 {
		return nil, errBox
	}
	x := &box{phase: phase(b[1]), plain: b[2] == 1}
	target, n := binary.Uvarint(b[3:])
	if n <= 0 {
		return nil, errBox
	}
	x.target = int64(target)
	for b = b[3+n:]; len(b) > 0; {
		number, n := binary.Uvarint(b)
		if n <= 0 || number == 0 || len(b)-n < KeySize || len(x.keys) == maxBoxKeys {
			return nil, errBox
		}
		x.keys = append(x.keys, dataKey{int64(number), [KeySize]byte(b[n:])})
		b = b[n+KeySize:]
	}
	if x.target != 0 && x.key(x.target) == nil {
		return nil, errBox
	}
	return x, nil
}

var errBox = errors.New("the keys of the file cannot be read: it is damaged, or newer than this program")

func (b *box) key(n int64) *dataKey {
	for i := range b.keys {
		if b.keys[i].n == n {
			return &b.keys[i]
		}
	}
	return nil
}

// lock seals the box with the file's key; the version and how the key is derived
// are bound to it.
func (b *box) lock(l *lock, version int64) ([]byte, error) {
	a, err := chacha20poly1305.NewX(l.kek)
	if err != nil {
		return nil, err
	}
	return sealWith(a, nil, b.append(nil), boxAAD(version, l.kdf)), nil
}

// unlockBox is the inverse of lock.
func unlockBox(locked, kek []byte, version int64, kdf string) (*box, error) {
	a, err := chacha20poly1305.NewX(kek)
	if err != nil {
		return nil, err
	}
	b, err := openWith(a, locked, boxAAD(version, kdf))
	if err != nil {
		return nil, ErrWrongKey
	}
	return parseBox(b)
}

func boxAAD(version int64, kdf string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte("godwit box\x00"), uint64(version)), kdf...)
}

// sealWith appends nonce, ciphertext and tag. The nonce is drawn anew each time:
// with 192 bits that is safe without counting, also in copies of the file and of
// the machine.
func sealWith(a cipher.AEAD, to, plain, aad []byte) []byte {
	var nonce [chacha20poly1305.NonceSizeX]byte
	rand.Read(nonce[:]) // never fails
	to = append(to, nonce[:]...)
	return a.Seal(to, to[len(to)-len(nonce):], plain, aad)
}

// openWith returns what was sealed, in the memory of b.
func openWith(a cipher.AEAD, b, aad []byte) ([]byte, error) {
	if len(b) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, errAltered
	}
	nonce, text := b[:chacha20poly1305.NonceSizeX], b[chacha20poly1305.NonceSizeX:]
	plain, err := a.Open(text[:0], nonce, text, aad)
	if err != nil {
		return nil, errAltered
	}
	return plain, nil
}

// errUnsealed: somebody has put plain text into an encrypted file.
var errUnsealed = fmt.Errorf("it is stored as plain text in an encrypted file, so it was altered: %w", ErrDamaged)

// errAltered: what is stored was not sealed for this place with this key.
var errAltered = fmt.Errorf("it cannot be decrypted, so it was altered or moved: %w", ErrDamaged)

// sealing is the state of the encryption at one version of the file. It is not
// modified.
type sealing struct {
	version int64
	last    int64
	box     *box                  // nil: not encrypted
	keys    map[int64]cipher.AEAD // of this and of earlier versions, by number
	target  cipher.AEAD           // nil: content is stored plain
}

// next is the state that follows s with the given box.
func (s *sealing) next(version, last int64, b *box) (*sealing, error) {
	n := &sealing{version: version, last: last, box: b, keys: maps.Clone(s.keys)}
	if b == nil {
		return n, nil
	}
	if n.keys == nil {
		n.keys = make(map[int64]cipher.AEAD)
	}
	for _, k := range b.keys {
		a, err := chacha20poly1305.NewX(k.key[:])
		if err != nil {
			return nil, err
		}
		n.keys[k.n] = a
	}
	if b.target != 0 {
		n.target = n.keys[b.target]
	}
	return n, nil
}

// plain reports whether rows may be there that are not sealed.
func (s *sealing) plain() bool { return s.box == nil || s.box.plain }

// number is that of the key to seal with.
func (s *sealing) number() int64 {
	if s.box == nil {
		return 0
	}
	return s.box.target
}
