package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/godwitdb/godwit/crdt"
)

// FindFunc returns the change of a record whose hash begins with prefix.
type FindFunc func(k crdt.Key, prefix []byte) (crdt.Hash, bool)

// Unpacker makes Changes again of what the Packer on the other side made of them.
// It is for one goroutine, and costs next to nothing until a frame comes in. The zero
// Unpacker is ready.
type Unpacker struct {
	packed
	lost int // frames, until one begins anew; 0: none
}

// lostEvery says at which of the frames that cannot be unpacked ErrLost is told
// again: the request for a resend may have been lost too.
const lostEvery = 64

// Unpack returns the frame that was packed; nil for one that comes twice, or needs
// nothing to be done. ErrLost asks for a resend. Other errors wrap ErrMalformed or
// ErrTooLarge and are the peer's fault. Members share no memory with f.
func (u *Unpacker) Unpack(f *Changes, find FindFunc) (*Changes, error) {
	r := unpackReader{u: u, b: f.Packed, find: find, left: MaxFrame, members: MaxMembers, loose: f.Loose}
	head := r.take(3 + packCheck)
	if r.err != nil {
		return nil, r.err
	}
	flags, number := head[0], binary.LittleEndian.Uint16(head[1:])
	switch ahead := int16(number - u.number); {
	case ahead < 0:
		return nil, nil
	case flags&packReset != 0:
		u.forget()
		u.lost = 0
	case ahead > 0 || u.lost > 0:
		return nil, u.lose(f)
	}
	u.number = number + 1
	out, err := r.frame(flags, [packCheck]byte(head[3:]))
	switch {
	case err == nil:
		out.Ahead, out.Reach, out.Unequal, out.Prompt = f.Ahead, f.Reach, f.Unequal, f.Prompt
		return out, nil
	case flags&packReset != 0 && !errors.Is(err, errUnknown):
		return nil, err // it depends on nothing
	}
	u.forget()
	return nil, u.lose(f)
}

// lose counts a frame that cannot be unpacked. One that answers a request is told each
// time: it comes once, and no more of them than were asked for.
func (u *Unpacker) lose(f *Changes) error {
	u.lost++
	if u.lost%lostEvery == 1 || f.Loose != 0 {
		return ErrLost
	}
	return nil
}

// errUnknown is for a dependency that cannot be found by its first bytes.
var errUnknown = fmt.Errorf("%w: an unknown dependency", ErrMalformed)

// unpackReader reads the content of one frame.
type unpackReader struct {
	u       *Unpacker
	b       []byte
	find    FindFunc
	left    int // bytes that changes may still have
	members int // that may still follow
	loose   uint64
	one     bool         // member is all there is
	made    []madeChange // those before the one being read
	unknown bool
	err     error
}

// madeChange is a change of the frame that is being unpacked.
type madeChange struct {
	of   *Member
	hash crdt.Hash
}

// madeBack is how many changes of a frame, from the last one back, a short name may mean.
const madeBack = 1 << 10

func (r *unpackReader) frame(flags byte, check [packCheck]byte) (*Changes, error) {
	u, f := r.u, &Changes{End: flags&packEnd != 0, Loose: r.loose}
	switch {
	case flags&packFrom != 0:
		f.From.Epoch = binary.LittleEndian.Uint64(r.take(8))
		f.From.LSN = r.position(0, &f.From.Chain)
	case flags&packLoose == 0:
		f.From = u.at
	}
	if flags&packThrough != 0 {
		f.Through.Epoch = f.From.Epoch
		f.Through.LSN = r.position(f.From.LSN, &f.Through.Chain)
	}
	if flags&packPart != 0 {
		n := r.number()
		f.Part, f.More = n/2, n%2 == 1
	}
	if f.Part == 0 {
		u.run = f.From
	}
	r.one = flags&packOne != 0
	r.sets(f)
	switch {
	case r.unknown:
		return nil, errUnknown
	case r.err != nil:
		return nil, r.err
	case len(r.b) > 0:
		return nil, fmt.Errorf("%w: %d bytes follow the sets", ErrMalformed, len(r.b))
	case check != [packCheck]byte(u.run.Chain[:]):
		return nil, fmt.Errorf("%w: packed changes are not what they were", ErrMalformed)
	}
	switch {
	case flags&packLoose != 0:
		f.Through = crdt.Cursor{}
	case flags&packThrough == 0 && f.More:
		f.Through = u.at // of the whole set it is not known yet
	case flags&packThrough == 0:
		f.Through = u.run
	}
	if flags&packLoose == 0 && !f.More {
		u.at = f.Through
	}
	return f, f.check()
}

