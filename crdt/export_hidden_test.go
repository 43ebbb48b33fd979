package crdt

// Hidden returns all hidden candidates, wherever they are, and the change of the
// edit that each shows.
func (h *History) Hidden() map[OpID]Hash {
	found := map[OpID]Hash{}
	h.contested()
	for k := range h.contests.slots {
		obj := h.root
		if k.obj.ctr != 0 {
			obj = h.objects[k.obj]
		}
		at := place{obj: obj, elem: k.elem, key: k.key}
		if obj.kind == MakeMap {
			at.slot = obj.fields.get(k.key)
		} else {
			leaf, i := obj.seq.locate(k.elem)
			at.slot = &leaf.elems[i].slot
		}
		for _, c := range h.hiddenAt(at) {
			found[h.publicID(c.id)] = h.nodes[c.edit.node].c.hash
		}
	}
	return found
}
