package transport

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/godwitdb/godwit/crdt"
)

// KnowsPack is the capability of a Hello whose sender takes packed Changes and
// bare Acks. See Packer.
const KnowsPack = "pack"

// ErrLost says that a packed frame cannot be unpacked, since one before it did not
// arrive: the sender is to be asked for a resend.
var ErrLost = errors.New("a packed frame before this one was lost")

// Packed Changes, the content of a frame:
//
//	flags, number (two bytes), check (eight)
//	from:    epoch (eight bytes), position, chain    unless where the last frame ended
//	through: position less from's, chain             unless what the members make of from
//	part*2 + more                                    of a set that spans frames
//	the number of sets, and of the members of each   unless one of one
//	members: a record and a packed change each
//
// Numbers are LEB128, differences zigzag. The check is the beginning of the chain
// that the members make of from: it covers the keys and hashes of all of them, so
// bytes that were made wrongly do not pass.
//
// A record is
//
//	0 collection id          not to be kept, for its length
//	1 place collection id    to be kept at a place, as a difference to the one after the last kept
//	2+place                  kept; as a difference to the place after the last one
//
// where a collection is its place in a table plus 1, or 0, length and name to take
// the next place, round and round.
const (
	packReset   = 1 << iota // tables are empty before this frame, which any state takes
	packFrom                // from is told
	packThrough             // through is told
	packEnd
	packPart
	packLoose // members without positions
	packOne   // one set of one member
)

const (
	packCheck       = 8       // bytes of the check
	packSlots       = 1 << 14 // records that are kept
	packFree        = 1 << 8  // of them what a session may keep without asking for room
	packCollections = 1 << 6
	packKeyLen      = 128 // bytes of the longest key that is kept
)

// PackRoom is what the Packers of a replica may keep together beyond a few records
// each: places of records, of about 300 bytes. It is safe for concurrent use.
type PackRoom struct{ left atomic.Int64 }

// NewPackRoom returns room for n records.
func NewPackRoom(n int) *PackRoom {
	r := &PackRoom{}
	r.left.Store(int64(n))
	return r
}

func (r *PackRoom) take(n int) bool {
	if r.left.Add(int64(-n)) >= 0 {
		return true
	}
	r.left.Add(int64(n))
	return false
}

// packed is the state that both ends of a direction have in common.
type packed struct {
	number      uint16      // of the next frame
	at          crdt.Cursor // where the last frame ended
	run         crdt.Cursor // within a set that spans frames: at, and its members so far
	slots       []packSlot
	next        int // the place after the last one kept
	last        int // the place after the last one named
	collections []string
	collection  int // the one to be replaced next
	changes     crdt.PackTables
}

type packSlot struct {
	key    crdt.Key
	record crdt.PackRecord
}

// forget empties the tables.
func (p *packed) forget() {
	p.slots, p.next, p.last, p.collections, p.collection, p.changes = nil, 0, 0, nil, 0, crdt.PackTables{}
}

// keep adds a collection, for another if there are many.
func (p *packed) keep(name string) {
	if len(p.collections) < packCollections {
		p.collections = append(p.collections, name)
		return
	}
	p.collections[p.collection] = name
	p.collection = (p.collection + 1) % packCollections
}

// count goes on by a change.
func (p *packed) count(k crdt.Key, h crdt.Hash) {
	p.run.LSN++
	p.run.Chain = p.run.Chain.Next(k, h)
}

// Packer packs the Changes that one side of a session sends: it leaves out what
// the other side's Unpacker knows from those before. It is for one goroutine, costs
// next to nothing until a frame is packed, and is to be closed.
type Packer struct {
	packed
	room     *PackRoom
	taken    int // places of room
	started  bool
	full     bool                // records were dropped from the table to make room
	index    map[crdt.Key]uint32 // places
	furthest crdt.LSN            // of what was packed
	again    crdt.LSN            // up to here frames are packed a second time
}

// NewPacker returns a Packer that shares room with others.
func NewPacker(room *PackRoom) *Packer { return &Packer{room: room} }

// Again is to be called before frames are packed that were packed before, because
// the other side lacks one. The tables begin anew, and up to where it had got the
// Packer relies on nothing, nor in frames without a position: so no mistake can come up
// twice.
func (p *Packer) Again() {
	p.Close()
	p.again = max(p.furthest, 1)
}

// Rest drops tables that have become large, and reports whether there were any. The
// next frame begins anew, and has the other side drop them too.
func (p *Packer) Rest() bool {
	if p.taken == 0 {
		return false
	}
	p.Close()
	return true
}

// Close gives the room back. The Packer can be used again.
func (p *Packer) Close() {
	p.forget()
	p.room.left.Add(int64(p.taken))
	p.index, p.taken, p.full, p.started = nil, 0, false, false
}

