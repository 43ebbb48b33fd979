package crdt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Unpack makes the chunk again that Pack was given, from the beginning of packed,
// and returns what follows there. find returns the change of the record whose hash
// begins so, which the receiver holds. The chunk has at most limit bytes and is not
// checked otherwise: the caller verifies the hash. Beyond the chunk, and twice the
// length of packed, at most 1 MiB is allocated. After an error, an *InvalidError,
// tables and record are of no more use.
func (t *PackTables) Unpack(packed []byte, r *PackRecord, limit int, find func(prefix []byte) (Hash, bool)) (chunk, rest []byte, hash Hash, err error) {
	var f failure
	u := unpacker{reader: reader{b: packed, f: &f}, t: t, limit: min(limit, MaxChangeSize)}
	if len(packed) == 0 {
		u.fail("a packed change is missing")
	} else if flags := u.take(1)[0]; flags&packForm == packWhole {
		chunk = bytes.Clone(u.bytes(u.uleb("length"), "chunk"))
		u.fits(len(chunk))
		if len(chunk) > chunkTypeAt {
			hash = sha256.Sum256(chunk[chunkTypeAt:])
		}
	} else {
		u.head(flags, r, find)
		u.content(flags)
		chunk, hash = u.chunk()
	}
	if f.err != nil {
		return nil, nil, hash, f.err
	}
	if t.split.of(chunk, &hash) {
		t.note(&t.split, r, hash)
	}
	t.split = splitParts{}
	return chunk, u.b, hash, nil
}

// unpacker reads one packed change.
type unpacker struct {
	reader
	t     *PackTables
	limit int
	c     Change
	cols  []byte // the column list and the columns
}

// take returns the next n bytes, zeros if there are less.
func (u *unpacker) take(n int) []byte {
	if b := u.bytes(uint64(n), "packed change"); len(b) == n {
		return b
	}
	return make([]byte, n)
}

// fits checks the size of the chunk.
func (u *unpacker) fits(size int) {
	if size > u.limit {
		u.f.set(CodeSize, "unpacks to %d bytes, at most %d are taken", size, u.limit)
	}
}

