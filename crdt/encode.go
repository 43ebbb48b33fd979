package crdt

import (
	"crypto/sha256"
)

// encode writes the chunk of a change whose other fields are set, and its hash:
// byte for byte what Automerge's own encoder writes for the same change. The
// dependencies have to ascend, the actors to be the author and then, ascending,
// exactly those that the operations refer to. Errors are *InvalidError, for a
// change beyond the bounds.
func (c *Change) encode() error {
	if err := c.checkBounds(); err != nil {
		return err
	}
	var space [512]byte
	var numbers [16]int64
	w := opWriter{c: c, dst: space[:0], column: numbers[:0]}
	w.columns()

	var headSpace [512]byte
	head := c.appendHeader(headSpace[:0])
	head = w.appendColumnList(head)

	size := len(head) + len(w.dst) + len(c.extra)
	total := chunkTypeAt + 1 + ulebLen(uint64(size)) + size
	if total > MaxChangeSize {
		return invalid(CodeSize, "%d bytes, at most %d are taken", total, MaxChangeSize)
	}
	raw := make([]byte, 0, total)
	raw = append(raw, chunkMagic+"\x00\x00\x00\x00"...)
	raw = appendUleb(append(raw, chunkChange), uint64(size))
	raw = append(raw, head...)
	raw = append(raw, w.dst...)
	raw = append(raw, c.extra...)
	c.hash = sha256.Sum256(raw[chunkTypeAt:])
	copy(raw[4:8], c.hash[:])
	c.raw = raw
	return nil
}

func (c *Change) checkBounds() error {
	switch {
	case len(c.ops) > MaxOps:
		return invalid(CodeSize, "%d operations, at most %d are taken", len(c.ops), MaxOps)
	case len(c.actors) > MaxActors:
		return invalid(CodeSize, "%d actors, at most %d are taken", len(c.actors), MaxActors)
	case len(c.deps) > MaxDeps:
		return invalid(CodeSize, "%d dependencies, at most %d are taken", len(c.deps), MaxDeps)
	case c.startOp+uint64(len(c.ops)) > MaxCounter:
		return invalid(CodeSequence, "operation counters beyond %d", MaxCounter)
	case c.time <= -MaxTime || c.time >= MaxTime:
		return invalid(CodeEncoding, "time %d is out of range", c.time)
	}
	return nil
}

// appendHeader appends what stands before the column list.
func (c *Change) appendHeader(dst []byte) []byte {
	dst = appendUleb(dst, uint64(len(c.deps)))
	for i := range c.deps {
		dst = append(dst, c.deps[i][:]...)
	}
	dst = appendLengthed(dst, string(c.actors[0]))
	dst = appendUleb(dst, c.seq)
	dst = appendUleb(dst, c.startOp)
	dst = appendSleb(dst, c.time)
	dst = appendLengthed(dst, c.message)
	dst = appendUleb(dst, uint64(len(c.actors)-1))
	for _, a := range c.actors[1:] {
		dst = appendLengthed(dst, string(a))
	}
	return dst
}

// opWriter encodes the operations, a column after the other into one buffer.
type opWriter struct {
	c      *Change
	dst    []byte
	sizes  [columnCount]int
	column []int64 // the numbers of the column at hand
}

func (w *opWriter) columns() {
	ops := w.c.ops
	if len(ops) == 0 {
		return
	}
	w.numbers(colObjActor, func(op *Op) int64 { return refActor(op.Obj) })
	w.numbers(colObjCounter, func(op *Op) int64 { return refCounter(op.Obj) })
	w.numbers(colElemActor, elemActor)
	w.deltas(colElemCounter, elemCounter)
	w.texts(colKey, func(op *Op) (string, bool) { return op.Key, op.InMap })
	w.bools(colInsert, func(op *Op) bool { return op.Insert })
	w.numbers(colAction, func(op *Op) int64 { return int64(op.Action) })
	w.numbers(colValueMeta, func(op *Op) int64 { return valueMeta(op.Value) })
	w.values()
	w.numbers(colPredCount, func(op *Op) int64 { return int64(len(op.Pred)) })
	w.preds()
	w.marks()
}

