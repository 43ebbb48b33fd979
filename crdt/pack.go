package crdt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// Packed changes: what a session sends of a change when the receiver can make the
// rest of it. Both sides keep the same PackTables, and a PackRecord for each record,
// and put every change through them in the same order. The encoding of a change is
// canonical, so the parts that are told and the parts that follow make the same
// bytes again; whoever receives them verifies the hash.
//
// A packed change is a byte of flags, then, in this order and as the flags say:
//
//	author, sequence number and start op, the latter as differences to what the
//	    record's last change lets expect; left out if it is just that
//	time, as difference to the last change's
//	dependencies: none if they are the record's heads as sent so far, else a count
//	    and four bytes of each hash, or the whole hashes
//	message, the other actors
//	the operation, or the columns
//	extra bytes
//
// or the whole chunk. Numbers are LEB128 (signed ones zigzag), names are an index
// into a table of the last packNames ones.
const (
	packWhole   = 0 // forms: the chunk
	packColumns = 1 // its columns as they are
	packOne     = 2 // one operation on a map, with one predecessor or none
	packForm    = 3

	packDepsShort = 1 << 2
	packDepsFull  = 2 << 2
	packDeps      = 3 << 2

	packMessage = 1 << 4
	packOthers  = 1 << 5
	packExtra   = 1 << 6
	packNext    = 1 << 7 // author, sequence number and start op follow from the last change
)

// The flags of a packed operation, above its action.
const (
	packPred     = 1 << 3 // it has a predecessor
	packPredLast = 1 << 4 // which is the operation before this change's, by the same author
	packObj      = 1 << 5 // it is not in the root
	packAction   = 1<<3 - 1
)

const (
	packNames    = 256 // names in a table
	packNameLen  = 128 // bytes of the longest name that is kept in one
	packHeads    = 4   // heads that are kept of a record
	packShortLen = 4   // bytes of a hash that stand for all of it, among a record's changes
)

// PackTables is what packed changes of all records refer to: actors, field names
// and the last change's time. The zero value is ready; it is not safe for
// concurrent use, and of no use any more after an error of Unpack.
type PackTables struct {
	actors, names nameTable
	time          int64
	split         splitParts // scratch
}

// PackRecord is what packed changes of one record refer to: its last change and its
// heads, as far as they went through the tables. The zero value knows of none.
type PackRecord struct {
	heads  []Hash // ascending, at most packHeads
	author ActorID
	seq    uint64
	maxOp  uint64
}

// PackMode says how far the receiver may be relied on.
type PackMode uint8

// Modes, from the shortest to the safest.
const (
	PackShort PackMode = iota // the receiver can find a change of a record by four bytes of its hash
	PackFull                  // it cannot, but has the tables
	PackWhole                 // whole chunks only
)

// Pack appends what Unpack needs to make the chunk again, and returns the change's
// hash. A chunk that is no plain change in canonical encoding is packed whole.
func (t *PackTables) Pack(dst, chunk []byte, r *PackRecord, mode PackMode) ([]byte, Hash) {
	var hash Hash
	if len(chunk) > chunkTypeAt {
		hash = sha256.Sum256(chunk[chunkTypeAt:])
	}
	p := &t.split
	ok := p.of(chunk, &hash)
	if !ok || mode == PackWhole {
		dst = appendUleb(append(dst, packWhole), uint64(len(chunk)))
		dst = append(dst, chunk...)
	} else {
		dst = t.pack(dst, p, r, mode)
	}
	if ok {
		t.note(p, r, hash)
	}
	*p = splitParts{}
	return dst, hash
}

