package crdt

import (
	"slices"
	"unicode/utf8"
)

// A document stores each operation with its ID and its successors, and no
// deletions: those are the successors that are no operation of the document.
// Operation IDs say to which change an operation belongs and where in it.

// docRefs are the operations of a document that still have no place: IDs and
// successors.
type docRefs struct {
	ids       []Ref
	succCount []uint32
	succs     []Ref
	places    []uint32 // of ids, then of succs: first the change's index, then that in document.ops
}

// readOps reads the columns of operations and gives each change its own.
func (d *document) readOps(limit int) {
	if d.f.err != nil {
		return
	}
	refs := d.readRefs(limit)
	if d.f.err != nil {
		return
	}
	d.allot(refs, limit)
	if d.f.err != nil {
		return
	}
	d.fill(refs)
	if d.f.err != nil {
		return
	}
	d.link(refs)
}

// readRefs reads who is who.
func (d *document) readRefs(limit int) *docRefs {
	cols := &d.opCols
	n, _, ok := countRows(cols[docAction], false, limit)
	m, succs, ok2 := countRows(cols[docSuccCount], false, limit)
	if !ok || !ok2 || m > n || succs > limit ||
		!sameRows(n, false, cols[docIDActor]) || !sameRows(n, true, cols[docIDCounter]) ||
		!sameRows(succs, false, cols[docSuccActor]) || !sameRows(succs, true, cols[docSuccCounter]) {
		d.f.set(CodeSize, "the document's columns of operations are malformed, or more than %d", limit)
		return nil
	}
	r := &docRefs{
		ids:       make([]Ref, n),
		succCount: make([]uint32, n),
		succs:     make([]Ref, succs),
		places:    make([]uint32, n+succs),
	}
	actor := docNumbers{in: cols[docIDActor]}
	counter := docNumbers{in: cols[docIDCounter], delta: true}
	count := docNumbers{in: cols[docSuccCount]}
	for i := range r.ids {
		a, _ := actor.next()
		c, _ := counter.next()
		k, _ := count.next()
		r.ids[i], r.succCount[i] = d.ref(a, c), uint32(k)
	}
	ok = actor.end() && counter.end() && count.end()
	actor = docNumbers{in: cols[docSuccActor]}
	counter = docNumbers{in: cols[docSuccCounter], delta: true}
	for i := range r.succs {
		a, _ := actor.next()
		c, _ := counter.next()
		r.succs[i] = d.ref(a, c)
	}
	if !ok || !actor.end() || !counter.end() {
		d.f.set(CodeEncoding, "the document's columns of IDs or successors are malformed")
	}
	return r
}

// ref checks the name of an operation. A null counter is 0 and refused.
func (d *document) ref(actor, counter int64) Ref {
	if uint64(actor) >= uint64(len(d.actors)) {
		d.f.set(CodeActors, "actor index %d, there are %d", actor, len(d.actors))
		return Ref{}
	}
	if counter < 1 || counter >= MaxCounter {
		d.f.set(CodeReference, "operation counter %d", counter)
		return Ref{}
	}
	return Ref{Actor: uint32(actor), Counter: uint32(counter)}
}

// allot finds each operation's change, from that each change's operations, and
// from that each operation's place.
func (d *document) allot(r *docRefs, limit int) {
	f := finder{d: d, ends: d.ends(), hints: make([]uint32, len(d.actors))}
	first := make([]uint32, len(d.changes)) // counter of a change's first operation, 0 for none
	each := func(refs []Ref, places []uint32) {
		for i, ref := range refs {
			c := f.find(ref)
			if c < 0 {
				d.f.set(CodeReference, "operation %d belongs to no change", ref.Counter)
				return
			}
			if first[c] == 0 || ref.Counter < first[c] {
				first[c] = ref.Counter
			}
			places[i] = uint32(c)
		}
	}
	each(r.ids, r.places)
	each(r.succs, r.places[len(r.ids):])
	if d.f.err != nil {
		return
	}
	offsets, total := d.offsets(first)
	if total > min(limit, len(r.places)) {
		d.f.set(CodeReference, "operations of the changes are missing")
		return
	}
	d.ops = make([]Op, total)
	for i := range d.changes {
		c, at := &d.changes[i], offsets[i]
		c.startOp = uint64(d.maxOps[i]) + 1
		if first[i] > 0 {
			c.startOp = uint64(first[i])
			end := at + int(d.maxOps[i]-first[i]) + 1
			c.ops = d.ops[at:end:end]
		}
	}
	place := func(refs []Ref, places []uint32) {
		for i, ref := range refs {
			c := places[i]
			places[i] = uint32(offsets[c]) + ref.Counter - first[c]
		}
	}
	place(r.ids, r.places)
	place(r.succs, r.places[len(r.ids):])
}

