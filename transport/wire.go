package transport

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
)

// The bodies of frames as CBOR: maps with integer keys, where a missing key is
// the zero value and an unknown one is ignored. A key is never used again for
// something else.

type wireHello struct {
	Protocol uint64      `cbor:"1,keyasint"`
	Space    string      `cbor:"2,keyasint"`
	Replica  []byte      `cbor:"3,keyasint"`
	Epoch    uint64      `cbor:"4,keyasint"`
	Log      *wireCursor `cbor:"5,keyasint,omitempty"`
	Read     *wireCursor `cbor:"6,keyasint,omitempty"`
	Rights   []byte      `cbor:"7,keyasint,omitempty"`
	Requires []string    `cbor:"8,keyasint,omitempty"`
	Want     *wireScope  `cbor:"9,keyasint,omitempty"` // nil: everything
	Knows    []string    `cbor:"10,keyasint,omitempty"`
	Volatile bool        `cbor:"11,keyasint,omitempty"`
	Compare  bool        `cbor:"12,keyasint,omitempty"`
	Carrier  bool        `cbor:"13,keyasint,omitempty"`
	First    []string    `cbor:"14,keyasint,omitempty"`
}

// wireChanges is the first of a Changes frame's two items; sets.go has the other.
type wireChanges struct {
	From    *wireCursor `cbor:"1,keyasint,omitempty"`
	Through *wireCursor `cbor:"2,keyasint,omitempty"`
	Part    uint64      `cbor:"3,keyasint,omitempty"`
	More    bool        `cbor:"4,keyasint,omitempty"`
	End     bool        `cbor:"5,keyasint,omitempty"`
	Filter  []byte      `cbor:"6,keyasint,omitempty"`
	Packed  []byte      `cbor:"7,keyasint,omitempty"` // instead of 1 to 6
	Loose   uint64      `cbor:"8,keyasint,omitempty"`
	Unequal bool        `cbor:"9,keyasint,omitempty"`
	Prompt  bool        `cbor:"10,keyasint,omitempty"`
	Ahead   uint64      `cbor:"11,keyasint,omitempty"`
	Reach   uint64      `cbor:"12,keyasint,omitempty"`
}

type wireAck struct {
	Through    *wireCursor     `cbor:"1,keyasint,omitempty"`
	Resend     bool            `cbor:"2,keyasint,omitempty"`
	Exceptions []wireException `cbor:"3,keyasint,omitempty"`
	Bare       *uint64         `cbor:"4,keyasint,omitempty"` // instead of 1
}

type wireException struct {
	_          struct{} `cbor:",toarray"`
	Collection string
	ID         string
	Hash       []byte
	State      State
	Code       string
	Detail     string
}

type wirePing struct {
	Nonce uint64 `cbor:"1,keyasint"`
}

type wireError struct {
	Code    string `cbor:"1,keyasint"`
	Message string `cbor:"2,keyasint,omitempty"`
}

// wireCursor is nil for the zero cursor.
type wireCursor struct {
	_     struct{} `cbor:",toarray"`
	Epoch uint64
	LSN   uint64
	Chain []byte
}

func (f *Hello) wire() any {
	return &wireHello{
		Protocol: f.Protocol, Space: f.Space, Replica: f.Replica[:], Epoch: f.Epoch,
		Log: cursorToWire(f.Log), Read: cursorToWire(f.Read),
		Rights: hashToWire(&f.Rights), Volatile: f.Volatile, Carrier: f.Carrier, Compare: f.Compare, Requires: f.Requires, Want: scopeToWire(f.Want), Knows: f.Knows, First: f.First,
	}
}

func (f *Changes) wire() any {
	if len(f.Packed) > 0 {
		return &wireChanges{Packed: f.Packed, Loose: f.Loose, Ahead: f.Ahead, Reach: uint64(f.Reach), Unequal: f.Unequal, Prompt: f.Prompt}
	}
	return &wireChanges{
		From: cursorToWire(f.From), Through: cursorToWire(f.Through),
		Part: f.Part, More: f.More, End: f.End, Filter: hashToWire(&f.Filter), Loose: f.Loose, Ahead: f.Ahead, Reach: uint64(f.Reach), Unequal: f.Unequal, Prompt: f.Prompt,
	}
}

