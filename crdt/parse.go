package crdt

import (
	"unicode/utf8"
	"unsafe"
)

// ParseChange reads one change chunk, plain (type 1) or deflated (type 2), and
// checks everything that can be known of a change without its history. It takes
// a change only in the encoding that Automerge itself writes; see the package
// documentation. The result shares no memory with chunk. Errors are
// *InvalidError. Source: Automerge binary format, "change chunk".
func ParseChange(chunk []byte) (*Change, error) {
	raw, head, hash, err := openChange(chunk)
	if err != nil {
		return nil, err
	}
	p := &parsed{change: Change{raw: raw, hash: hash}}
	c, f := &p.change, &p.f
	r := reader{b: raw[head:], f: f}
	r.header(p)
	cols := [columnCount][]byte{}
	r.columns(&cols)
	c.extra = r.b
	if f.err == nil {
		c.checkExtra(f)
		p.parseOps(&cols)
	}
	if f.err != nil {
		return nil, f.err
	}
	return c, nil
}

// parsed is a change while it is read, in one allocation with room for what most
// have: one actor, one operation, one predecessor.
type parsed struct {
	change Change
	f      failure
	actor  [1]ActorID
	op     [1]Op
	pred   [1]Ref
}

// take returns n zero values, in the room there is if that is enough.
func take[T any](room []T, n int) []T {
	if n <= len(room) {
		return room[:n:n]
	}
	return make([]T, n)
}

// reader takes fields off a change's data. After a failure it yields zeros.
type reader struct {
	b []byte
	f *failure
}

func (r *reader) uleb(what string) uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // as most are
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := readUleb(r.b)
	if n == 0 {
		r.fail(what + ": truncated, or not a minimal LEB128 number")
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) sleb(what string) int64 {
	v, n := readSleb(r.b)
	if n == 0 {
		r.fail(what + ": truncated, or not a minimal LEB128 number")
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64, what string) []byte {
	if n > uint64(len(r.b)) {
		r.fail(what + ": truncated")
		n = 0
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) fail(what string) {
	r.f.set(CodeEncoding, "%s", what)
	r.b = nil
}

// header reads what stands before the columns.
func (r *reader) header(p *parsed) {
	c := &p.change
	c.deps = r.deps()
	author := r.actor()
	c.seq = r.uleb("sequence number")
	c.startOp = r.uleb("start op")
	c.time = r.sleb("time")
	message := r.bytes(r.uleb("message length"), "message")
	c.actors = r.actors(author, p.actor[:])
	if r.f.err != nil {
		return
	}
	if c.message = view(message); !utf8.Valid(message) {
		r.f.set(CodeEncoding, "message: invalid UTF-8")
	}
	if c.seq == 0 || c.seq >= MaxCounter {
		r.f.set(CodeSequence, "sequence number %d", c.seq)
	}
	if c.startOp == 0 || c.startOp >= MaxCounter {
		r.f.set(CodeSequence, "start op %d", c.startOp)
	}
	if c.time <= -MaxTime || c.time >= MaxTime {
		r.f.set(CodeEncoding, "time %d is out of range", c.time)
	}
}

// deps returns the dependencies, in place.
func (r *reader) deps() []Hash {
	n := r.uleb("dependency count")
	if n > MaxDeps {
		r.f.set(CodeSize, "%d dependencies, at most %d are taken", n, MaxDeps)
		return nil
	}
	b := r.bytes(n*uint64(len(Hash{})), "dependencies")
	if len(b) == 0 {
		return nil
	}
	deps := unsafe.Slice((*Hash)(b), n) // an array of bytes has no alignment
	for i := 1; i < len(deps); i++ {
		if deps[i-1].Compare(deps[i]) >= 0 {
			r.f.set(CodeEncoding, "dependencies do not ascend")
		}
	}
	return deps
}

func (r *reader) actor() ActorID {
	n := r.uleb("actor length")
	if n == 0 || n > MaxActorLen {
		r.f.set(CodeActors, "an actor of %d bytes", n)
		return ""
	}
	return ActorID(view(r.bytes(n, "actor")))
}

func (r *reader) actors(author ActorID, room []ActorID) []ActorID {
	n := r.uleb("actor count")
	if n >= MaxActors {
		r.f.set(CodeSize, "%d actors, at most %d are taken", n, MaxActors)
	} else if n > uint64(len(r.b)) {
		r.fail("actors: truncated")
	}
	if r.f.err != nil {
		return nil
	}
	actors := take(room, 1+int(n))
	actors[0] = author
	for i := 1; i < len(actors); i++ {
		a := r.actor()
		if a == author || (i > 1 && a <= actors[i-1]) {
			r.f.set(CodeActors, "the other actors do not ascend, or hold the author")
		}
		actors[i] = a
	}
	return actors
}

// columns reads the column list and notes each column's bytes, by its index in
// columnSpecs.
func (r *reader) columns(cols *[columnCount][]byte) {
	n := r.uleb("column count")
	if n > columnCount {
		r.fail("more columns than there are kinds")
	}
	var which [columnCount]uint8
	var sizes [columnCount]uint64
	col := -1
	for i := uint64(0); i < n && r.f.err == nil; i++ {
		if col = nextColumn(r.uleb("column specification"), col, r.f); col < 0 {
			return
		}
		which[i], sizes[i] = uint8(col), r.uleb("column length")
		if sizes[i] == 0 {
			r.fail("an empty column is listed")
		}
	}
	for i := uint64(0); i < n && r.f.err == nil; i++ {
		cols[which[i]] = r.bytes(sizes[i], "column")
	}
}

// nextColumn returns the index of the column with this specification, which has
// to stand after the one at index last.
func nextColumn(spec uint64, last int, f *failure) int {
	for col := last + 1; col < columnCount; col++ {
		if columnSpecs[col] == spec {
			return col
		}
	}
	if spec&deflatedColumn != 0 {
		f.set(CodeEncoding, "column %#x is deflated", spec)
	} else {
		f.set(CodeEncoding, "column %#x is unknown or out of order", spec)
	}
	return -1
}