// signed reads a difference.
func (u *unpacker) signed(what string) int64 {
	v, n := binary.Varint(u.b)
	if n <= 0 {
		u.fail(what + ": truncated")
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) name(t *nameTable, what string) string {
	switch ref := u.uleb(what); {
	case ref >= 2:
		if ref-2 < uint64(len(t.list)) {
			return t.list[ref-2]
		}
		u.fail(what + ": not in the table")
		return ""
	case ref == 1:
		return view(u.bytes(u.uleb(what), what))
	}
	name := string(u.bytes(u.uleb(what), what))
	if len(name) > packNameLen {
		u.fail(what + ": too long to be kept")
		return ""
	}
	t.add(name)
	return name
}

// head reads what stands before the operations.
func (u *unpacker) head(flags byte, r *PackRecord, find func([]byte) (Hash, bool)) {
	c := &u.c
	if flags&packNext != 0 {
		c.actors = append(c.actors, r.author)
		c.seq, c.startOp = r.seq+1, r.maxOp+1
	} else {
		c.actors = append(c.actors, ActorID(u.name(&u.t.actors, "author")))
		c.seq = r.nextSeq(c.actors[0]) + uint64(u.signed("sequence number"))
		c.startOp = r.maxOp + 1 + uint64(u.signed("start op"))
	}
	c.time = u.t.time + u.signed("time")
	switch flags & packDeps {
	case 0:
		c.deps = r.heads
	case packDepsShort, packDepsFull:
		u.deps(flags&packDeps == packDepsShort, r, find)
	default:
		u.fail("dependencies of no known form")
	}
	if flags&packMessage != 0 {
		c.message = view(u.bytes(u.uleb("message length"), "message"))
	}
	if flags&packOthers != 0 {
		n := u.uleb("actor count")
		if n >= MaxActors {
			u.f.set(CodeSize, "%d actors, at most %d are taken", n, MaxActors)
		}
		for i := uint64(0); i < n && u.f.err == nil; i++ {
			c.actors = append(c.actors, ActorID(u.name(&u.t.actors, "actor")))
		}
	}
}

func (u *unpacker) deps(short bool, r *PackRecord, find func([]byte) (Hash, bool)) {
	size := len(Hash{})
	if short {
		size = packShortLen
	}
	n := u.uleb("dependency count")
	if n > MaxDeps || n > uint64(len(u.b)/size) {
		u.fail("dependencies: truncated, or too many")
		return
	}
	u.c.deps = make([]Hash, n)
	for i := range u.c.deps {
		h := &u.c.deps[i]
		b := u.take(size)
		if !short {
			copy(h[:], b)
		} else if !r.head(h, b) {
			var ok bool
			if *h, ok = find(b); !ok {
				u.f.set(CodeReference, "dependency %x is not known", b)
				return
			}
		}
	}
}

// head returns the head that begins so.
func (r *PackRecord) head(h *Hash, prefix []byte) bool {
	i := slices.IndexFunc(r.heads, func(h Hash) bool { return bytes.HasPrefix(h[:], prefix) })
	if i >= 0 {
		*h = r.heads[i]
	}
	return i >= 0
}

// content reads the columns, or makes them of the operation.
func (u *unpacker) content(flags byte) {
	var space [64]byte
	switch {
	case u.f.err != nil:
		return
	case flags&packForm == packColumns:
		u.columnBytes()
	case flags&packForm == packOne:
		cols := splitParts{}
		u.one(&cols, space[:0])
		var list opWriter
		for i, col := range cols.cols {
			list.sizes[i] = len(col)
		}
		u.cols = list.appendColumnList(nil)
		for _, col := range cols.cols {
			u.cols = append(u.cols, col...)
		}
	default:
		u.fail("a packed change of no known form")
	}
	if flags&packExtra != 0 {
		u.c.extra = u.bytes(u.uleb("length of extra bytes"), "extra bytes")
	}
}

// columnBytes reads columns as they are.
func (u *unpacker) columnBytes() {
	mask := u.uleb("columns")
	if mask >= 1<<columnCount {
		u.fail("more columns than there are kinds")
		return
	}
	var list opWriter
	sum := uint64(0)
	for i := range list.sizes {
		if mask&(1<<i) != 0 {
			n := u.uleb("column length")
			if n > uint64(len(u.b)) {
				u.fail("column: truncated")
				return
			}
			list.sizes[i], sum = int(n), sum+n
		}
	}
	u.cols = append(list.appendColumnList(nil), u.bytes(sum, "columns")...)
}

// one makes the columns of one operation, in space.
func (u *unpacker) one(p *splitParts, space []byte) {
	flags := u.take(1)[0]
	number := func(col int, v uint64) {
		at := len(space)
		space = appendUleb(append(space, 0x7f), v)
		p.cols[col] = space[at:]
	}
	if flags&packObj != 0 {
		number(colObjActor, u.uleb("object actor"))
		number(colObjCounter, u.c.startOp-u.uleb("object counter"))
	}
	key := u.name(&u.t.names, "key")
	p.cols[colKey] = appendLengthed([]byte{0x7f}, key)
	p.cols[colInsert] = []byte{1}
	number(colAction, uint64(flags&packAction))
	meta := u.uleb("value meta")
	number(colValueMeta, meta)
	p.cols[colValue] = u.bytes(meta>>4, "value")
	if flags&packPred == 0 {
		number(colPredCount, 0)
		return
	}
	actor, back := uint64(0), uint64(1)
	if flags&packPredLast == 0 {
		actor, back = u.uleb("predecessor's actor"), u.uleb("predecessor's counter")
	}
	number(colPredCount, 1)
	number(colPredActor, actor)
	p.cols[colPredCounter] = appendSleb([]byte{0x7f}, int64(u.c.startOp-back))
}

// chunk puts the chunk together.
func (u *unpacker) chunk() (chunk []byte, hash Hash) {
	if u.f.err != nil {
		return nil, hash
	}
	var space [512]byte
	head := u.c.appendHeader(space[:0])
	size := len(head) + len(u.cols) + len(u.c.extra)
	total := chunkTypeAt + 1 + ulebLen(uint64(size)) + size
	if u.fits(total); u.f.err != nil {
		return nil, hash
	}
	chunk = make([]byte, 0, total)
	chunk = append(chunk, chunkMagic+"\x00\x00\x00\x00"...)
	chunk = appendUleb(append(chunk, chunkChange), uint64(size))
	chunk = append(chunk, head...)
	chunk = append(chunk, u.cols...)
	chunk = append(chunk, u.c.extra...)
	hash = sha256.Sum256(chunk[chunkTypeAt:])
	copy(chunk[4:8], hash[:])
	return chunk, hash
}
