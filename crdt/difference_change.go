package crdt

import "slices"

// AddDiff adds a change as Add does, and returns how what the view shows differs
// from before, as Diff would. It looks only at what the change touches: its cost
// is that of the change, not of the record, unless the change touches so much of a
// list or text that going through all of it is cheaper, or what the view shows in
// one place depends on other places: then it is a Diff. A change that is held
// already makes no difference.
func (h *History) AddDiff(c *Change, v *View) ([]Difference, error) {
	if !v.local() {
		from := h.Heads()
		if added, err := h.Add(c); !added || err != nil {
			return nil, err
		}
		return h.Diff(from, h.Heads(), v)
	}
	if v.opaque(h) || v != nil && v.heeds && !h.onHeads(c) {
		before := h.Value(v)
		if added, err := h.Add(c); !added || err != nil {
			return nil, err
		}
		return differenceOfValues(before, h.Value(v)), nil
	}
	t := touch{h: h, view: v, objects: map[*object]*touched{}}
	t.look(c)
	if added, err := h.Add(c); !added || err != nil {
		return nil, err
	}
	return t.differences(), nil
}

// local reports whether what a view shows of a slot depends on the slot's
// candidates alone. A pattern with an index does not: whatever is inserted before
// moves it to another element.
func (v *View) local() bool {
	if v == nil {
		return true
	}
	for i := range v.patterns {
		p := &v.patterns[i]
		for k, s := range p.steps {
			if s.InList && !p.any[k] {
				return false
			}
		}
	}
	return true
}

// touch notes what a change is about to touch, and compares afterwards.
type touch struct {
	h       *History
	view    *View
	objects map[*object]*touched
	out     []Difference
}

// touched is an object that was there before the change.
type touched struct {
	shown bool  // the view showed it
	scope scope // before
	keys  map[string]note
	elems map[opID]note
	fresh []opID // elements that the change inserts
}

// note is what a slot showed before the change.
type note struct {
	sight
	value any // of a text: the character
}

// look notes what is there. The change was not checked yet, so its references may
// be wrong.
func (t *touch) look(c *Change) {
	h := t.h
	node := uint32(len(h.nodes))
	for i := range c.ops {
		o := &c.ops[i]
		if o.Obj.Actor == 0 && uint64(o.Obj.Counter) >= c.startOp || o.Action == Mark {
			continue // what it makes is seen where it is put
		}
		obj := h.root
		if o.Obj.Counter != 0 {
			obj = h.objects[h.resolve(c, o.Obj)]
		}
		if obj == nil || o.InMap != (obj.kind == MakeMap) {
			continue
		}
		in := t.object(obj)
		switch {
		case !in.shown:
		case o.InMap:
			t.key(in, obj, o.Key)
		case o.Insert:
			in.fresh = append(in.fresh, opID{ctr: uint32(c.startOp) + uint32(i), node: node})
		case o.Elem.Actor != 0 || uint64(o.Elem.Counter) < c.startOp:
			t.element(in, obj, h.resolve(c, o.Elem))
		}
	}
}

// resolve returns the operation that a change refers to, which is not one of its
// own; zero if it is not held.
func (h *History) resolve(c *Change, r Ref) (id opID) {
	if a, ok := h.actorOf(c.actors[r.Actor]); ok {
		id, _ = h.find(a, r.Counter)
	}
	return id
}

func (t *touch) object(obj *object) *touched {
	in := t.objects[obj]
	if in == nil {
		in = &touched{keys: map[string]note{}, elems: map[opID]note{}}
		_, in.scope, in.shown = t.h.place(obj, t.view)
		t.objects[obj] = in
	}
	return in
}

func (t *touch) key(in *touched, obj *object, key string) {
	if _, done := in.keys[key]; !done {
		in.keys[key] = t.note(obj.fields.get(key), in.scope.key(key))
	}
}

func (t *touch) element(in *touched, obj *object, id opID) {
	if _, done := in.elems[id]; done || !obj.seq.has(id) {
		return
	}
	leaf, i := obj.seq.locate(id)
	s := &leaf.elems[i].slot
	if !obj.seq.text {
		at, _ := obj.seq.index(id)
		in.elems[id] = t.note(s, in.scope.index(at))
		return
	}
	in.elems[id] = note{sight{id: s.first}, t.h.charOf(s)}
}

func (t *touch) note(s *slot, sc scope) note {
	seen := t.h.see(s, sc)
	return note{seen, t.h.valueOf(seen, sc)}
}

// charOf returns what a text shows of a slot.
func (h *History) charOf(s *slot) Text {
	if s.empty() {
		return ""
	}
	return Text(h.char(s.first))
}

// has reports whether an element is in the sequence.
func (s *sequence) has(id opID) bool {
	if s.where != nil {
		return s.where[id] != nil
	}
	return slices.ContainsFunc(s.root.elems, func(e element) bool { return e.id == id })
}

// place returns where a view shows an object, and the scope there; ok is false
// if it does not.
func (h *History) place(obj *object, v *View) (p Path, sc scope, ok bool) {
	var chain []*object // from the object up to the root
	for o := obj; o != h.root; o = h.parent(o.id) {
		chain = append(chain, o)
	}
	sc = v.top()
	in := h.root
	for _, o := range slices.Backward(chain) {
		step, s := h.stepTo(in, o.id)
		if step.InList {
			sc = sc.index(step.Index)
		} else {
			sc = sc.key(step.Key)
		}
		if h.see(s, sc).id != o.id {
			return nil, sc, false
		}
		p, in = append(p, step), o
	}
	return p, sc, true
}

