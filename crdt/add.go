package crdt

// Add checks a change against the history and takes it in. It reports false for
// one that is held already. What is refused leaves no trace; the error is
//
//   - *ParkError when a dependency is missing, or the change begins beyond the
//     record's last operation plus 1: keep it and offer it again;
//   - *ForkError when its actor has another change with that sequence number;
//   - *InvalidError when it contradicts the history (the rules are in doc.go).
func (h *History) Add(c *Change) (added bool, err error) {
	var room admissionRoom
	k := admission{h: h, c: c, node: uint32(len(h.nodes)),
		actors: room.actors[:0], deps: room.deps[:0], ids: room.ids[:0]}
	if held, err := k.admit(); held || err != nil {
		return false, err
	}
	if len(h.nodes) == 0 {
		h.root.fields.list = make([]field, 0, min(len(c.ops), 8)) // most records begin with all their fields
	}
	n := h.enter(c, k.past, k.maxOp, k.clocks)
	ids := k.ids
	for i := range c.ops {
		o := &c.ops[i]
		obj := h.root
		if ids[0].ctr != 0 {
			obj = h.objects[ids[0]]
		}
		id := opID{ctr: uint32(c.startOp) + uint32(i), node: n}
		h.apply(obj, o, id, ids[1], ids[2:2+len(o.Pred)])
		ids = ids[2+len(o.Pred):]
	}
	h.seal(n, k.deps)
	return true, nil
}

// apply takes in a checked operation: preds are no longer visible (a counter
// stays when it is incremented), and what it sets or makes is.
func (h *History) apply(obj *object, o *Op, id, elem opID, preds []opID) {
	if makes(o.Action) {
		h.makeObject(obj, o, id)
	}
	switch {
	case o.InMap:
		known := len(obj.fields.list)
		s := obj.fields.put(o.Key)
		h.size += 64 * (len(obj.fields.list) - known)
		before := s.empty()
		h.change(s, o, id, preds)
		obj.visible += int(b2u(before)) - int(b2u(s.empty()))
	case o.Insert:
		e := element{id: id}
		if o.Action != Mark {
			e.slot.first = id
		}
		obj.seq.insert(elem, e)
		h.size += 72
	default:
		leaf, i := obj.seq.locate(elem)
		h.change(&leaf.elems[i].slot, o, id, preds)
		obj.seq.resize(leaf, i)
	}
}

// change applies an operation to its slot.
func (h *History) change(s *slot, o *Op, id opID, preds []opID) {
	for _, p := range preds {
		if o.Action == Increment && h.isCounter(p) {
			h.increase(p, o.Value.Int())
			continue
		}
		s.remove(h, p)
	}
	if o.Action == Set || makes(o.Action) {
		s.add(h, id)
	}
}

func (h *History) isCounter(id opID) bool {
	o := h.op(id)
	return o.Action == Set && o.Value.kind == KindCounter
}

func (h *History) increase(id opID, by int64) {
	if h.sums == nil {
		h.sums = make(map[opID]int64)
	}
	h.sums[id] += by
	h.size += 8
}

func (h *History) makeObject(parent *object, o *Op, id opID) {
	obj := &object{id: id, kind: o.Action, depth: parent.depth + 1}
	if o.Action != MakeMap {
		obj.seq = newSequence(h, o.Action == MakeText)
	}
	if h.objects == nil {
		h.objects = make(map[opID]*object)
	}
	h.objects[id] = obj
	h.size += 240
}
