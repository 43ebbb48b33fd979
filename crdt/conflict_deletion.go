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
func (h *History) deletionsAt(at place) (found []opID) {
	d := h.contests.slots[at.slotKey()]
	if d == nil {
		return nil
	}
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
	return found
}

// emptiers returns the deletions that nothing followed at a place where nothing is
// visible. Where several only together left nothing, all of them did.
func (h *History) emptiers(at place) (found []opID) {
	d := h.contests.slots[at.slotKey()]
	for _, id := range d.live {
		if h.emptied(id, at.slot, d) {
			found = append(found, id)
		}
	}
	if found == nil {
		return slices.Clone(d.live)
	}
	return found
}

// emptied reports whether a deletion left its slot empty. One that settles a
// conflict leaves the winner, and is no deletion of the field.
func (h *History) emptied(id opID, s *slot, d *contest) bool {
	overwriters := map[opID][]opID{}
	var todo []opID
	for v := range s.all {
		todo = append(todo, v)
	}
	todo = append(todo, d.deletions...)
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
	for p, by := range overwriters {
		if h.sees(id, p) && !slices.ContainsFunc(by, func(o opID) bool { return o == id || h.sees(id, o) }) {
			return false
		}
	}
	return true
}
