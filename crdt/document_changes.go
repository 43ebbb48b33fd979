package crdt

import (
	"cmp"
	"slices"
	"unsafe"
)

// encode finishes the changes, one after the other: the actors that each refers
// to, the order of predecessors, the checks that ParseChange would make, the
// bytes and the hash. The parts may have come in any order; Automerge's encoder
// knows only one.
func (d *document) encode() {
	if d.f.err != nil {
		return
	}
	w := documentWriter{
		d:      d,
		seen:   make([]uint32, len(d.actors)),
		local:  make([]uint32, len(d.actors)),
		alone:  make([][]ActorID, len(d.actors)),
		head:   make([]byte, 0, 4<<10),
		cols:   make([]byte, 0, 4<<10),
		budget: maxEncoded + d.size + encodedPerChange*len(d.changes),
	}
	deps := d.deps
	for i := range d.changes {
		n := d.depCounts[i]
		w.change(i, deps[:n])
		if deps = deps[n:]; d.f.err != nil {
			return
		}
	}
}

// documentWriter holds what encode uses again for each change.
type documentWriter struct {
	d      *document
	seen   []uint32    // by actor: 1 + the last change that refers to it
	local  []uint32    // by actor: its index in that change
	alone  [][]ActorID // by actor: the table of a change that refers to no other
	others []uint32
	hashes []Hash
	head   []byte // scratch of the encoder
	cols   []byte
	room   []byte // for raw bytes
	budget int    // raw bytes that may still be made
}

func (w *documentWriter) change(i int, deps []uint32) {
	d := w.d
	c := &d.changes[i]
	w.actors(i, c)
	w.hashes = w.hashes[:0]
	for _, dep := range deps {
		w.hashes = append(w.hashes, d.changes[dep].hash)
	}
	if len(w.hashes) > 1 {
		slices.SortFunc(w.hashes, Hash.Compare)
		if len(slices.Compact(w.hashes)) < len(deps) {
			d.f.set(CodeEncoding, "a change depends twice on another")
			return
		}
	}
	c.checkExtra(d.f)
	for k := range c.ops {
		c.checkOp(k, d.f)
		if d.f.err != nil {
			return
		}
	}
	if w.write(c); d.f.err == nil {
		c.deps = w.depsIn(c.raw, len(deps))
	}
}

// rawBlock is how much is allocated at once for the bytes of small changes.
const rawBlock = 64 << 10

func (w *documentWriter) write(c *Change) {
	if len(w.room) < 1<<10 {
		w.room = make([]byte, rawBlock)
	}
	c.deps = w.hashes
	var err error
	if w.room, err = c.encodeIn(w.head[:0], w.cols[:0], w.room); err != nil {
		w.d.f.err = err.(*InvalidError)
	}
	if w.budget -= len(c.raw); w.budget < 0 {
		w.d.f.set(CodeSize, "the changes are much longer than the document")
	}
}

// depsIn returns the dependencies where they stand in a change's bytes.
func (w *documentWriter) depsIn(raw []byte, n int) []Hash {
	if n == 0 {
		return nil
	}
	_, size := readUleb(raw[chunkTypeAt+1:])
	from := chunkTypeAt + 1 + size + ulebLen(uint64(n))
	return unsafe.Slice((*Hash)(raw[from:from+n*len(Hash{})]), n)
}

// actors makes the change's table of actors and points its operations into it.
func (w *documentWriter) actors(i int, c *Change) {
	d, author := w.d, w.d.authors[i]
	w.others = w.others[:0]
	w.seen[author] = uint32(i) + 1
	if len(d.actors) > 1 {
		for k := range c.ops {
			w.see(&c.ops[k], uint32(i)+1)
		}
	}
	w.local[author] = 0
	if len(w.others) == 0 {
		if w.alone[author] == nil {
			w.alone[author] = []ActorID{d.actors[author]}
		}
		c.actors = w.alone[author]
	} else {
		slices.Sort(w.others)
		c.actors = make([]ActorID, 1, 1+len(w.others))
		c.actors[0] = d.actors[author]
		for n, a := range w.others {
			w.local[a] = uint32(n) + 1
			c.actors = append(c.actors, d.actors[a])
		}
	}
	for k := range c.ops {
		w.rename(&c.ops[k])
	}
}

func (w *documentWriter) see(op *Op, mark uint32) {
	w.seeRef(op.Obj, mark)
	w.seeRef(op.Elem, mark)
	for _, r := range op.Pred {
		w.seeRef(r, mark)
	}
}

func (w *documentWriter) seeRef(r Ref, mark uint32) {
	if r.Counter != 0 && w.seen[r.Actor] != mark {
		w.seen[r.Actor] = mark
		w.others = append(w.others, r.Actor)
	}
}

// rename makes an operation's references those of its change, and sorts its
// predecessors, which is easier before.
func (w *documentWriter) rename(op *Op) {
	if len(op.Pred) > 1 {
		slices.SortFunc(op.Pred, func(a, b Ref) int {
			return cmp.Or(cmp.Compare(a.Counter, b.Counter), cmp.Compare(a.Actor, b.Actor))
		})
	}
	if op.Obj.Counter != 0 {
		op.Obj.Actor = w.local[op.Obj.Actor]
	}
	if op.Elem.Counter != 0 {
		op.Elem.Actor = w.local[op.Elem.Actor]
	}
	for k := range op.Pred {
		op.Pred[k].Actor = w.local[op.Pred[k].Actor]
	}
}
