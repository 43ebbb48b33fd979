package transport

import (
	"encoding/binary"
	"fmt"
)

// The array of sets in a Changes frame: CBOR (RFC 8949, section 3), a set being
// the array of its members, and a member [collection, id, data]. Only definite
// lengths occur.

// Major types of CBOR.
const (
	majorBytes = 2
	majorText  = 3
	majorArray = 4
)

func appendSets(b []byte, sets []Set) []byte {
	b = appendHead(b, majorArray, len(sets))
	for _, s := range sets {
		b = appendHead(b, majorArray, len(s.Members))
		for i := range s.Members {
			m := &s.Members[i]
			b = appendHead(b, majorArray, 3)
			b = append(appendHead(b, majorText, len(m.Collection)), m.Collection...)
			b = append(appendHead(b, majorText, len(m.ID)), m.ID...)
			b = append(appendHead(b, majorBytes, len(m.Data)), m.Data...)
		}
	}
	return b
}

// appendHead appends the shortest head for a length.
func appendHead(b []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, major<<5|byte(n))
	case n < 1<<8:
		return append(b, major<<5|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major<<5|25), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, major<<5|26), uint32(n))
}

// setReader reads an array of sets. Members share its bytes; the bounds of their
// names are left to check.
type setReader struct {
	b          []byte
	members    int    // what is left of MaxMembers
	collection string // the last one read: most members have it again
}

func (r *setReader) sets() ([]Set, error) {
	n, err := r.array("sets", MaxSets)
	if err != nil || n == 0 {
		return nil, err
	}
	sets := make([]Set, n)
	for i := range sets {
		if sets[i].Members, err = r.set(); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func (r *setReader) set() ([]Member, error) {
	n, err := r.array("members", r.members)
	if err != nil {
		return nil, err
	}
	r.members -= n
	members := make([]Member, n)
	for i := range members {
		if err := r.member(&members[i]); err != nil {
			return nil, err
		}
	}
	return members, nil
}

func (r *setReader) member(m *Member) error {
	if n, err := r.array("items of a member", 3); err != nil || n != 3 {
		return firstError(err, fmt.Errorf("%w: member of %d items", ErrMalformed, n))
	}
	collection, err := r.take(majorText)
	if err != nil {
		return err
	}
	id, err := r.take(majorText)
	if err != nil {
		return err
	}
	if m.Data, err = r.take(majorBytes); err != nil {
		return err
	}
	if string(collection) != r.collection {
		r.collection = string(collection)
	}
	m.Collection, m.ID = r.collection, string(id)
	return nil
}

// array reads the head of an array. Its items are at least a byte each, so a
// count beyond the bytes left is refused before anything is allocated for it.
func (r *setReader) array(name string, most int) (int, error) {
	n, err := r.head(majorArray)
	if err != nil {
		return 0, err
	}
	if n > uint64(most) {
		return 0, fmt.Errorf("%w: %d %s, at most %d", ErrTooLarge, n, name, most)
	}
	if n > uint64(len(r.b)) {
		return 0, fmt.Errorf("%w: %d %s in %d bytes", ErrMalformed, n, name, len(r.b))
	}
	return int(n), nil
}

// take reads a string.
func (r *setReader) take(major byte) ([]byte, error) {
	n, err := r.head(major)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.b)) {
		return nil, fmt.Errorf("%w: string of %d bytes, %d are left", ErrMalformed, n, len(r.b))
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s, nil
}

// head reads the head of an item of the wanted major type.
func (r *setReader) head(want byte) (uint64, error) {
	if len(r.b) == 0 {
		return 0, fmt.Errorf("%w: sets end early", ErrMalformed)
	}
	major, info := r.b[0]>>5, r.b[0]&31
	if major != want || info > 27 {
		return 0, fmt.Errorf("%w: unexpected item %#x in sets", ErrMalformed, r.b[0])
	}
	r.b = r.b[1:]
	if info < 24 {
		return uint64(info), nil
	}
	size := 1 << (info - 24)
	if len(r.b) < size {
		return 0, fmt.Errorf("%w: sets end early", ErrMalformed)
	}
	var n uint64
	for _, c := range r.b[:size] {
		n = n<<8 | uint64(c)
	}
	r.b = r.b[size:]
	return n, nil
}
