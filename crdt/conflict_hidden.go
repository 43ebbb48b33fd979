package crdt

import (
	"cmp"
	"slices"
)

// A hidden candidate is an object or counter that was overwritten or deleted
// although there is an edit in it, at any depth, or an increment, of which nobody
// who overwrote it knew, nor whoever wrote to the slot afterwards. Automerge does
// not show it.

// track returns the object or counter with an ID.
func (h *History) track(id opID) *tracked {
	d := &h.contests
	t := d.tracked[id]
	if t != nil {
		return t
	}
	t = &tracked{id: id}
	if obj := h.op(id).Obj; obj.Counter != 0 {
		t.in = h.track(h.resolveRef(id.node, obj))
	}
	if d.tracked == nil {
		d.tracked = map[opID]*tracked{}
	}
	d.tracked[id] = t
	d.grow(h, 160)
	return t
}

// noteEdit takes in an edit in an object, or an increment. One that was made
// knowing that the object is gone brings nothing back.
func (h *History) noteEdit(t *tracked, id opID) {
	if h.seesAny(id, t.overs) {
		return
	}
	t.edits = append(h.unseen(t.edits, id), id)
	if t.slot != nil {
		t.slot.stale = true
	}
	h.list(t)
}

// noteOverwritten takes in that an operation overwrites or deletes an object or
// counter.
func (h *History) noteOverwritten(t *tracked, at *contest, id opID) {
	t.slot, at.stale = at, true
	t.edits = h.unseen(t.edits, id) // here, since increments that overwrite are not among the slot's writes
	if !h.seesAny(id, t.overs) {
		t.overs = append(t.overs, id)
	}
	h.list(t)
}

// list enters what may be a hidden candidate into its slot's list.
func (h *History) list(t *tracked) {
	if !t.listed && len(t.overs) > 0 && len(t.edits) > 0 {
		t.listed = true
		t.slot.hidden = append(t.slot.hidden, t.id)
		h.contests.hidden++
	}
}

// hiddenAt returns the hidden candidates at a place, in no order.
func (h *History) hiddenAt(at place) (found []candidate) {
	if !h.anyHidden() {
		return nil
	}
	d := &h.contests
	c := d.slots[at.slotKey()]
	if c == nil || len(c.hidden) == 0 {
		return nil
	}
	if c.stale {
		h.unlist(c)
	}
	for _, id := range c.hidden {
		if !h.isBuried(id) {
			found = append(found, candidate{id: id, edit: h.newest(d.tracked[id].edits)})
		}
	}
	if len(found) > maxUnseen {
		h.descend(found)
		found = found[:maxUnseen]
	}
	return found
}

// unlist takes out of a slot's list what was settled.
func (h *History) unlist(c *contest) {
	c.stale = false
	c.hidden = slices.DeleteFunc(c.hidden, func(id opID) bool {
		t := h.contests.tracked[id]
		if t.edits = slices.DeleteFunc(t.edits, func(e opID) bool { return h.settledBy(c.writes, t, e) }); len(t.edits) > 0 {
			return false
		}
		t.listed = false
		h.contests.hidden--
		return true
	})
}

// settledBy reports whether one of the latest writes to a slot was made knowing
// both an edit and that what it is in was overwritten.
func (h *History) settledBy(writes []opID, t *tracked, edit opID) bool {
	return slices.ContainsFunc(writes, func(w opID) bool { return h.sees(w, edit) && h.seesAny(w, t.overs) })
}

// newest returns the edit with the latest time, of equal ones that of the greatest
// change.
func (h *History) newest(edits []opID) opID {
	return slices.MaxFunc(edits, func(a, b opID) int {
		return cmp.Or(cmp.Compare(h.timeOf(a), h.timeOf(b)), h.compareNodes(a.node, b.node))
	})
}

// isBuried reports whether an object or counter was overwritten before the first
// branch, so that every edit that was collected knew of it.
func (h *History) isBuried(id opID) bool {
	d := &h.contests
	if d.buried == nil {
		d.buried = map[opID]bool{}
		for n := range d.base {
			h.bury(n)
		}
		d.grow(h, 24*len(d.buried))
	}
	return d.buried[id]
}

func (h *History) bury(n uint32) {
	for i := range h.nodes[n].c.ops {
		o := &h.nodes[n].c.ops[i]
		for _, r := range o.Pred {
			p := h.resolveRef(n, r)
			if isCounter := h.isCounter(p); isCounter && o.Action != Increment || makes(h.op(p).Action) {
				h.contests.buried[p] = true
			}
		}
	}
}
