package crdt

// opReader decodes the operation columns side by side, a row an operation.
type opReader struct {
	f *failure

	objActor, objCounter   numbers
	elemActor, elemCounter numbers
	key                    texts
	insert                 bools
	action, meta           numbers
	values                 []byte
	predCount              numbers
	predActor, predCounter numbers
	expand                 bools
	markName               texts

	change *Change
	preds  []Ref // one slab for the predecessors of all operations
	used   actorSet
}

// parseOps decodes and checks the operations.
func (p *parsed) parseOps(cols *[columnCount][]byte) {
	c, f := &p.change, &p.f
	n, preds, ok := countOps(cols)
	switch {
	case !ok:
		f.set(CodeEncoding, "the columns that each operation has differ in length, or hold too many")
	case n == 0:
		c.parseNoOps(cols, f)
	case c.startOp+uint64(n) > MaxCounter:
		f.set(CodeSequence, "operation counters beyond %d", MaxCounter)
	}
	if f.err != nil || n == 0 {
		return
	}
	r := opReader{}
	r.open(c, cols, f)
	c.ops = take(p.op[:], n)
	r.preds = take(p.pred[:], preds)[:0]
	for i := range c.ops {
		if r.row(&c.ops[i]); f.err == nil {
			c.checkOp(i, f)
		}
		if f.err != nil {
			return
		}
	}
	r.end()
}

// parseNoOps: a change without operations has no columns and one actor.
func (c *Change) parseNoOps(cols *[columnCount][]byte, f *failure) {
	for col := range cols {
		if len(cols[col]) > 0 {
			f.column(col, "there are no operations")
		}
	}
	if len(c.actors) > 1 {
		f.set(CodeActors, "an actor is listed that no operation refers to")
	}
}

// countOps returns how many operations and predecessors there are, from the
// columns that are never null, which must agree.
func countOps(cols *[columnCount][]byte) (ops, preds int, ok bool) {
	ops, _, ok = tally(cols[colAction])
	if !ok {
		return 0, 0, false
	}
	metas, _, ok := tally(cols[colValueMeta])
	if !ok || metas != ops {
		return 0, 0, false
	}
	counts, preds, ok := tally(cols[colPredCount])
	return ops, preds, ok && counts == ops && preds <= MaxOps
}

// open starts the columns, in place: copying them would take a tenth of the time
// that a small change takes.
func (r *opReader) open(c *Change, cols *[columnCount][]byte, f *failure) {
	r.f, r.change = f, c
	r.objActor.openNullable(cols, colObjActor, f)
	r.objCounter.openNullable(cols, colObjCounter, f)
	r.elemActor.openNullable(cols, colElemActor, f)
	r.elemCounter.openNullable(cols, colElemCounter, f)
	r.key.openNullable(cols, colKey, f)
	r.insert.open(cols, colInsert, f)
	r.action.open(cols, colAction, f)
	r.meta.open(cols, colValueMeta, f)
	r.values = cols[colValue]
	r.predCount.open(cols, colPredCount, f)
	r.predActor.openNullable(cols, colPredActor, f)
	r.predCounter.openNullable(cols, colPredCounter, f)
	r.expand.openOptional(cols, colExpand, f)
	r.markName.openNullable(cols, colMarkName, f)
	r.elemCounter.delta, r.predCounter.delta = true, true
	r.used.add(0) // the author
}

func (r *opReader) row(op *Op) {
	if actor, counter, ok := r.ref(&r.objActor, &r.objCounter); ok {
		op.Obj = r.valid(actor, counter)
	}
	r.place(op)
	op.Insert = r.insert.next()
	action, ok := r.action.next()
	if !ok || action > int64(Mark) || action == int64(MakeTable) {
		r.f.set(CodeOperation, "action %d", action)
	}
	op.Action = Action(action)
	meta, ok := r.meta.next()
	if !ok {
		r.f.column(colValueMeta, "null")
	}
	op.Value = r.value(uint64(meta))
	r.pred(op)
	op.Expand = r.expand.next()
	if name, ok := r.markName.next(); ok {
		if op.MarkName = name; name == "" {
			r.f.set(CodeOperation, "a mark without a name")
		}
	}
}

// place reads the key or the element.
func (r *opReader) place(op *Op) {
	actor, hasActor := r.elemActor.next()
	counter, hasCounter := r.elemCounter.next()
	op.Key, op.InMap = r.key.next()
	switch {
	case op.InMap && (hasActor || hasCounter):
		r.f.set(CodeOperation, "both a key and an element")
	case op.InMap:
	case hasActor && hasCounter:
		op.Elem = r.valid(actor, counter)
	case hasActor || !hasCounter || counter != 0: // the head is null, 0
		r.f.set(CodeOperation, "neither a key nor an element")
	}
}

// ref reads a pair that is null together.
func (r *opReader) ref(actors, counters *numbers) (actor, counter int64, ok bool) {
	actor, hasActor := actors.next()
	counter, hasCounter := counters.next()
	if hasActor != hasCounter {
		r.f.column(actors.col, "an actor without a counter, or a counter without an actor")
	}
	return actor, counter, hasActor && hasCounter
}

// valid checks a reference that is neither root nor head.
func (r *opReader) valid(actor, counter int64) Ref {
	if actor >= int64(len(r.change.actors)) {
		r.f.set(CodeActors, "actor index %d, there are %d", actor, len(r.change.actors))
		return Ref{}
	}
	if counter < 1 || counter >= MaxCounter {
		r.f.set(CodeReference, "operation counter %d", counter)
		return Ref{}
	}
	r.used.add(uint32(actor))
	return Ref{Actor: uint32(actor), Counter: uint32(counter)}
}

func (r *opReader) pred(op *Op) {
	n, ok := r.predCount.next()
	if !ok {
		r.f.column(colPredCount, "null")
	}
	if n == 0 || n > int64(cap(r.preds)-len(r.preds)) {
		return // more than counted: a failure is set
	}
	from := len(r.preds)
	for range n {
		actor, counter, ok := r.ref(&r.predActor, &r.predCounter)
		if !ok {
			r.f.column(colPredActor, "null")
			return
		}
		r.preds = append(r.preds, r.valid(actor, counter))
	}
	op.Pred = r.preds[from:len(r.preds):len(r.preds)]
}

// end checks that all columns are used up and all actors referred to.
func (r *opReader) end() {
	r.objActor.end()
	r.objCounter.end()
	r.elemActor.end()
	r.elemCounter.end()
	r.key.end()
	r.action.end()
	r.meta.end()
	r.predCount.end()
	r.predActor.end()
	r.predCounter.end()
	r.markName.end()
	r.insert.end()
	r.expand.end()
	if !r.expand.any {
		r.f.column(colExpand, "nothing but false")
	}
	if len(r.values) > 0 {
		r.f.column(colValue, "too many bytes")
	}
	if r.used.count != len(r.change.actors) {
		r.f.set(CodeActors, "an actor is listed that no operation refers to")
	}
}

// actorSet is a set of indices below MaxActors.
type actorSet struct {
	few   uint64
	many  []uint64 // of 64 and up, allocated when there is one
	count int
}

func (s *actorSet) add(i uint32) {
	word, bit := &s.few, uint64(1)<<(i%64)
	if i >= 64 {
		if s.many == nil {
			s.many = make([]uint64, MaxActors/64)
		}
		word = &s.many[i/64]
	}
	if *word&bit == 0 {
		*word |= bit
		s.count++
	}
}
