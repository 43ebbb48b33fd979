package transport

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// The frames of reconciliation, by which two replicas find out in which records
// they differ and exchange what is missing. It is range-based set reconciliation
// (A. Meyer, "Range-Based Set Reconciliation", arXiv:2212.13567, 2022): the items
// are a record's name with its heads, in the order of their places. A place is the
// first 8 bytes of a hash of the name, so that ranges are prefixes of bits and
// evenly filled. How prints are computed is package replica's business.

// Bounds of the frames of reconciliation.
const (
	MaxDigest  = 4 << 20 // bytes of an inflated Digest or Need
	MaxRanges  = 1 << 13 // ranges of a Digest
	MaxScopes  = 8       // scopes of a Digest
	MaxFan     = 11      // bits by which a range is divided at once
	MaxHaves   = 1 << 11 // records of a Need
	MaxActors  = 1 << 17 // in all their clocks
	printBytes = 16
	itemBytes  = 16
)

// Print stands for all items of a range.
type Print [printBytes]byte

// Digest compares ranges. A request holds the sender's prints of ranges, or their
// items; the answer holds, of each range or part of one that differs, the
// answerer's own: finer prints, or its items when they are few.
type Digest struct {
	ID     uint64 // of a request, not 0; of an answer, the request's
	Answer bool   // to a request
	// Scopes say which records are compared: those in all of them, and godwit's own.
	// An answer with other scopes than the request has no ranges: it says what to
	// ask for instead.
	Scopes []Scope
	Ranges []Range // in no order
}

// Range is all places that begin with Bits bits of Prefix, and what one side has
// there: prints of its 1 << n equal parts, or the items.
type Range struct {
	Bits   uint8
	Prefix uint64  // the bits at the upper end, zeros below
	Prints []Print // nil if there are Items
	Items  []Item  // by place; two records may share one
}

// Item is a record, and the beginning of a hash of its heads.
type Item struct {
	Place uint64
	Heads uint64
}

// Need asks for what the sender lacks of some records, or answers that. What it
// asks for comes in frames of Changes with Loose set, then the answer follows. So does a
// request what the sender has for the other side. An answer without Haves says that
// frames which went before the request have not arrived.
type Need struct {
	ID     uint64   // of a request, not 0; of an answer, the request's
	Answer bool     // to a request
	Names  bool     // in a request: change sets are not wanted
	Loose  uint64   // how many frames of Changes went before it, with its ID
	Log    crdt.LSN // in an answer: the end of the answerer's log when it looked
	// Behind is a position in the answerer's log. In an answer: how far it went for the
	// records that have All. In a request: what is wanted lies behind it, the rest came
	// with earlier answers.
	Behind crdt.LSN
	Haves  []Have // the records; of an answer, those that it is about
}

// Have is what one side has of a record.
type Have struct {
	Key   crdt.Key // zero in a request: whatever is at Place
	Place uint64
	Heads uint64 // as in Item; 0 for no such record
	// Clock holds the changes: in a request, the sender's; in an answer, only if the
	// answerer lacks something that the request's clock has, or names were asked for.
	Clock crdt.Clock
	// All in a request says that clocks do not explain the difference: the whole
	// history is wanted. In an answer it says that more is to be had.
	All  bool
	Shut bool // in an answer: no changes of the record are taken from the asker
	Kept bool // in an answer: some changes are kept back, since the asker refused them
	Gone bool // in an answer: the record was forgotten there, no changes of it are given or taken
}

// Kind returns KindDigest.
func (*Digest) Kind() Kind { return KindDigest }

// Kind returns KindNeed.
func (*Need) Kind() Kind { return KindNeed }

