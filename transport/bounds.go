package transport

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/godwitdb/godwit/crdt"
)

// ProtocolVersion is the version of the protocol that this package speaks.
const ProtocolVersion = 1

// Bounds of frames. Encode and Decode refuse what exceeds them.
const (
	MaxFrame      = 9 << 20        // bytes of a message, on the wire as well as inflated
	MaxPayload    = MaxFrame - 256 // what the Sizes of a frame's sets may add up to
	MaxSmallFrame = 64 << 10       // bytes of an inflated frame of the other kinds, but see MaxDigest
	MaxSets       = 1 << 16        // sets of a frame
	MaxMembers    = 1 << 17        // members of all sets of a frame
	MaxExceptions = 1 << 14        // exceptions of an ack
	MaxRequires   = 64             // capabilities a hello may require, and that its sender knows
	MaxSelectors  = 64             // selectors of the scope in a hello
	MaxWhere      = 8              // conditions of a selector
	MaxSpace      = 64             // bytes of a space's name
	MaxName       = 1024           // bytes of a collection's name, of a record's id
	MaxCode       = 64             // bytes of a code or a capability
	MaxText       = 4096           // bytes of a text for people
)

// Size returns the most bytes that m takes in a frame before compression.
func (m Member) Size() int { return 16 + len(m.Collection) + len(m.ID) + len(m.Data) }

// Size returns the most bytes that s takes in a frame before compression. A
// Changes frame whose sets' sizes add up to at most MaxPayload can be sent.
func (s Set) Size() int {
	n := 8
	for _, m := range s.Members {
		n += m.Size()
	}
	return n
}

// ValidSpace reports whether name can name a space: 1 to 64 of a-z, 0-9, dot,
// underscore and hyphen, and not "." or "..", which would name a directory.
func ValidSpace(name string) bool {
	if name == "" || len(name) > MaxSpace || name == "." || name == ".." {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func (f *Hello) check() error {
	if err := firstError(checkCursor("log", f.Log), checkCursor("read", f.Read),
		checkText("space", f.Space, MaxSpace), checkCount("requires", len(f.Requires), MaxRequires), f.Want.check()); err != nil {
		return err
	}
	if err := firstError(checkCount("knows", len(f.Knows), MaxRequires), checkCount("first", len(f.First), MaxSelectors)); err != nil {
		return err
	}
	for _, name := range f.First {
		if err := checkText("collection", name, MaxName); err != nil {
			return err
		}
	}
	for _, r := range slices.Concat(f.Requires, f.Knows) {
		if err := checkText("capability", r, MaxCode); err != nil {
			return err
		}
	}
	return nil
}

func (f *Changes) check() error {
	if err := firstError(checkCursor("from", f.From), checkCursor("through", f.Through),
		checkCount("sets", len(f.Sets), MaxSets)); err != nil {
		return err
	}
	if f.Reach < 0 {
		return fmt.Errorf("%w: a position of %d", ErrMalformed, f.Reach)
	}
	members := 0
	for _, s := range f.Sets {
		members += len(s.Members)
		if len(s.Members) == 0 {
			return fmt.Errorf("%w: set without members", ErrMalformed)
		}
		for _, m := range s.Members {
			if err := firstError(checkText("collection", m.Collection, MaxName), checkText("id", m.ID, MaxName),
				checkCount("bytes of a change", len(m.Data), crdt.MaxChangeSize)); err != nil {
				return err
			}
		}
	}
	return checkCount("members", members, MaxMembers)
}

func (f *Ack) check() error {
	if err := firstError(checkCursor("through", f.Through),
		checkCount("exceptions", len(f.Exceptions), MaxExceptions)); err != nil {
		return err
	}
	for _, x := range f.Exceptions {
		if x.State != Parked && x.State != Refused {
			return fmt.Errorf("%w: exception state %d", ErrMalformed, x.State)
		}
		if err := firstError(checkText("collection", x.Collection, MaxName), checkText("id", x.ID, MaxName),
			checkText("code", x.Code, MaxCode), checkText("detail", x.Detail, MaxText)); err != nil {
			return err
		}
	}
	return nil
}

func (f *Ping) check() error { return nil }
func (f *Pong) check() error { return nil }

func (f *Error) check() error {
	return firstError(checkText("code", f.Code, MaxCode), checkText("message", f.Message, MaxText))
}

func checkCursor(name string, c crdt.Cursor) error { return checkPosition(name, c.LSN) }

func checkPosition(name string, at crdt.LSN) error {
	if at < 0 {
		return fmt.Errorf("%w: %s position %d is negative", ErrMalformed, name, at)
	}
	return nil
}

func checkText(name, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, name, len(s), most)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: %s is not UTF-8", ErrMalformed, name)
	}
	return nil
}

func checkCount(name string, n, most int) error {
	if n > most {
		return fmt.Errorf("%w: %d %s, at most %d", ErrTooLarge, n, name, most)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