func (t *PackTables) pack(dst []byte, p *splitParts, r *PackRecord, mode PackMode) []byte {
	c := &p.change
	at := len(dst)
	flags := byte(packColumns)
	dst = append(dst, 0)
	if c.actors[0] == r.author && c.seq == r.seq+1 && c.startOp == r.maxOp+1 {
		flags |= packNext
	} else {
		dst = t.actors.append(dst, string(c.actors[0]))
		dst = binary.AppendVarint(dst, int64(c.seq-r.nextSeq(c.actors[0])))
		dst = binary.AppendVarint(dst, int64(c.startOp-r.maxOp-1))
	}
	dst = binary.AppendVarint(dst, c.time-t.time)
	if !slices.Equal(c.deps, r.heads) {
		short := mode == PackShort
		flags |= packDepsFull
		if short {
			flags ^= packDepsFull | packDepsShort
		}
		dst = appendDeps(dst, c.deps, short)
	}
	if c.message != "" {
		flags |= packMessage
		dst = appendLengthed(dst, c.message)
	}
	if len(c.actors) > 1 {
		flags |= packOthers
		dst = appendUleb(dst, uint64(len(c.actors)-1))
		for _, a := range c.actors[1:] {
			dst = t.actors.append(dst, string(a))
		}
	}
	if one, ok := p.one(); ok {
		flags ^= packColumns | packOne
		dst = t.appendOne(dst, &one, c.startOp)
	} else {
		dst = p.appendColumns(dst)
	}
	if len(c.extra) > 0 {
		flags |= packExtra
		dst = appendLengthed(dst, view(c.extra))
	}
	dst[at] = flags
	return dst
}

// note brings tables and record up to date with a change that went through.
func (t *PackTables) note(p *splitParts, r *PackRecord, hash Hash) {
	c := &p.change
	t.time = c.time
	if r.seq = c.seq; r.author != c.actors[0] {
		r.author = ActorID(t.actors.keep(string(c.actors[0])))
	}
	if n, _, ok := tally(p.cols[colAction]); ok {
		r.maxOp = max(r.maxOp, c.startOp+uint64(n)-1)
	}
	if slices.Equal(r.heads, c.deps) {
		r.heads = append(r.heads[:0], hash)
		return
	}
	r.heads = slices.DeleteFunc(r.heads, func(h Hash) bool { return slices.Contains(c.deps, h) })
	if len(r.heads) == packHeads {
		r.heads = r.heads[:0]
	}
	at, _ := slices.BinarySearchFunc(r.heads, hash, Hash.Compare)
	r.heads = slices.Insert(r.heads, at, hash)
}

func (r *PackRecord) nextSeq(author ActorID) uint64 {
	if r.author == author {
		return r.seq + 1
	}
	return 1
}

func appendDeps(dst []byte, deps []Hash, short bool) []byte {
	dst = appendUleb(dst, uint64(len(deps)))
	n := len(Hash{})
	if short {
		n = packShortLen
	}
	for i := range deps {
		dst = append(dst, deps[i][:n]...)
	}
	return dst
}

// appendColumns appends which columns there are, their lengths and themselves.
func (p *splitParts) appendColumns(dst []byte) []byte {
	mask := uint64(0)
	for i, col := range p.cols {
		if len(col) > 0 {
			mask |= 1 << i
		}
	}
	dst = appendUleb(dst, mask)
	for _, col := range p.cols {
		if len(col) > 0 {
			dst = appendUleb(dst, uint64(len(col)))
		}
	}
	for _, col := range p.cols {
		dst = append(dst, col...)
	}
	return dst
}

// splitParts is a change taken apart as far as packing needs. All of it aliases
// the chunk.
type splitParts struct {
	parsed
	cols [columnCount][]byte
}

// of takes a plain chunk apart whose header and column list are canonical; what is in
// the columns is not looked at.
func (p *splitParts) of(chunk []byte, hash *Hash) (ok bool) {
	head, n, err := chunkHeader(chunk)
	if err != nil || head+n != len(chunk) || chunk[chunkTypeAt] != chunkChange || !bytes.Equal(chunk[4:8], hash[:4]) {
		return false
	}
	r := reader{b: chunk[head:], f: &p.f}
	r.header(&p.parsed)
	r.columns(&p.cols)
	p.change.extra = r.b
	return p.f.err == nil
}

// oneOp is the only operation of a change, in a map.
type oneOp struct {
	action           byte
	inObj            bool
	objActor, obj    uint64
	key              string
	meta             uint64
	value            []byte
	hasPred          bool
	predActor, predN uint64
}

