package natslink

import (
	"encoding/binary"
	"fmt"

	"github.com/godwitdb/godwit/transport"
)

// kind tells the messages of a session apart.
type kind byte

// Kinds of messages. Those from chunk to bye are numbered, each one more than the
// one before; the others tell the number of the last one sent.
const (
	kindOpen   kind = 1  // a wish for a session: terms
	kindAccept kind = 2  // the answer: terms
	kindRefuse kind = 3  // the other answer: an encoded Error frame
	kindChunk  kind = 4  // the beginning or middle of a frame
	kindLast   kind = 5  // the end of a frame
	kindDrop   kind = 6  // the frame that was begun will not be ended
	kindBye    kind = 7  // nothing follows
	kindCredit kind = 8  // more may be sent
	kindPing   kind = 9  // are you there?
	kindPong   kind = 10 // yes
)

func (k kind) numbered() bool { return k >= kindChunk && k <= kindBye }

// version of the messages.
const version = 1

// message is what one side of a session sends the other: its kind (1 byte), a
// number and how many bytes of numbered messages the sender has consumed (8 bytes
// each, big-endian), and a body.
type message struct {
	kind     kind
	number   uint64
	consumed uint64
	body     []byte
}

const messageHeader = 17

func (m *message) bytes() []byte {
	b := make([]byte, 0, messageHeader+len(m.body))
	b = append(b, byte(m.kind))
	b = binary.BigEndian.AppendUint64(b, m.number)
	b = binary.BigEndian.AppendUint64(b, m.consumed)
	return append(b, m.body...)
}

// parseMessage keeps b.
func parseMessage(b []byte) (m message, ok bool) {
	if len(b) < messageHeader || b[0] < byte(kindOpen) || b[0] > byte(kindPong) {
		return m, false
	}
	return message{
		kind: kind(b[0]), number: binary.BigEndian.Uint64(b[1:]), consumed: binary.BigEndian.Uint64(b[9:]),
		body: b[messageHeader:],
	}, true
}

// terms are what a side says of itself when a session is opened: a version, the
// largest message its server takes, and how much may be sent to it unconsumed
// (4 bytes each).
type terms struct {
	chunk, window uint32
}

const termsSize = 9

func (t terms) bytes() []byte {
	b := []byte{version}
	b = binary.BigEndian.AppendUint32(b, t.chunk)
	return binary.BigEndian.AppendUint32(b, t.window)
}

// parseTerms reads what bytes wrote; more may follow.
func parseTerms(b []byte) (t terms, err error) {
	if len(b) < termsSize || b[0] != version {
		return t, fmt.Errorf("%w: it does not speak version %d of godwit over NATS", errVersion, version)
	}
	t = terms{chunk: binary.BigEndian.Uint32(b[1:]), window: binary.BigEndian.Uint32(b[5:])}
	if t.chunk < minChunk || t.window < 2*minChunk {
		return t, fmt.Errorf("%w: it takes messages of %d and %d bytes in all", errVersion, t.chunk, t.window)
	}
	return t, nil
}

var errVersion = &transport.Error{Code: transport.CodeProtocol, Message: "the peer's terms are not understood"}
