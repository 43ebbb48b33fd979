package transport

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// Kind tells frames apart on the wire.
type Kind uint8

// Kinds of frames. Numbers are never used again for something else; 0 is none.
const (
	KindHello   Kind = 1
	KindChanges Kind = 2
	KindAck     Kind = 3
	KindPing    Kind = 4
	KindPong    Kind = 5
	KindError   Kind = 6

	KindDigest   Kind = 7
	KindNeed     Kind = 8
	KindPresence Kind = 9
	KindToken    Kind = 10
)

// String returns the kind's name, for logs.
func (k Kind) String() string {
	names := [...]string{1: "hello", 2: "changes", 3: "ack", 4: "ping", 5: "pong", 6: "error", 7: "digest", 8: "need", 9: "presence", 10: "token"}
	if int(k) >= len(names) || names[k] == "" {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return names[k]
}

// known reports whether this version has frames of the kind.
func (k Kind) known() bool { return k >= KindHello && k <= KindToken }

// Frame is one message of the protocol: *Hello, *Changes, *Ack, *Ping, *Pong,
// *Error, *Digest, *Need, *Presence or *Token.
type Frame interface {
	// Kind returns the frame's kind.
	Kind() Kind
	check() error // of its bounds
	wire() any    // its body as CBOR encodes it
}

// Hello is the first frame of both sides.
type Hello struct {
	Protocol uint64         // the sender's ProtocolVersion
	Space    string         // the space it means
	Replica  crdt.ReplicaID // who it is
	Epoch    uint64         // and in which life
	Log      crdt.Cursor    // the end of its log
	Read     crdt.Cursor    // how far it has durably read the receiver's log; zero when not known
	Rights   crdt.Hash      // of what the receiver may write here; zero for everything
	Requires []string       // capabilities the receiver must know, or say no
	Want     Scope          // what the sender wants to be sent: at most MaxSelectors
	Knows    []string       // capabilities of the sender's, to be used by who knows them too
	Compare  bool           // this session is to compare the two logs' records only: neither side streams
	Volatile bool           // the sender keeps nothing for good: its acks are no receipts, and it remembers none
	First    []string       // collections whose changes it wants before others: at most MaxSelectors
	Carrier  bool           // the sender is no replica: it hands on what it is sent, its acks are no receipts, and it remembers none
}

// Changes carries change sets in the order of the sender's log. A set that is
// larger than a frame spans several with the same From: Part counts them from 0,
// and all but the last say More. The first one of a session holds no sets and says
// under which Filter the log is sent.
type Changes struct {
	From    crdt.Cursor // where the receiver must stand for these to fit
	Through crdt.Cursor // where it stands after the last of them
	Sets    []Set
	Part    uint64    // which part of a set that spans frames
	More    bool      // the set goes on in the next frame
	End     bool      // nothing more right now
	Unequal bool      // with End: after the sender's comparison the two sides may differ
	Prompt  bool      // somebody waits for the acknowledgement: it is not to be held back
	Filter  crdt.Hash // in a session's first: of the scope that the sender sends, see Scope.Hash
	Packed  []byte    // unless empty, all but Loose, Ahead, Reach, Unequal and Prompt, in a form of its own; see Packer

	// Loose, if not 0, says that the sets are no stretch of the log: they answer the
	// Need with this ID, or go before it. From and Through are zero then.
	Loose uint64

	// Ahead, if not 0, names a frame of change sets that go before their turn in the log:
	// itself if it is Loose, and then Reach is the highest position that it reaches, or a
	// later one; else the last one before it, of which, and of those before that, nothing
	// comes again in its turn: without all of them this frame does not fit. The upper 32
	// bits are the round, which begins anew when the log is sent again, the lower ones
	// count from 1 within it.
	Ahead uint64
	Reach crdt.LSN
}

// Set is a change set, or a part of one, in order; never empty.
type Set struct {
	Members []Member
}

// Member is one change and the record it belongs to. What is in it was not
// checked yet.
type Member struct {
	Collection string
	ID         string
	Data       []byte // the change chunk; of a received frame, a part of one buffer that all members share
}

// Ack says how far the sender has durably read the receiver's log.
type Ack struct {
	Through    crdt.Cursor
	Bare       bool        // Through is a position only: the receiver knows which cursor it sent for that
	Resend     bool        // the last Changes did not fit: send again from Through
	Exceptions []Exception // what was received and not integrated
}

// State of a change that an ack excepts.
type State uint8

// States of excepted changes.
const (
	Parked  State = 1 // waits for a dependency
	Refused State = 2 // was not taken; unless for lack of rights, it is in quarantine
)

// Exception is a change that was received, and is neither integrated nor lost.
type Exception struct {
	Collection string
	ID         string
	Hash       crdt.Hash
	State      State
	Code       string
	Detail     string
}

// Ping asks for a Pong with the same Nonce.
type Ping struct{ Nonce uint64 }

// Pong answers a Ping.
type Pong struct{ Nonce uint64 }

// Error tells the peer why the connection ends; nothing follows it. It is a Go
// error too.
type Error struct {
	Code    string // one of the codes; unknown ones are to be taken as CodeInternal
	Message string // for people
}

// Error returns the message and the code.
func (f *Error) Error() string { return fmt.Sprintf("%s (%s)", f.Message, f.Code) }

// Kind returns KindHello.
func (*Hello) Kind() Kind { return KindHello }

// Kind returns KindChanges.
func (*Changes) Kind() Kind { return KindChanges }

// Kind returns KindAck.
func (*Ack) Kind() Kind { return KindAck }

// Kind returns KindPing.
func (*Ping) Kind() Kind { return KindPing }

// Kind returns KindPong.
func (*Pong) Kind() Kind { return KindPong }

// Kind returns KindError.
func (*Error) Kind() Kind { return KindError }