// offsets returns where each change's operations begin, and how many there are.
func (d *document) offsets(first []uint32) (offsets []int, total int) {
	offsets = make([]int, len(first))
	for i, ctr := range first {
		offsets[i] = total
		if ctr > 0 {
			total += int(d.maxOps[i]-ctr) + 1
		}
	}
	return offsets, total
}

// ends returns where each author's changes end in byAuthor.
func (d *document) ends() []uint32 {
	ends := make([]uint32, len(d.actors))
	for _, a := range d.authors {
		ends[a]++
	}
	for a := 1; a < len(ends); a++ {
		ends[a] += ends[a-1]
	}
	return ends
}

// finder finds the change that an operation belongs to: its author's first one
// whose max op is not below it. It searches only where neither the change that it
// found last fits, nor the one that would if all in between had one operation.
type finder struct {
	d     *document
	ends  []uint32
	hints []uint32
}

func (f *finder) find(r Ref) int {
	begin, end := uint32(0), f.ends[r.Actor]
	if r.Actor > 0 {
		begin = f.ends[r.Actor-1]
	}
	maxOps, of := f.d.maxOps, f.d.byAuthor[begin:end]
	at := f.hints[r.Actor]
	if !fits(maxOps, of, at, r.Counter) {
		if int(at) < len(of) {
			at += r.Counter - maxOps[of[at]] // wraps around where it is less
		}
		if !fits(maxOps, of, at, r.Counter) {
			n, _ := slices.BinarySearchFunc(of, r.Counter, func(c, ctr uint32) int {
				return int(maxOps[c]) - int(ctr)
			})
			if at = uint32(n); n == len(of) {
				return -1
			}
		}
	}
	f.hints[r.Actor] = at
	return int(of[at])
}

func fits(maxOps, of []uint32, at, counter uint32) bool {
	return int(at) < len(of) && counter <= maxOps[of[at]] && (at == 0 || counter > maxOps[of[at-1]])
}

// unfilled marks a place that no operation of the document has taken.
const unfilled Action = 0xff

// fill decodes the operations into their places.
func (d *document) fill(r *docRefs) {
	for i := range d.ops {
		d.ops[i].Action = unfilled
	}
	rows := d.openRows()
	for i := range r.ids {
		op := &d.ops[r.places[i]]
		if op.Action != unfilled {
			d.f.set(CodeReference, "operation %d exists twice", r.ids[i].Counter)
		}
		if rows.next(op); d.f.err != nil {
			return
		}
	}
	if !rows.end() {
		d.f.set(CodeEncoding, "the document's columns of operations are malformed")
	}
}

// docRows are the columns of operations, read side by side.
type docRows struct {
	d                      *document
	objActor, objCounter   docNumbers
	elemActor, elemCounter docNumbers
	key                    docTexts
	insert                 docBools
	action, meta           docNumbers
	values                 []byte
	expand                 docBools
	markName               docTexts
	lastKey, lastMark      string // checked
}

func (d *document) openRows() *docRows {
	cols := &d.opCols
	return &docRows{
		d:           d,
		objActor:    docNumbers{in: cols[docObjActor]},
		objCounter:  docNumbers{in: cols[docObjCounter]},
		elemActor:   docNumbers{in: cols[docElemActor]},
		elemCounter: docNumbers{in: cols[docElemCounter], delta: true},
		key:         docTexts{in: slices.Clone(cols[docKey])},
		insert:      docBools{in: cols[docInsert]},
		action:      docNumbers{in: cols[docAction]},
		meta:        docNumbers{in: cols[docValueMeta]},
		values:      slices.Clone(cols[docValue]),
		expand:      docBools{in: cols[docExpand]},
		markName:    docTexts{in: slices.Clone(cols[docMarkName])},
	}
}

