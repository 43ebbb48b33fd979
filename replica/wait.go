package replica

import (
	"encoding/binary"
	"errors"

	"github.com/godwitdb/godwit/crdt"
)

// wait is one thing that a parked set cannot do without. It is stored before the
// set and looked at first: to parse a set can take a million times longer, and a
// peer may have thousands of them wait for one record. The zero wait says nothing.
type wait struct {
	key   crdt.Key
	dep   crdt.Hash // a change that is missing; zero: none is
	start uint64    // the record's operations reach to before this, once it fits
}

// waitOf returns what the history of m's record lacks, from the error of adding
// m to it.
func waitOf(m crdt.Member, err error) wait {
	var park *crdt.ParkError
	switch {
	case !errors.As(err, &park):
		return wait{}
	case len(park.Missing) > 0:
		return wait{key: m.Key, dep: park.Missing[0]}
	}
	return wait{key: m.Key, start: m.Change.StartOp()}
}

// over reports whether the wait has an end in h.
func (w wait) over(h *crdt.History) bool {
	if w.dep != (crdt.Hash{}) {
		return h.Has(w.dep)
	}
	return w.start <= h.MaxOp()+1
}

// append appends the wait as cut reads it.
func (w wait) append(b []byte) []byte {
	for _, s := range []string{w.key.Collection, w.key.ID} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return binary.AppendUvarint(append(b, w.dep[:]...), w.start)
}

// cutWait takes a wait off b.
func cutWait(b []byte) (w wait, rest []byte, ok bool) {
	for _, s := range []*string{&w.key.Collection, &w.key.ID} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return w, nil, false
		}
		*s, b = string(b[size:][:n]), b[size+int(n):]
	}
	if len(b) < len(w.dep) {
		return w, nil, false
	}
	b = b[copy(w.dep[:], b):]
	start, size := binary.Uvarint(b)
	if size <= 0 {
		return w, nil, false
	}
	w.start = start
	return w, b[size:], true
}
