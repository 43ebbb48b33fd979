package crdt

import "slices"

// Paths returns where a change that is held has written, ascending and each once:
// fields, list elements that it overwrote, and lists and texts in which it
// inserted or deleted. What is within an object that it made itself is not
// listed. Indices of elements are today's; what was deleted since, or lost a
// conflict, is named as if it were still there.
func (h *History) Paths(c *Change) []Path {
	var all []Path
	for i := range c.ops {
		o := &c.ops[i]
		if o.Obj.Actor == 0 && uint64(o.Obj.Counter) >= c.startOp {
			continue
		}
		obj := h.root
		if o.Obj.Counter != 0 {
			obj = h.objects[h.resolve(c, o.Obj)]
		}
		p := h.pathOf(obj)
		switch {
		case o.InMap:
			p = append(p, Step{Key: o.Key})
		case o.Action != Del && !o.Insert && obj.kind == MakeList:
			at, _ := obj.seq.index(h.resolve(c, o.Elem))
			p = append(p, Step{Index: at, InList: true})
		}
		if n := len(all); n == 0 || comparePaths(all[n-1], p) != 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, comparePaths)
	return slices.CompactFunc(all, func(p, q Path) bool { return comparePaths(p, q) == 0 })
}

// pathOf returns where an object is, whether it is shown or not.
func (h *History) pathOf(obj *object) Path {
	var p Path
	for obj != h.root {
		in := h.parent(obj.id)
		step, _ := h.stepTo(in, obj.id)
		p = append(p, step)
		obj = in
	}
	slices.Reverse(p)
	return p
}