// one returns the change's operation if packOne can say it.
func (p *splitParts) one() (o oneOp, ok bool) {
	cols := &p.cols
	action, ok1 := oneNumber(cols[colAction])
	meta, ok2 := oneNumber(cols[colValueMeta])
	preds, ok3 := oneNumber(cols[colPredCount])
	key, ok4 := oneText(cols[colKey])
	if !(ok1 && ok2 && ok3 && ok4) || action > packAction || preds > 1 || string(cols[colInsert]) != "\x01" ||
		uint64(len(cols[colValue])) != meta>>4 ||
		len(cols[colElemActor])+len(cols[colElemCounter])+len(cols[colExpand])+len(cols[colMarkName]) > 0 {
		return o, false
	}
	o = oneOp{action: byte(action), key: key, meta: meta, value: cols[colValue], inObj: len(cols[colObjActor]) > 0, hasPred: preds == 1}
	if o.inObj {
		if o.objActor, ok = oneNumber(cols[colObjActor]); !ok {
			return o, false
		}
		if o.obj, ok = oneNumber(cols[colObjCounter]); !ok || o.obj >= p.change.startOp {
			return o, false
		}
	} else if len(cols[colObjCounter]) > 0 {
		return o, false
	}
	if !o.hasPred {
		return o, len(cols[colPredActor])+len(cols[colPredCounter]) == 0
	}
	if o.predActor, ok = oneNumber(cols[colPredActor]); !ok {
		return o, false
	}
	o.predN, ok = oneSigned(cols[colPredCounter])
	return o, ok && o.predN < p.change.startOp
}

// oneNumber reads a column of one number.
func oneNumber(col []byte) (uint64, bool) {
	if len(col) < 2 || col[0] != 0x7f {
		return 0, false
	}
	v, n := readUleb(col[1:])
	return v, n == len(col)-1 // n is 0 when it is malformed
}

// oneSigned reads a column of one difference that is not negative.
func oneSigned(col []byte) (uint64, bool) {
	if len(col) < 2 || col[0] != 0x7f {
		return 0, false
	}
	v, n := readSleb(col[1:])
	return uint64(v), n == len(col)-1 && v >= 0
}

func oneText(col []byte) (string, bool) {
	if len(col) < 2 || col[0] != 0x7f {
		return "", false
	}
	v, n := readUleb(col[1:])
	return view(col[min(1+n, len(col)):]), n > 0 && v == uint64(len(col)-1-n)
}

func (t *PackTables) appendOne(dst []byte, o *oneOp, startOp uint64) []byte {
	flags := o.action
	last := o.predActor == 0 && o.predN == startOp-1
	if o.inObj {
		flags |= packObj
	}
	if o.hasPred {
		flags |= packPred
		if last {
			flags |= packPredLast
		}
	}
	dst = append(dst, flags)
	if o.inObj {
		dst = appendUleb(appendUleb(dst, o.objActor), startOp-o.obj)
	}
	dst = t.names.append(dst, o.key)
	dst = append(appendUleb(dst, o.meta), o.value...)
	if o.hasPred && !last {
		dst = appendUleb(appendUleb(dst, o.predActor), startOp-o.predN)
	}
	return dst
}

// nameTable holds the last packNames names that were told, in the same places on
// both sides.
type nameTable struct {
	list  []string
	next  int            // the place to be taken next, when the list is full
	index map[string]int // of who packs
}

// append appends a name: its place plus 2; or 0, and it is kept from now on; or 1,
// and it is not, for its length.
func (t *nameTable) append(dst []byte, name string) []byte {
	if i, ok := t.index[name]; ok {
		return appendUleb(dst, uint64(i)+2)
	}
	if len(name) > packNameLen {
		return appendLengthed(append(dst, 1), name)
	}
	if t.index == nil {
		t.index = map[string]int{}
	}
	name = strings.Clone(name) // it aliases the chunk
	i, gone := t.add(name)
	delete(t.index, gone)
	t.index[name] = i
	return appendLengthed(append(dst, 0), name)
}

// add takes a name in, for another if the table is full.
func (t *nameTable) add(name string) (i int, gone string) {
	if len(t.list) < packNames {
		t.list = append(t.list, name)
		return len(t.list) - 1, name
	}
	i, gone = t.next, t.list[t.next]
	t.list[i], t.next = name, (i+1)%packNames
	return i, gone
}

// keep returns the name in memory that does not belong to a chunk.
func (t *nameTable) keep(name string) string {
	if i := slices.Index(t.list, name); i >= 0 {
		return t.list[i]
	}
	return strings.Clone(name)
}
