package crdt

import "slices"

func (p place) slotKey() slotKey { return slotKey{p.obj.id, p.elem, p.key} }

// unseenAt returns the candidates at a place that are no visible operations: hidden
// ones, and deletions.
func (h *History) unseenAt(at place) []candidate {
	if !h.contested() || at.obj.kind == MakeText {
		return nil
	}
	all := h.hiddenAt(at)
	var deletions []opID
	switch {
	case !at.slot.empty():
		deletions = h.deletionsAt(at)
	case len(all) > 0:
		deletions = h.emptiers(at)
	}
	for _, id := range h.greatest(deletions) {
		all = append(all, candidate{id: id, deleted: true})
	}
	return all
}

func (h *History) greatest(ids []opID) []opID {
	if len(ids) > maxUnseen {
		slices.SortFunc(ids, func(a, b opID) int { return h.compare(b, a) })
		ids = ids[:maxUnseen]
	}
	return ids
}

// deletionsAt returns the deletions at a place that are concurrent with what is
// visible there: made without seeing it, and not seen by it.
func (h *History) deletionsAt(at place) []opID {
	d := h.contests.slots[at.slotKey()]
	if d == nil {
		return nil
	}
	var concurrent []opID
	for _, id := range d.live {
		if !h.ordered(id, at.slot) {
			concurrent = append(concurrent, id)
		}
	}
	return h.emptied(concurrent, at.slot, d)
}

// ordered reports whether a deletion was made knowing what is visible in a slot, or
// the reverse.
func (h *History) ordered(id opID, s *slot) bool {
	for v := range s.all {
		if h.sees(id, v) || h.sees(v, id) {
			return true
		}
	}
	return false
}

// emptiers returns the deletions that nothing followed at a place where nothing is
// visible. Where several only together left nothing, all of them did.
func (h *History) emptiers(at place) []opID {
	d := h.contests.slots[at.slotKey()]
	if found := h.emptied(d.live, at.slot, d); found != nil {
		return found
	}
	return slices.Clone(d.live)
}

// emptied returns those of some deletions that left their slot empty. One that
// settles a conflict leaves the winner, and is no deletion of the field.
func (h *History) emptied(ids []opID, s *slot, d *contest) (found []opID) {
	if len(ids) == 0 {
		return nil
	}
	overwriters := h.overwriters(s, d)
	for _, id := range ids {
		empty := true
		for p, by := range overwriters {
			// Which deletes itself what it has seen is the usual case.
			if h.sees(id, p) && !slices.Contains(by, id) && !h.seesAny(id, by) {
				empty = false
				break
			}
		}
		if empty {
			found = append(found, id)
		}
	}
	return found
}

// overwriters returns the operations that overwrote whatever was in a slot since the
// first branch.
func (h *History) overwriters(s *slot, d *contest) map[opID][]opID {
	overwriters := map[opID][]opID{}
	todo := slices.Clone(d.deletions)
	for v := range s.all {
		todo = append(todo, v)
	}
	for len(todo) > 0 {
		by := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, r := range h.op(by).Pred {
			p := h.resolveRef(by.node, r)
			if h.op(p).Action == Increment {
				continue
			}
			if overwriters[p] == nil && p.node >= h.contests.base {
				todo = append(todo, p)
			}
			overwriters[p] = append(overwriters[p], by)
		}
	}
	return overwriters
}
