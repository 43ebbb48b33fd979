package crdt

import "crypto/sha256"

// encode writes the chunk of a change whose other fields are set, and its hash:
// byte for byte what Automerge's own encoder writes for the same change. The
// dependencies have to ascend, the actors to be the author and then, ascending,
// exactly those that the operations refer to. Errors are *InvalidError, for a
// change beyond the bounds.
func (c *Change) encode() error {
	var headSpace [512]byte // usually enough, and not on the heap
	_, err := c.encodeIn(headSpace[:0], make([]byte, 0, 128), nil)
	return err
}

// encodeIn is encode with scratch space for the header and the columns, and room
// that raw is cut from if it fits in there; rest is what remains of that.
func (c *Change) encodeIn(head, cols, room []byte) (rest []byte, err error) {
	if err := c.checkBounds(); err != nil {
		return room, err
	}
	w := opWriter{ops: c.ops}
	cols = w.columns(cols)
	head = w.appendColumnList(c.appendHeader(head))

	size := len(head) + len(cols) + len(c.extra)
	total := chunkTypeAt + 1 + ulebLen(uint64(size)) + size
	if total > MaxChangeSize {
		return room, invalid(CodeSize, "%d bytes, at most %d are taken", total, MaxChangeSize)
	}
	var raw []byte
	if total > len(room) {
		raw = make([]byte, 0, total)
	} else {
		raw, room = room[:0:total], room[total:]
	}
	raw = append(raw, chunkMagic+"\x00\x00\x00\x00"...)
	raw = appendUleb(append(raw, chunkChange), uint64(size))
	raw = append(raw, head...)
	raw = append(raw, cols...)
	raw = append(raw, c.extra...)
	c.hash = sha256.Sum256(raw[chunkTypeAt:])
	copy(raw[4:8], c.hash[:])
	c.raw = raw
	return room, nil
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

// scratch is how many numbers of a column need no memory.
const scratch = 16

// opWriter encodes the operations, a column after the other.
type opWriter struct {
	ops   []Op
	sizes [columnCount]int
}

// columns appends all columns to dst and notes their lengths.
func (w *opWriter) columns(dst []byte) []byte {
	if len(w.ops) == 0 {
		return dst
	}
	dst = w.numbers(dst, colObjActor, func(op *Op) int64 { return refActor(op.Obj) })
	dst = w.numbers(dst, colObjCounter, func(op *Op) int64 { return refCounter(op.Obj) })
	dst = w.numbers(dst, colElemActor, elemActor)
	dst = w.elemCounters(dst)
	dst = w.texts(dst, colKey, func(op *Op) (string, bool) { return op.Key, op.InMap })
	dst = w.bools(dst, colInsert, func(op *Op) bool { return op.Insert })
	dst = w.numbers(dst, colAction, func(op *Op) int64 { return int64(op.Action) })
	dst = w.numbers(dst, colValueMeta, func(op *Op) int64 { return valueMeta(op.Value) })
	dst = w.values(dst)
	dst = w.numbers(dst, colPredCount, func(op *Op) int64 { return int64(len(op.Pred)) })
	dst = w.preds(dst)
	return w.marks(dst)
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

func (w *opWriter) numbers(dst []byte, col int, get func(*Op) int64) []byte {
	from := len(dst)
	dst = appendRuns(dst, len(w.ops), func(i int) (int64, bool) {
		v := get(&w.ops[i])
		return v, v != null
	}, appendNumber)
	w.sizes[col] = len(dst) - from
	return dst
}

func (w *opWriter) elemCounters(dst []byte) []byte {
	var space [scratch]int64
	column := space[:0]
	for i := range w.ops {
		column = append(column, elemCounter(&w.ops[i]))
	}
	from := len(dst)
	dst = appendDeltas(dst, column)
	w.sizes[colElemCounter] = len(dst) - from
	return dst
}

func (w *opWriter) texts(dst []byte, col int, get func(*Op) (string, bool)) []byte {
	from := len(dst)
	dst = appendRuns(dst, len(w.ops), func(i int) (string, bool) { return get(&w.ops[i]) }, appendLengthed)
	w.sizes[col] = len(dst) - from
	return dst
}

func (w *opWriter) bools(dst []byte, col int, get func(*Op) bool) []byte {
	from := len(dst)
	dst = appendBools(dst, len(w.ops), func(i int) bool { return get(&w.ops[i]) })
	w.sizes[col] = len(dst) - from
	return dst
}

func (w *opWriter) values(dst []byte) []byte {
	from := len(dst)
	for i := range w.ops {
		dst = appendValue(dst, w.ops[i].Value)
	}
	w.sizes[colValue] = len(dst) - from
	return dst
}

// preds writes the predecessors of all operations, flat.
func (w *opWriter) preds(dst []byte) []byte {
	var space [scratch]int64
	column := space[:0]
	for i := range w.ops {
		for _, p := range w.ops[i].Pred {
			column = append(column, int64(p.Actor))
		}
	}
	from := len(dst)
	dst = appendNumbers(dst, column)
	w.sizes[colPredActor] = len(dst) - from

	column = column[:0]
	for i := range w.ops {
		for _, p := range w.ops[i].Pred {
			column = append(column, int64(p.Counter))
		}
	}
	from = len(dst)
	dst = appendDeltas(dst, column)
	w.sizes[colPredCounter] = len(dst) - from
	return dst
}

// marks writes the two columns that exist only where there are marks.
func (w *opWriter) marks(dst []byte) []byte {
	expands, named := false, false
	for i := range w.ops {
		expands = expands || w.ops[i].Expand
		named = named || w.ops[i].MarkName != ""
	}
	if expands {
		dst = w.bools(dst, colExpand, func(op *Op) bool { return op.Expand })
	}
	if named {
		dst = w.texts(dst, colMarkName, func(op *Op) (string, bool) { return op.MarkName, op.MarkName != "" })
	}
	return dst
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
