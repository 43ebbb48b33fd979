package crdt

import (
	"fmt"
	"slices"
)

// Revert edits the record so that what one change did is undone, in what the view
// shows: each value that it set is what it was before, unless it looks different
// by now from how the change left it: then somebody has changed it since, and it
// is kept; kept says where, in the record as it was before this call. Elements and
// characters that the change inserted are deleted, those that it deleted are
// revived; counters are incremented back. In a conflict with others only the
// change's own candidate goes. A change of another's can be reverted as well.
//
// The value before comes back, not the operations: rivals that the view did not
// show are not restored, a map, list or text that was deleted is a new one with
// the old content, and marks in it are lost. A change that is not held is
// ErrUnknownChange.
func (e *Edit) Revert(hash Hash) (kept []Path, err error) {
	n, ok := e.h.nodeOf(hash)
	if !ok {
		return nil, fmt.Errorf("%w %w: %s", ErrEdit, ErrUnknownChange, hash)
	}
	c := e.h.nodes[n].c
	after, err := e.h.At(Heads{hash})
	if err != nil {
		return nil, err
	}
	before, err := e.h.At(c.deps)
	if err != nil {
		return nil, err
	}
	if v := e.view; v.opaque(after) || v.opaque(before) || v.opaque(e.h) {
		return e.revertValues(before, after)
	}
	r := reverter{e: e, node: n, past: pairOf(after, before), now: pairOf(after, e.h)}
	r.touched = after.touchedBy(c)
	top := e.view.top()
	err = r.object(after.root, before.root, e.h.root, scopes{top, top, top})
	return r.kept, err
}

// touchedBy returns the objects that a held change edited, and those around them.
func (h *History) touchedBy(c *Change) map[opID]bool {
	in := map[opID]bool{}
	for i := range c.ops {
		obj := h.root
		if r := c.ops[i].Obj; r.Counter != 0 {
			obj = h.objects[h.resolve(c, r)]
		}
		for ; obj != h.root && !in[obj.id]; obj = h.parent(obj.id) {
			in[obj.id] = true
		}
	}
	return in
}

// reverter compares three states of the record: after the change and before it
// (past.a, past.b), and as it is now (now.b, which is the history being edited).
// Variables x, y, z and u, v, w stand for the same thing in these.
type reverter struct {
	e         *Edit
	node      uint32 // the change
	past, now pair
	touched   map[opID]bool // objects of past.a in which something has changed
	path      Path          // as of now
	kept      []Path
}

// scopes of the same place in the three states.
type scopes struct{ x, y, z scope }

func (s scopes) key(k string) scopes { return scopes{s.x.key(k), s.y.key(k), s.z.key(k)} }

func (s scopes) index(x, y, z int) scopes {
	return scopes{s.x.index(x), s.y.index(y), s.z.index(z)}
}

func (r *reverter) keep() { r.kept = append(r.kept, slices.Clone(r.path)) }

// object reverts what is in an object, which is the same after and before the
// change, and is shown now or was made again since.
func (r *reverter) object(x, y, z *object, sc scopes) error {
	if x.kind != MakeMap {
		return r.sequence(x, y, z, sc)
	}
	for _, k := range unionKeys(x, y) {
		sc := sc.key(k)
		t := target{obj: z, key: k, scope: sc.z}
		if err := r.slot(Step{Key: k}, &t, x.fields.get(k), y.fields.get(k), sc); err != nil {
			return err
		}
	}
	return nil
}

func (r *reverter) slot(step Step, t *target, x, y *slot, sc scopes) error {
	a, b := r.past.a, r.past.b
	u, v := a.see(x, sc.x), b.see(y, sc.y)
	same := u.obj != nil && r.past.same(u.id, v.id)
	if u.none() && v.none() || same && !r.touched[u.id] {
		return nil
	}
	r.path = append(r.path, step)
	defer func() { r.path = r.path[:len(r.path)-1] }()
	w := r.e.h.see(r.e.slot(t), sc.z)
	if same {
		if w.obj == nil || w.obj.kind != u.obj.kind {
			r.keep()
			return nil
		}
		return r.object(u.obj, v.obj, w.obj, sc)
	}
	after, before := a.valueOf(u, sc.x), b.valueOf(v, sc.y)
	if d, changed := difference(v, u, before, after); changed {
		return r.restore(t, d, u, v, w)
	}
	return nil
}

// restore puts the value before the change d back, unless another one is there.
func (r *reverter) restore(t *target, d Difference, u, v, w sight) error {
	if own, others := r.candidates(t); len(own) > 0 && others {
		r.keep()
		_, err := r.e.write(t, Op{Action: Del}, own)
		return err
	}
	now := r.e.h.valueOf(w, t.scope)
	alike := w.none() == u.none() && sameValue(d.After, now)
	before, isCounter := d.Before.(Counter)
	after, wasCounter := d.After.(Counter)
	_, is := now.(Counter)
	switch {
	case isCounter && wasCounter && is && (alike || r.now.same(u.id, w.id)):
		return r.e.increase(t, w.id, int64(before-after))
	case !alike:
		r.keep()
		return nil
	case v.none():
		return r.e.remove(t)
	case v.obj != nil && v.obj.kind == MakeText && w.obj != nil && w.obj.kind == MakeText:
		return r.e.put(t, d.Before, Replace)
	}
	return r.e.replace(t, d.Before)
}