func (f *Ack) wire() any {
	w := &wireAck{Through: cursorToWire(f.Through), Resend: f.Resend}
	if f.Bare {
		at := uint64(f.Through.LSN)
		w.Through, w.Bare = nil, &at
	}
	for i := range f.Exceptions {
		x := &f.Exceptions[i]
		w.Exceptions = append(w.Exceptions, wireException{
			Collection: x.Collection, ID: x.ID, Hash: x.Hash[:], State: x.State, Code: x.Code, Detail: x.Detail,
		})
	}
	return w
}

func (f *Ping) wire() any  { return &wirePing{f.Nonce} }
func (f *Pong) wire() any  { return &wirePing{f.Nonce} }
func (f *Error) wire() any { return &wireError{f.Code, f.Message} }

func (w *wireHello) frame() (Frame, error) {
	f := &Hello{Protocol: w.Protocol, Space: w.Space, Epoch: w.Epoch, Volatile: w.Volatile, Carrier: w.Carrier, Compare: w.Compare, Requires: w.Requires, Want: w.Want.scope(), Knows: w.Knows, First: w.First}
	err := firstError(
		fixed("replica", f.Replica[:], w.Replica), optional("rights", f.Rights[:], w.Rights),
		cursorFromWire("log", &f.Log, w.Log), cursorFromWire("read", &f.Read, w.Read))
	return f, err
}

func (w *wireChanges) frame() (*Changes, error) {
	f := &Changes{Part: w.Part, More: w.More, End: w.End, Packed: w.Packed, Loose: w.Loose, Ahead: w.Ahead, Reach: crdt.LSN(w.Reach), Unequal: w.Unequal, Prompt: w.Prompt}
	return f, firstError(optional("filter", f.Filter[:], w.Filter),
		cursorFromWire("from", &f.From, w.From), cursorFromWire("through", &f.Through, w.Through))
}

func (w *wireAck) frame() (Frame, error) {
	f := &Ack{Resend: w.Resend}
	if err := cursorFromWire("through", &f.Through, w.Through); err != nil {
		return nil, err
	}
	if w.Bare != nil {
		f.Bare, f.Through = true, crdt.Cursor{LSN: crdt.LSN(*w.Bare)}
	}
	if len(w.Exceptions) > 0 {
		f.Exceptions = make([]Exception, len(w.Exceptions))
	}
	for i := range w.Exceptions {
		x := &w.Exceptions[i]
		f.Exceptions[i] = Exception{Collection: x.Collection, ID: x.ID, State: x.State, Code: x.Code, Detail: x.Detail}
		if err := fixed("hash", f.Exceptions[i].Hash[:], x.Hash); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func cursorToWire(c crdt.Cursor) *wireCursor {
	if c == (crdt.Cursor{}) {
		return nil
	}
	return &wireCursor{Epoch: c.Epoch, LSN: uint64(c.LSN), Chain: c.Chain[:]}
}

func cursorFromWire(name string, c *crdt.Cursor, w *wireCursor) error {
	if w == nil {
		return nil
	}
	c.Epoch, c.LSN = w.Epoch, crdt.LSN(w.LSN) // beyond int64 it is negative, which check refuses
	return fixed(name+" chain", c.Chain[:], w.Chain)
}

// hashToWire is nil for the zero hash.
func hashToWire(h *crdt.Hash) []byte {
	if *h == (crdt.Hash{}) {
		return nil
	}
	return h[:]
}

func optional(name string, dst, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return fixed(name, dst, src)
}

func fixed(name string, dst, src []byte) error {
	if len(src) != len(dst) {
		return fmt.Errorf("%w: %s of %d bytes, want %d", ErrMalformed, name, len(src), len(dst))
	}
	copy(dst, src)
	return nil
}