// position reads a position, as a difference, and a chain.
func (r *unpackReader) position(base crdt.LSN, chain *crdt.Chain) crdt.LSN {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a position is cut short")
		return 0
	}
	r.b = r.b[n:]
	copy(chain[:], r.take(len(chain)))
	return base + crdt.LSN(v)
}

func (r *unpackReader) sets(f *Changes) {
	if r.one {
		f.Sets = []Set{{Members: r.set(1)}}
		return
	}
	n := r.count("sets", MaxSets, 1)
	if n == 0 {
		return
	}
	counts := make([]int, n)
	for i := range counts {
		counts[i] = r.count("members", r.members, 2)
		r.members -= counts[i]
	}
	f.Sets = make([]Set, n)
	for i := range f.Sets {
		if r.err != nil {
			return
		}
		f.Sets[i].Members = r.set(counts[i])
	}
}

func (r *unpackReader) set(n int) []Member {
	if n > len(r.b)/2 {
		r.fail("more members than bytes")
		return nil
	}
	members := make([]Member, n)
	for i := range members {
		if r.err != nil {
			return nil
		}
		r.member(&members[i])
	}
	return members
}

func (r *unpackReader) member(m *Member) {
	var passing crdt.PackRecord
	k, record := r.record(&passing)
	if r.err != nil {
		return
	}
	m.Collection, m.ID = k.Collection, k.ID
	chunk, rest, hash, err := r.u.changes.Unpack(r.b, record, r.left, func(prefix []byte) (crdt.Hash, bool) {
		h, ok := r.change(k, prefix)
		r.unknown = r.unknown || !ok
		return h, ok
	})
	if err != nil {
		r.err = fmt.Errorf("%w: %w", ErrMalformed, err)
		return
	}
	m.Data, r.b = chunk, rest
	r.left -= len(chunk)
	r.u.count(k, hash)
	if !r.one {
		r.made = append(r.made, madeChange{m, hash})
	}
}

// change returns the change of the record whose hash begins with prefix: one of this
// frame, of which nothing is stored yet, or one that is.
func (r *unpackReader) change(k crdt.Key, prefix []byte) (crdt.Hash, bool) {
	for i := len(r.made) - 1; i >= max(len(r.made)-madeBack, 0); i-- {
		c := &r.made[i]
		if bytes.HasPrefix(c.hash[:], prefix) && c.of.ID == k.ID && c.of.Collection == k.Collection {
			return c.hash, true
		}
	}
	return r.find(k, prefix)
}

// record reads which record a change is of.
func (r *unpackReader) record(passing *crdt.PackRecord) (k crdt.Key, record *crdt.PackRecord) {
	u := r.u
	ref := r.number()
	if ref >= 2 {
		at := u.last + unzigzag(ref-2)
		if at < 0 || at >= len(u.slots) {
			r.fail("a record that is not in the table")
			return k, passing
		}
		u.last = at + 1
		return u.slots[at].key, &u.slots[at].record
	}
	at := 0
	if ref == 1 {
		at = u.next + unzigzag(r.number())
	}
	k.Collection = r.collection()
	k.ID = r.name()
	switch {
	case r.err != nil || ref == 0:
		return k, passing
	case at < 0 || at > len(u.slots) || at >= packSlots || len(k.Collection)+len(k.ID) > packKeyLen:
		r.fail("no place for a record")
		return k, passing
	case at == len(u.slots):
		u.slots = append(u.slots, packSlot{})
	}
	u.slots[at] = packSlot{key: k}
	u.next, u.last = at+1, at+1
	return k, &u.slots[at].record
}

func (r *unpackReader) collection() string {
	ref := r.number()
	if ref == 0 {
		name := r.name()
		r.u.keep(name)
		return name
	}
	if ref > uint64(len(r.u.collections)) {
		r.fail("a collection that is not in the table")
		return ""
	}
	return r.u.collections[ref-1]
}

func (r *unpackReader) name() string {
	n := r.number()
	if n > MaxName {
		r.fail("a long name")
		return ""
	}
	return string(r.take(int(n)))
}

// count reads how many items of at least size bytes follow.
func (r *unpackReader) count(name string, most, size int) int {
	n := r.number()
	if n > uint64(most) {
		r.fault(fmt.Errorf("%w: %d %s, at most %d", ErrTooLarge, n, name, most))
		return 0
	}
	if n > uint64(len(r.b)/size) {
		r.fail("more " + name + " than bytes")
		return 0
	}
	return int(n)
}

func (r *unpackReader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt64 {
		r.fail("a number is cut short")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// take returns the next n bytes, zeros if there are fewer.
func (r *unpackReader) take(n int) []byte {
	if n > len(r.b) {
		r.fail("cut short")
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *unpackReader) fail(what string) {
	r.fault(fmt.Errorf("%w: packed changes: %s", ErrMalformed, what))
}

// fault keeps the first error.
func (r *unpackReader) fault(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}