// parent returns the object in which an operation set or made something.
func (h *History) parent(id opID) *object {
	o := h.op(id)
	if o.Obj.Counter == 0 {
		return h.root
	}
	return h.objects[h.resolve(h.nodes[id.node].c, o.Obj)]
}

// stepTo returns the step from an object to the slot that an operation wrote to.
func (h *History) stepTo(in *object, id opID) (Step, *slot) {
	o := h.op(id)
	if o.InMap {
		return Step{Key: o.Key}, in.fields.get(o.Key)
	}
	elem := id
	if !o.Insert {
		elem = h.resolve(h.nodes[id.node].c, o.Elem)
	}
	leaf, i := in.seq.locate(elem)
	at, _ := in.seq.index(elem)
	return Step{Index: at, InList: true}, &leaf.elems[i].slot
}

// differences compares what was noted with what is there now. What is shown only
// before or only afterwards is seen from outside, where it is put.
func (t *touch) differences() []Difference {
	for obj, in := range t.objects {
		if !in.shown {
			continue
		}
		p, sc, shown := t.h.place(obj, t.view)
		switch {
		case !shown:
		case obj.kind == MakeMap:
			t.fields(obj, in, p, sc)
		default:
			t.elements(obj, in, p, sc)
		}
	}
	slices.SortStableFunc(t.out, func(a, b Difference) int { return comparePaths(a.Path, b.Path) })
	return t.out
}

func (t *touch) fields(obj *object, in *touched, p Path, sc scope) {
	for k, before := range in.keys {
		t.slot(append(p, Step{Key: k}), before, obj.fields.get(k), sc.key(k))
	}
}

// slot compares a slot with its note. The object that was there is looked at by
// itself if it is still there.
func (t *touch) slot(p Path, before note, s *slot, sc scope) {
	after := t.h.see(s, sc)
	if after.obj != nil && after.id == before.id {
		return
	}
	if d, ok := difference(before.sight, after, before.value, t.h.valueOf(after, sc)); ok {
		d.Path = slices.Clone(p)
		t.out = append(t.out, d)
	}
}

func (t *touch) elements(obj *object, in *touched, p Path, sc scope) {
	run := splicer{path: p}
	for rank, e := range t.inOrder(obj, in) {
		before := in.elems[e.id]
		isElement := !before.none() && !e.slot.empty()
		switch {
		case obj.seq.text:
			old, _ := before.value.(Text)
			if s := t.h.charOf(&e.slot); s != old {
				run.text(rank, old, s, int(e.width))
			}
		case isElement:
			t.slot(append(p, Step{Index: rank, InList: true}), before, &e.slot, sc.index(rank))
		case !before.none():
			run.list(rank, []any{before.value}, nil)
		case !e.slot.empty():
			in := sc.index(rank)
			run.list(rank, nil, []any{t.h.valueOf(t.h.see(&e.slot, in), in)})
		}
	}
	run.flush()
	t.out = append(t.out, run.out...)
}

// manyTouched is how many times less than all elements are worth finding one by
// one.
const manyTouched = 64

// inOrder yields the touched elements in order, with their indices.
func (t *touch) inOrder(obj *object, in *touched) func(func(int, *element) bool) {
	seq := obj.seq
	ids := in.fresh
	for id := range in.elems {
		ids = append(ids, id)
	}
	if len(ids)*manyTouched > max(len(seq.where), len(seq.root.elems)) {
		return func(yield func(int, *element) bool) { t.walk(seq, in, yield) }
	}
	slices.SortFunc(ids, func(a, b opID) int {
		switch {
		case a == b:
			return 0
		case seq.before(a, b):
			return -1
		}
		return 1
	})
	return func(yield func(int, *element) bool) {
		for _, id := range ids {
			leaf, i := seq.locate(id)
			at, _ := seq.index(id)
			if !yield(at, &leaf.elems[i]) {
				return
			}
		}
	}
}

// walk goes through all elements. Those that the change inserted are the newest.
func (t *touch) walk(seq *sequence, in *touched, yield func(int, *element) bool) {
	rank, newest := 0, uint32(len(t.h.nodes)-1)
	for e := range seq.all {
		_, old := in.elems[e.id]
		if (old || e.id.node == newest) && !yield(rank, e) {
			return
		}
		rank += int(e.width)
	}
}

// splicer joins what was deleted and inserted next to each other.
type splicer struct {
	path Path
	end  int // the index behind the last splice
	out  []Difference
	// what the last splice of a text takes and gives
	before, after []byte
}

// next makes sure that the last splice ends at pos.
func (r *splicer) next(pos int, none any) *Difference {
	if len(r.out) == 0 || r.end != pos {
		r.flush()
		r.out = append(r.out, Difference{Kind: Spliced, Path: slices.Clone(r.path), Pos: pos, Before: none, After: none})
	}
	return &r.out[len(r.out)-1]
}

func (r *splicer) text(pos int, before, after Text, width int) {
	r.next(pos, Text(""))
	r.before, r.after = append(r.before, before...), append(r.after, after...)
	r.end = pos + width
}

func (r *splicer) list(pos int, before, after []any) {
	d := r.next(pos, []any{})
	d.Before, d.After = append(d.Before.([]any), before...), append(d.After.([]any), after...)
	r.end = pos + len(after)
}

// flush puts a text's characters into its last splice.
func (r *splicer) flush() {
	if len(r.before)+len(r.after) == 0 {
		return
	}
	d := &r.out[len(r.out)-1]
	d.Before, d.After = Text(r.before), Text(r.after)
	r.before, r.after = nil, nil
}