// Pack returns f in packed form. One that cannot be packed (whose cursors are of
// different epochs, or which says a filter) is returned as it is, which every
// receiver takes as well.
func (p *Packer) Pack(f *Changes) *Changes {
	if f.Filter != (crdt.Hash{}) || f.Through.Epoch != f.From.Epoch {
		return f
	}
	b := make([]byte, 0, 64)
	b, flags := append(b, 0), byte(0)
	b = binary.LittleEndian.AppendUint16(b, p.number)
	b = append(b, make([]byte, packCheck)...)
	p.number++
	if !p.started {
		p.started = true
		flags |= packReset
	}
	loose := f.Loose != 0
	if f.Part == 0 {
		p.run = f.From
	}
	switch {
	case loose:
		flags |= packLoose
	case f.From != p.at || flags&packReset != 0:
		flags |= packFrom
		b = appendPosition(binary.LittleEndian.AppendUint64(b, f.From.Epoch), f.From.LSN, &f.From.Chain)
	}
	body := p.sets(f)
	if f.Through != p.run && !f.More && !loose {
		flags |= packThrough
		b = appendPosition(b, f.Through.LSN-f.From.LSN, &f.Through.Chain)
	}
	if f.More || f.Part > 0 {
		flags |= packPart
		more := uint64(0)
		if f.More {
			more = 1
		}
		b = binary.AppendUvarint(b, f.Part*2+more)
	}
	if len(f.Sets) == 1 && len(f.Sets[0].Members) == 1 {
		flags |= packOne
	} else {
		b = binary.AppendUvarint(b, uint64(len(f.Sets)))
		for i := range f.Sets {
			b = binary.AppendUvarint(b, uint64(len(f.Sets[i].Members)))
		}
	}
	if f.End {
		flags |= packEnd
	}
	b[0] = flags
	copy(b[3:], p.run.Chain[:packCheck])
	if !f.More && !loose {
		p.at = f.Through
		p.furthest = max(p.furthest, f.Through.LSN)
	}
	return &Changes{From: f.From, Through: f.Through, Part: f.Part, More: f.More, End: f.End, Loose: f.Loose, Ahead: f.Ahead, Reach: f.Reach, Unequal: f.Unequal, Prompt: f.Prompt, Packed: append(b, body...)}
}

func appendPosition(b []byte, lsn crdt.LSN, chain *crdt.Chain) []byte {
	return append(binary.AppendVarint(b, int64(lsn)), chain[:]...)
}

// sets packs the members of all sets.
func (p *Packer) sets(f *Changes) []byte {
	size := 0
	for i := range f.Sets {
		size += 48 * len(f.Sets[i].Members)
	}
	b := make([]byte, 0, size)
	whole := f.From.LSN < p.again
	for i := range f.Sets {
		for j := range f.Sets[i].Members {
			b = p.member(b, &f.Sets[i].Members[j], whole)
		}
	}
	return b
}

func (p *Packer) member(b []byte, m *Member, whole bool) []byte {
	k := crdt.Key{Collection: m.Collection, ID: m.ID}
	var passing crdt.PackRecord
	r, mode := &passing, crdt.PackShort
	if at, ok := p.index[k]; ok {
		b = binary.AppendUvarint(b, 2+zigzag(int(at)-p.last))
		r, p.last = &p.slots[at].record, int(at)+1
	} else {
		if p.full {
			mode = crdt.PackFull // the record may be one that was dropped
		}
		if len(m.Collection)+len(m.ID) > packKeyLen {
			b = append(b, 0)
		} else {
			var at int
			at, r = p.slot(k)
			b = binary.AppendUvarint(append(b, 1), zigzag(at-p.next))
			p.next, p.last = at+1, at+1
		}
		b = appendString(p.appendCollection(b, m.Collection), m.ID)
	}
	if whole {
		mode = crdt.PackWhole
	}
	b, hash := p.changes.Pack(b, m.Data, r, mode)
	p.count(k, hash)
	return b
}

// slot returns a place for a record: a new one, or that of the record whose turn it
// is to go.
func (p *Packer) slot(k crdt.Key) (int, *crdt.PackRecord) {
	at := len(p.slots)
	if at == packFree+p.taken && (at == packSlots || !p.grow()) {
		p.full = true
		at = p.next % at
		delete(p.index, p.slots[at].key)
		p.slots[at] = packSlot{key: k}
	} else {
		p.slots = append(p.slots, packSlot{key: k})
	}
	if p.index == nil {
		p.index = map[crdt.Key]uint32{}
	}
	p.index[k] = uint32(at)
	return at, &p.slots[at].record
}

// grow asks for as many places as there are.
func (p *Packer) grow() bool {
	n := packFree + p.taken
	if !p.room.take(n) {
		return false
	}
	p.taken += n
	return true
}

func (p *Packer) appendCollection(b []byte, name string) []byte {
	for i := range p.collections {
		if p.collections[i] == name {
			return binary.AppendUvarint(b, uint64(i)+1)
		}
	}
	p.keep(name)
	return appendString(append(b, 0), name)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func zigzag(n int) uint64 { return uint64(n)<<1 ^ uint64(n>>63) }

func unzigzag(n uint64) int { return int(n>>1) ^ -int(n&1) }