func (r *docRows) end() bool {
	return r.objActor.end() && r.objCounter.end() && r.elemActor.end() && r.elemCounter.end() && r.key.end() &&
		r.insert.end() && r.action.end() && r.meta.end() && len(r.values) == 0 && r.expand.end() && r.markName.end()
}

// next reads an operation, without predecessors.
func (r *docRows) next(op *Op) {
	d := r.d
	actor, hasActor := r.objActor.next()
	counter, hasCounter := r.objCounter.next()
	if hasActor || hasCounter {
		op.Obj = d.ref(actor, counter)
	}
	r.place(op)
	op.Insert = r.insert.next()
	action, ok := r.action.next()
	if !ok || uint64(action) > uint64(Mark) || action == int64(MakeTable) {
		d.f.set(CodeOperation, "action %d", action)
	}
	op.Action = Action(action)
	meta, _ := r.meta.next()
	n := uint64(meta) >> 4
	if n > uint64(len(r.values)) {
		d.f.set(CodeValue, "truncated: %d bytes announced, %d there", n, len(r.values))
		return
	}
	if op.Value, ok = readValue(Kind(meta&15), r.values[:n:n]); !ok {
		d.f.set(CodeValue, "type %d with %d bytes: unknown type or wrong form", meta&15, n)
	}
	r.values = r.values[n:]
	op.Expand = r.expand.next()
	op.MarkName, ok = r.markName.next()
	if ok && op.MarkName == "" {
		d.f.set(CodeOperation, "a mark without a name")
	}
	if op.MarkName != r.lastMark && !utf8.ValidString(op.MarkName) {
		d.f.set(CodeEncoding, "the name of a mark: invalid UTF-8")
	}
	r.lastMark = op.MarkName
}

// place reads the key or the element.
func (r *docRows) place(op *Op) {
	actor, hasActor := r.elemActor.next()
	counter, hasCounter := r.elemCounter.next()
	op.Key, op.InMap = r.key.next()
	switch {
	case op.InMap && (hasActor || hasCounter):
		r.d.f.set(CodeOperation, "both a key and an element")
	case op.InMap:
		if op.Key != r.lastKey && !utf8.ValidString(op.Key) {
			r.d.f.set(CodeEncoding, "a key: invalid UTF-8")
		}
		r.lastKey = op.Key
	case hasActor:
		op.Elem = r.d.ref(actor, counter)
	case counter != 0: // the head is null, 0
		r.d.f.set(CodeOperation, "neither a key nor an element")
	}
}

// link turns successors into predecessors, and makes the deletions.
func (d *document) link(r *docRefs) {
	placeOfSucc := r.places[len(r.ids):]
	ends := make([]uint32, len(d.ops)) // of each operation's predecessors
	for _, p := range placeOfSucc {
		ends[p]++
	}
	sum := uint32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	preds := make([]Ref, len(r.succs))
	k := 0
	for i, id := range r.ids {
		for range r.succCount[i] {
			p := placeOfSucc[k]
			preds[ends[p]] = id
			ends[p]++
			if op := &d.ops[p]; op.Action == unfilled {
				op.deletes(&d.ops[r.places[i]], id)
			}
			k++
		}
	}
	from := uint32(0)
	for i := range d.ops {
		op, to := &d.ops[i], ends[i]
		if op.Action == unfilled {
			d.f.set(CodeReference, "operations of the changes are missing")
			return
		}
		if to > from {
			op.Pred = preds[from:to:to]
		}
		from = to
	}
}

// deletes makes op the deletion of another operation, named id.
func (op *Op) deletes(o *Op, id Ref) {
	op.Action, op.Obj, op.InMap, op.Key, op.Elem = Del, o.Obj, o.InMap, o.Key, o.Elem
	if o.Insert {
		op.Elem = id
	}
}
