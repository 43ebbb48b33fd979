package crdt

import "strings"

// checkOp checks the i-th operation by itself and against its neighbours: what
// no Automerge writes is refused. What needs the history is History.Add's.
func (c *Change) checkOp(i int, f *failure) {
	op := &c.ops[i]
	switch op.Action {
	case MakeMap, MakeList, MakeText, Del:
		if op.Value.kind != KindNull {
			f.set(CodeOperation, "a value where none belongs")
		}
	case Increment:
		if op.Value.kind != KindInt {
			f.set(CodeOperation, "an increment by something else than an int")
		}
	}
	switch op.Action {
	case Del, Increment:
		if op.Insert {
			f.set(CodeOperation, "a deletion or an increment inserts")
		}
		if len(op.Pred) == 0 {
			f.set(CodeOperation, "a deletion or an increment of nothing")
		}
	}
	if op.InMap && op.Insert {
		f.set(CodeOperation, "an insert into a map")
	}
	if !op.InMap && !op.Insert && op.Elem.Counter == 0 {
		f.set(CodeOperation, "the head of a sequence is no element")
	}
	if op.Insert && len(op.Pred) > 0 {
		f.set(CodeOperation, "an insert with predecessors")
	}
	c.checkMark(i, f)
	c.checkRefs(i, f)
}

// checkExtra: newer versions of Automerge take extra bytes for fields of a number,
// a length and content, and number 1 for the actor's author, which only an
// actor's first change may name: with another, JavaScript 3.5 panics.
func (c *Change) checkExtra(f *failure) {
	if c.seq == 1 || len(c.extra) == 0 {
		return
	}
	number, rest := looseUleb(c.extra)
	size, rest := looseUleb(rest)
	if number == 1 && rest != nil && size <= uint64(len(rest)) {
		f.set(CodeActors, "extra bytes that name an author, in change %d of its actor", c.seq)
	}
}

// looseUleb reads a LEB128 number that need not be minimal; rest is nil when it
// is cut short.
func looseUleb(b []byte) (v uint64, rest []byte) {
	for i, c := range b {
		v |= uint64(c&0x7f) << min(7*i, 63)
		if c < 0x80 {
			return v, b[i+1:]
		}
	}
	return 0, nil
}

// checkMark: a begin, then directly its end, both inserted into one sequence.
func (c *Change) checkMark(i int, f *failure) {
	op := &c.ops[i]
	begun := i > 0 && c.ops[i-1].Action == Mark && c.ops[i-1].MarkName != ""
	if op.Action != Mark {
		if begun {
			f.set(CodeOperation, "a mark does not end directly after its begin")
		}
		if op.Expand || op.MarkName != "" {
			f.set(CodeOperation, "a mark's property where there is no mark")
		}
		return
	}
	isEnd := op.MarkName == ""
	switch {
	case !op.Insert || op.InMap:
		f.set(CodeOperation, "a mark that is not inserted into a sequence")
	case begun != isEnd:
		f.set(CodeOperation, "a mark does not end directly after its begin")
	case isEnd && op.Obj != c.ops[i-1].Obj:
		f.set(CodeOperation, "a mark ends in another object")
	case isEnd && op.Value.kind != KindNull:
		f.set(CodeOperation, "a value where none belongs")
	case !isEnd && i == len(c.ops)-1:
		f.set(CodeOperation, "a mark without an end")
	}
}

// checkRefs: whatever an operation refers to came before it, which for others'
// operations means before this change.
func (c *Change) checkRefs(i int, f *failure) {
	op := &c.ops[i]
	id := c.startOp + uint64(i)
	c.checkBefore(op.Obj, id, f)
	c.checkBefore(op.Elem, id, f)
	for k, p := range op.Pred {
		c.checkBefore(p, id, f)
		if k > 0 && c.compareRefs(op.Pred[k-1], p) >= 0 {
			f.set(CodeEncoding, "predecessors do not ascend")
		}
	}
}

func (c *Change) checkBefore(r Ref, id uint64, f *failure) {
	limit := c.startOp
	if r.Actor == 0 {
		limit = id
	}
	if uint64(r.Counter) >= limit {
		f.set(CodeReference, "operation %d refers to a later one, %d", id, r.Counter)
	}
}

// compareRefs orders references as operation IDs are ordered.
func (c *Change) compareRefs(a, b Ref) int {
	if a.Counter != b.Counter {
		return int(a.Counter) - int(b.Counter)
	}
	return strings.Compare(string(c.actors[a.Actor]), string(c.actors[b.Actor]))
}