func (f *Digest) check() error {
	if err := firstError(checkID(f.ID), checkCount("ranges", len(f.Ranges), MaxRanges), checkCount("scopes", len(f.Scopes), MaxScopes)); err != nil {
		return err
	}
	for i := range f.Scopes {
		if err := f.Scopes[i].check(); err != nil {
			return err
		}
	}
	for i := range f.Ranges {
		if err := f.Ranges[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Range) check() error {
	n := len(r.Prints)
	switch {
	case r.Bits > 64 || r.Prefix&(1<<(64-r.Bits)-1) != 0:
		return fmt.Errorf("%w: a range of %d bits that begins with %#x", ErrMalformed, r.Bits, r.Prefix)
	case n > 0 && (n&(n-1) != 0 || n > 1<<MaxFan || int(r.Bits)+bits.Len(uint(n))-1 > 64):
		return fmt.Errorf("%w: %d prints for a range of %d bits", ErrMalformed, n, r.Bits)
	case n > 0 && r.Items != nil:
		return fmt.Errorf("%w: a range with prints and items", ErrMalformed)
	}
	for i, it := range r.Items {
		if it.Place>>(64-r.Bits) != r.Prefix>>(64-r.Bits) || i > 0 && it.Place < r.Items[i-1].Place {
			return fmt.Errorf("%w: an item out of its place", ErrMalformed)
		}
	}
	return nil
}

func (f *Need) check() error {
	if err := firstError(checkID(f.ID), checkCount("records", len(f.Haves), MaxHaves), checkPosition("log", f.Log), checkPosition("behind", f.Behind)); err != nil {
		return err
	}
	actors := 0
	for i := range f.Haves {
		h := &f.Haves[i]
		actors += len(h.Clock)
		if err := firstError(checkText("collection", h.Key.Collection, MaxName), checkText("id", h.Key.ID, MaxName)); err != nil {
			return err
		}
		for a := range h.Clock {
			if err := checkCount("bytes of an actor", len(a), crdt.MaxActorLen); err != nil {
				return err
			}
		}
	}
	return checkCount("actors", actors, MaxActors)
}

func checkID(id uint64) error {
	if id == 0 {
		return fmt.Errorf("%w: no request", ErrMalformed)
	}
	return nil
}

type wireDigest struct {
	ID     uint64       `cbor:"1,keyasint"`
	Answer bool         `cbor:"2,keyasint,omitempty"`
	Scopes []*wireScope `cbor:"3,keyasint,omitempty"`
	Ranges []wireRange  `cbor:"4,keyasint,omitempty"`
}

type wireRange struct {
	_      struct{} `cbor:",toarray"`
	Bits   uint8
	Prefix uint64 // shifted down
	List   bool   // Data holds items, else prints
	Data   []byte
}

type wireNeed struct {
	ID     uint64     `cbor:"1,keyasint"`
	Answer bool       `cbor:"2,keyasint,omitempty"`
	Names  bool       `cbor:"3,keyasint,omitempty"`
	Loose  uint64     `cbor:"4,keyasint,omitempty"`
	Log    uint64     `cbor:"6,keyasint,omitempty"`
	Haves  []wireHave `cbor:"5,keyasint,omitempty"`
	Behind uint64     `cbor:"7,keyasint,omitempty"`
}

type wireHave struct {
	_          struct{} `cbor:",toarray"`
	Collection string
	ID         string
	Place      uint64 // 0 beside a name in a request: it follows from that
	Heads      uint64
	Clock      []byte // of each actor, ascending: its length as uvarint, it, its highest sequence number as uvarint
	All        bool
	Shut       bool
	Kept       bool
	Gone       bool
}

func (f *Digest) wire() any {
	w := &wireDigest{ID: f.ID, Answer: f.Answer}
	for _, s := range f.Scopes {
		w.Scopes = append(w.Scopes, scopeToWire(s))
	}
	for i := range f.Ranges {
		r := &f.Ranges[i]
		wr := wireRange{Bits: r.Bits, Prefix: r.Prefix >> (64 - r.Bits), List: len(r.Prints) == 0}
		if wr.List {
			wr.Data = make([]byte, 0, len(r.Items)*itemBytes)
			for _, it := range r.Items {
				wr.Data = binary.BigEndian.AppendUint64(wr.Data, it.Place)
				wr.Data = binary.BigEndian.AppendUint64(wr.Data, it.Heads)
			}
		} else {
			wr.Data = make([]byte, 0, len(r.Prints)*printBytes)
			for _, p := range r.Prints {
				wr.Data = append(wr.Data, p[:]...)
			}
		}
		w.Ranges = append(w.Ranges, wr)
	}
	return w
}

func (w *wireDigest) frame() (Frame, error) {
	f := &Digest{ID: w.ID, Answer: w.Answer}
	if len(w.Scopes) > MaxScopes {
		return nil, checkCount("scopes", len(w.Scopes), MaxScopes)
	}
	for _, s := range w.Scopes {
		f.Scopes = append(f.Scopes, s.scope())
	}
	if len(w.Ranges) > 0 {
		f.Ranges = make([]Range, len(w.Ranges))
	}
	for i := range w.Ranges {
		if err := w.Ranges[i].parse(&f.Ranges[i]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (w *wireRange) parse(r *Range) error {
	size := printBytes
	if w.List {
		size = itemBytes
	}
	if w.Bits > 64 || w.Bits < 64 && w.Prefix>>w.Bits != 0 || len(w.Data)%size != 0 || !w.List && len(w.Data) == 0 {
		return fmt.Errorf("%w: a range of %d bits, %d, with %d bytes", ErrMalformed, w.Bits, w.Prefix, len(w.Data))
	}
	r.Bits, r.Prefix = w.Bits, w.Prefix<<(64-w.Bits)
	if !w.List {
		r.Prints = make([]Print, len(w.Data)/size)
		for i := range r.Prints {
			r.Prints[i] = Print(w.Data[i*size:])
		}
		return nil
	}
	r.Items = make([]Item, len(w.Data)/size)
	for i := range r.Items {
		b := w.Data[i*size:]
		r.Items[i] = Item{Place: binary.BigEndian.Uint64(b), Heads: binary.BigEndian.Uint64(b[8:])}
	}
	return nil
}

func (f *Need) wire() any {
	w := &wireNeed{ID: f.ID, Answer: f.Answer, Names: f.Names, Loose: f.Loose, Log: uint64(f.Log), Behind: uint64(f.Behind)}
	for i := range f.Haves {
		h := &f.Haves[i]
		w.Haves = append(w.Haves, wireHave{Collection: h.Key.Collection, ID: h.Key.ID, Place: h.Place, Heads: h.Heads,
			Clock: appendClock(nil, h.Clock), All: h.All, Shut: h.Shut, Kept: h.Kept, Gone: h.Gone})
	}
	return w
}

func (w *wireNeed) frame() (Frame, error) {
	f := &Need{ID: w.ID, Answer: w.Answer, Names: w.Names, Loose: w.Loose, Log: crdt.LSN(w.Log), Behind: crdt.LSN(w.Behind)}
	if len(w.Haves) > 0 {
		f.Haves = make([]Have, len(w.Haves))
	}
	room := MaxActors
	for i := range w.Haves {
		h := &w.Haves[i]
		clock, err := parseClock(h.Clock, room)
		if err != nil {
			return nil, err
		}
		room -= len(clock)
		f.Haves[i] = Have{Key: crdt.Key{Collection: h.Collection, ID: h.ID}, Place: h.Place, Heads: h.Heads, Clock: clock, All: h.All, Shut: h.Shut, Kept: h.Kept, Gone: h.Gone}
	}
	return f, nil
}

func appendClock(b []byte, clock crdt.Clock) []byte {
	actors := make([]crdt.ActorID, 0, len(clock))
	for a := range clock {
		actors = append(actors, a)
	}
	slices.Sort(actors)
	for _, a := range actors {
		b = append(binary.AppendUvarint(b, uint64(len(a))), a...)
		b = binary.AppendUvarint(b, clock[a])
	}
	return b
}

func parseClock(b []byte, most int) (crdt.Clock, error) {
	if len(b) == 0 {
		return nil, nil
	}
	clock := make(crdt.Clock, min(len(b)/18+1, most))
	for last := crdt.ActorID(""); len(b) > 0; {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > crdt.MaxActorLen || size > uint64(len(b)-n) {
			return nil, fmt.Errorf("%w: a clock with an actor of impossible length", ErrMalformed)
		}
		actor := crdt.ActorID(b[n : n+int(size)])
		b = b[n+int(size):]
		seq, n := binary.Uvarint(b)
		if n <= 0 || len(clock) > 0 && actor <= last {
			return nil, fmt.Errorf("%w: a clock out of order", ErrMalformed)
		}
		b = b[n:]
		clock[actor], last = seq, actor
		if err := checkCount("actors", len(clock), most); err != nil {
			return nil, err
		}
	}
	return clock, nil
}