// candidates returns those of a slot that the change wrote, and whether there are
// others.
func (r *reverter) candidates(t *target) (own []opID, others bool) {
	for _, id := range r.e.candidates(t) {
		if id.node == r.node {
			own = append(own, id)
		} else {
			others = true
		}
	}
	return own, others
}

// sequence reverts what is in a list or text.
func (r *reverter) sequence(x, y, z *object, sc scopes) error {
	past := r.past.align(x, y)
	q := seqReverter{reverter: r, x: past.x, y: past.y, z: z, sc: sc, same: r.now.same(x.id, z.id)}
	q.line(x)
	for i, k := range past.matched {
		if err := q.matched(i, k); err != nil {
			return err
		}
	}
	for _, s := range past.script {
		if err := q.splice(s); err != nil {
			return err
		}
	}
	return nil
}

// seqReverter reverts the elements of a sequence.
type seqReverter struct {
	*reverter
	x, y []*element // visible after and before the change
	z    *object
	sc   scopes
	same bool   // the sequence is the one that the change edited, not a later copy of it
	now  []opID // the visible elements now
	at   []int  // by index in x: where the element is in now, -1 if it is gone
}

// line finds the elements of x in z: the same ones, or, in a copy, those that look
// alike.
func (q *seqReverter) line(x *object) {
	m := alignment{}
	if q.same {
		m = q.reverter.now.align(x, q.z)
	} else {
		m.x = q.x
		for _, e := range q.z.seq.elements() {
			if !e.slot.empty() {
				m.y = append(m.y, e)
			}
		}
		m.script = diff(q.past.a.looks(m.x, q.z.kind, q.sc.x), q.e.h.looks(m.y, q.z.kind, q.sc.z))
	}
	for _, e := range m.y {
		q.now = append(q.now, e.id)
	}
	q.at = slices.Repeat([]int{-1}, len(m.x))
	for i, j := range m.matched {
		q.at[i] = j
	}
}

// looks returns what elements look like, as comparable tokens.
func (h *History) looks(elems []*element, kind Action, sc scope) []string {
	out := make([]string, len(elems))
	w := jsonWriter{h: h}
	for i, e := range elems {
		if kind == MakeText {
			out[i] = h.char(e.slot.first)
		} else {
			in := sc.index(i)
			out[i] = string(w.candidate(nil, h.pick(&e.slot, in), in))
		}
	}
	return out
}

// matched reverts what the change did within an element that it left in place.
func (q *seqReverter) matched(i, k int) error {
	if q.z.seq.text || q.at[i] < 0 {
		return nil
	}
	j := q.at[i]
	sc := q.sc.index(i, k, j)
	t := target{obj: q.z, elem: q.now[j], scope: sc.z}
	return q.slot(Step{Index: j, InList: true}, &t, &q.x[i].slot, &q.y[k].slot, sc)
}

// splice deletes what the change inserted and inserts what it deleted.
func (q *seqReverter) splice(s splice) error {
	for i := s.a; i < s.a+s.del; i++ {
		if err := q.delete(i); err != nil {
			return err
		}
	}
	ref := opID{}
	for i := s.a - 1; i >= 0 && ref.ctr == 0; i-- {
		if q.at[i] >= 0 {
			ref = q.now[q.at[i]]
		}
	}
	for k := s.b; k < s.b+s.ins; k++ {
		var err error
		if ref, err = q.insert(k, ref); err != nil {
			return err
		}
	}
	return nil
}

// delete removes an element that the change inserted, unless it was changed since.
func (q *seqReverter) delete(i int) error {
	j := q.at[i]
	if j < 0 {
		return nil
	}
	t := target{obj: q.z, elem: q.now[j], scope: q.sc.z.index(j)}
	if !q.z.seq.text {
		sx, h := q.sc.x.index(i), q.e.h
		after := q.past.a.valueOf(q.past.a.see(&q.x[i].slot, sx), sx)
		if !sameValue(after, h.valueOf(h.see(q.e.slot(&t), t.scope), t.scope)) {
			q.path = append(q.path, Step{Index: j, InList: true})
			q.keep()
			q.path = q.path[:len(q.path)-1]
			return nil
		}
	}
	return q.e.remove(&t)
}

// insert puts an element back that the change deleted. Writing to a deleted element
// revives it in its place, for cursors and for whoever else undoes the deletion
// too; in a copy of the sequence a new one is inserted behind ref. An element that
// somebody has revived since is left alone. It returns what the next one may stand
// behind.
func (q *seqReverter) insert(k int, ref opID) (opID, error) {
	b, h := q.past.b, q.e.h
	o := Op{Insert: true}
	if q.same {
		id := q.y[k].id
		o.Insert, ref.ctr = false, id.ctr
		ref.node, _ = h.nodeOf(b.nodes[id.node].c.hash)
		if leaf, i := q.z.seq.locate(ref); !leaf.elems[i].slot.empty() {
			return ref, nil
		}
	}
	var value any
	if q.z.seq.text {
		value = string(b.charOf(&q.y[k].slot))
	} else {
		sy := q.sc.y.index(k)
		value = b.valueOf(b.see(&q.y[k].slot, sy), sy)
	}
	return q.e.create(q.z, o, ref, nil, value)
}
