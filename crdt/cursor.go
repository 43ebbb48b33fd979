package crdt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// LSN is a position in a replica's log; the first change has 1.
type LSN int64

// Chain is the running hash of a log up to a position: the first 16 bytes of
// SHA-256 over the chain before it, the record's key and the change's hash. Two
// logs with the same chain at a position are the same up to it.
type Chain [16]byte

// Next returns the chain after a change of the given record.
func (c Chain) Next(k Key, h Hash) Chain {
	b := make([]byte, 0, 256)
	b = append(b, c[:]...)
	b = appendLengthed(b, k.Collection)
	b = appendLengthed(b, k.ID)
	b = append(b, h[:]...)
	sum := sha256.Sum256(b)
	return Chain(sum[:16])
}

// Cursor says how far a log was read. The epoch tells one life of a log from
// another; the chain proves that both mean the same content.
type Cursor struct {
	Epoch uint64
	LSN   LSN
	Chain Chain
}

// String is for logs and people.
func (c Cursor) String() string { return fmt.Sprintf("%d@%016x", c.LSN, c.Epoch) }

// SetID names a change set by its content: the first 16 bytes of SHA-256 over
// the key and hash of each member, in order. It need not be sent, and no peer
// can pass off other members under it.
type SetID [16]byte

// String returns 32 lower-case hex digits.
func (s SetID) String() string { return hex.EncodeToString(s[:]) }

// Member is one change of a change set, and the record it belongs to.
type Member struct {
	Key    Key
	Change *Change
}

// SetIDOf returns the name of the set with these members.
func SetIDOf(members []Member) SetID {
	b := make([]byte, 0, 128*len(members))
	for _, m := range members {
		b = appendLengthed(b, m.Key.Collection)
		b = appendLengthed(b, m.Key.ID)
		b = append(b, m.Change.hash[:]...)
	}
	sum := sha256.Sum256(b)
	return SetID(sum[:16])
}

func appendLengthed(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