func refActor(r Ref) int64 {
	if r.Counter == 0 {
		return null
	}
	return int64(r.Actor)
}

func refCounter(r Ref) int64 {
	if r.Counter == 0 {
		return null
	}
	return int64(r.Counter)
}

func elemActor(op *Op) int64 {
	if op.InMap {
		return null
	}
	return refActor(op.Elem)
}

func elemCounter(op *Op) int64 {
	if op.InMap {
		return null
	}
	return int64(op.Elem.Counter)
}

// close notes how long the column at hand has become.
func (w *opWriter) close(col, from int) { w.sizes[col] = len(w.dst) - from }

func (w *opWriter) fill(get func(*Op) int64) {
	w.column = w.column[:0]
	for i := range w.c.ops {
		w.column = append(w.column, get(&w.c.ops[i]))
	}
}

func (w *opWriter) numbers(col int, get func(*Op) int64) {
	w.fill(get)
	from := len(w.dst)
	w.dst = appendNumbers(w.dst, w.column)
	w.close(col, from)
}

func (w *opWriter) deltas(col int, get func(*Op) int64) {
	w.fill(get)
	from := len(w.dst)
	w.dst = appendDeltas(w.dst, w.column)
	w.close(col, from)
}

func (w *opWriter) texts(col int, get func(*Op) (string, bool)) {
	from := len(w.dst)
	ops := w.c.ops
	w.dst = appendRuns(w.dst, len(ops), func(i int) (string, bool) { return get(&ops[i]) }, appendLengthed)
	w.close(col, from)
}

func (w *opWriter) bools(col int, get func(*Op) bool) {
	from := len(w.dst)
	ops := w.c.ops
	w.dst = appendBools(w.dst, len(ops), func(i int) bool { return get(&ops[i]) })
	w.close(col, from)
}

func (w *opWriter) values() {
	from := len(w.dst)
	for i := range w.c.ops {
		w.dst = appendValue(w.dst, w.c.ops[i].Value)
	}
	w.close(colValue, from)
}

// preds writes the predecessors of all operations, flat.
func (w *opWriter) preds() {
	w.column = w.column[:0]
	for i := range w.c.ops {
		for _, p := range w.c.ops[i].Pred {
			w.column = append(w.column, int64(p.Actor))
		}
	}
	from := len(w.dst)
	w.dst = appendNumbers(w.dst, w.column)
	w.close(colPredActor, from)

	w.column = w.column[:0]
	for i := range w.c.ops {
		for _, p := range w.c.ops[i].Pred {
			w.column = append(w.column, int64(p.Counter))
		}
	}
	from = len(w.dst)
	w.dst = appendDeltas(w.dst, w.column)
	w.close(colPredCounter, from)
}

// marks writes the two columns that exist only where there are marks.
func (w *opWriter) marks() {
	expands, named := false, false
	for i := range w.c.ops {
		expands = expands || w.c.ops[i].Expand
		named = named || w.c.ops[i].MarkName != ""
	}
	if expands {
		w.bools(colExpand, func(op *Op) bool { return op.Expand })
	}
	if named {
		w.texts(colMarkName, func(op *Op) (string, bool) { return op.MarkName, op.MarkName != "" })
	}
}

// appendColumnList appends the specification and length of each column that is
// not empty.
func (w *opWriter) appendColumnList(dst []byte) []byte {
	n := 0
	for _, size := range w.sizes {
		if size > 0 {
			n++
		}
	}
	dst = appendUleb(dst, uint64(n))
	for col, size := range w.sizes {
		if size > 0 {
			dst = appendUleb(appendUleb(dst, columnSpecs[col]), uint64(size))
		}
	}
	return dst
}
