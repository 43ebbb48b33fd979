package crdt

import "slices"

// deletions are the deletions of map fields and list elements that may be
// concurrent with something. They are collected when a view or a list of
// conflicts asks for them, from the changes that came since the last time; a
// history that never branched has none.
type deletions struct {
	scanned  uint32 // changes below were looked at,
	ops      int    // and as many operations of this one, if it is in the making
	branched bool
	base     uint32 // if branched: changes below are in the past of all after them
	slots    map[slotKey]*slotDeletions
	size     int // bytes, as counted by History.size
}

// slotKey names a slot.
type slotKey struct {
	obj, elem opID
	key       string
}

type slotDeletions struct {
	all  []opID
	live []opID // those that no later operation on the slot has seen
}

// maxDeletions is how many concurrent deletions of a slot, the greatest, count.
const maxDeletions = 64

// sees reports whether operation a was made knowing b.
func (h *History) sees(a, b opID) bool {
	return h.inPast(b.node, a.node) || a.node == b.node && b.ctr < a.ctr
}

// inPast reports whether change a is in the past of change b.
func (h *History) inPast(a, b uint32) bool {
	m, n := &h.nodes[a], &h.nodes[b]
	switch {
	case a == b:
		return false
	case a < n.past.upTo:
		return true
	case m.actor == n.actor:
		return m.c.seq < n.c.seq
	}
	return n.past.clock.get(m.actor) >= uint32(m.c.seq)
}

// deletionsAt returns the deletions at a place that are concurrent with what is
// visible there: made without seeing it, and not seen by it.
func (h *History) deletionsAt(at place) []opID {
	if at.slot.empty() || !h.anyDeletions() || at.obj.kind == MakeText {
		return nil
	}
	d := h.deletions.slots[slotKey{at.obj.id, at.elem, at.key}]
	if d == nil {
		return nil
	}
	var found []opID
	for _, id := range d.live {
		concurrent := true
		for v := range at.slot.all {
			if h.sees(id, v) || h.sees(v, id) {
				concurrent = false
				break
			}
		}
		if concurrent && h.emptied(id, at.slot, d) {
			found = append(found, id)
		}
	}
	if len(found) > maxDeletions {
		slices.SortFunc(found, func(a, b opID) int { return h.compare(b, a) })
		found = found[:maxDeletions]
	}
	return found
}

// emptied reports whether a deletion left its slot empty. One that settles a
// conflict leaves the winner, and is no deletion of the field.
func (h *History) emptied(id opID, s *slot, d *slotDeletions) bool {
	overwriters := map[opID][]opID{}
	var todo []opID
	for v := range s.all {
		todo = append(todo, v)
	}
	todo = append(todo, d.all...)
	for len(todo) > 0 {
		by := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, r := range h.op(by).Pred {
			p := h.resolveRef(by.node, r)
			if h.op(p).Action == Increment {
				continue
			}
			if overwriters[p] == nil && p.node >= h.deletions.base {
				todo = append(todo, p)
			}
			overwriters[p] = append(overwriters[p], by)
		}
	}
	for p, by := range overwriters {
		if h.sees(id, p) && !slices.ContainsFunc(by, func(o opID) bool { return o == id || h.sees(id, o) }) {
			return false
		}
	}
	return true
}

// resolveRef returns the operation that a reference of change n names.
func (h *History) resolveRef(n uint32, r Ref) opID {
	if r.Counter == 0 {
		return opID{}
	}
	a := h.nodes[n].actor
	if r.Actor != 0 {
		a, _ = h.actorOf(h.nodes[n].c.actors[r.Actor])
	}
	id, _ := h.find(a, r.Counter)
	return id
}

// anyDeletions brings the collection up to date and reports whether there is
// anything in it.
func (h *History) anyDeletions() bool {
	d := &h.deletions
	if end := uint32(len(h.nodes)); d.scanned < end {
		h.collectDeletions(end)
	}
	return len(d.slots) > 0
}

func (h *History) collectDeletions(end uint32) {
	d := &h.deletions
	for i := d.scanned; i < end; i++ {
		if upTo := h.nodes[i].past.upTo; upTo < i && (!d.branched || upTo < d.base) {
			d.branched, d.base = true, upTo
			h.size -= d.size
			d.scanned, d.ops, d.slots, d.size = upTo, 0, nil, 0
		}
	}
	for d.scanned < end {
		if d.branched && d.scanned >= d.base {
			h.collectFrom(d.scanned)
		}
		if h.inMaking(d.scanned) {
			d.ops = len(h.nodes[d.scanned].c.ops)
			return
		}
		d.scanned, d.ops = d.scanned+1, 0
	}
}

// inMaking reports whether a change is that of an Edit that goes on.
func (h *History) inMaking(n uint32) bool { return h.nodes[n].c.hash == (Hash{}) }

// collectFrom takes in the deletions of a change, and what its other operations
// on the same slots have seen of earlier ones.
func (h *History) collectFrom(n uint32) {
	d := &h.deletions
	c := h.nodes[n].c
	for i := d.ops; i < len(c.ops); i++ {
		o := &c.ops[i]
		deletes := o.Action == Del
		if o.Insert || o.Action == Mark || !deletes && len(d.slots) == 0 {
			continue
		}
		k, ok := h.slotKeyOf(n, o)
		if !ok {
			continue
		}
		at := d.slots[k]
		switch {
		case at == nil && !deletes:
			continue
		case at == nil:
			if d.slots == nil {
				d.slots = map[slotKey]*slotDeletions{}
			}
			at = &slotDeletions{}
			d.slots[k] = at
			d.grow(h, 160)
		}
		id := opID{ctr: uint32(c.startOp) + uint32(i), node: n}
		at.live = slices.DeleteFunc(at.live, func(l opID) bool { return h.sees(id, l) })
		if deletes {
			at.live = append(at.live, id)
			at.all = append(at.all, id)
			d.grow(h, 16)
		}
	}
}

// slotKeyOf returns the slot that an operation of change n writes to; ok is false
// for characters of texts.
func (h *History) slotKeyOf(n uint32, o *Op) (k slotKey, ok bool) {
	k = slotKey{obj: h.resolveRef(n, o.Obj), key: o.Key}
	if o.InMap {
		return k, true
	}
	if h.objects[k.obj].kind == MakeText {
		return k, false
	}
	k.elem = h.resolveRef(n, o.Elem)
	return k, true
}

func (d *deletions) grow(h *History, n int) {
	d.size += n
	h.size += n
}
