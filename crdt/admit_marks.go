package crdt

// marks is what is needed to compare places of a sequence before a change is
// applied to it. All of the change's own elements have greater ids than
// everything in its past; so each stands between the element of the past that it
// goes back to, its anchor, and what follows there, and those of one anchor are
// ordered among themselves as in a sequence of their own.
type marks struct {
	anchors map[opID]opID      // of the change's own elements
	behind  map[opID]*sequence // by anchor, zero for the head
	done    int                // operations of the change that were looked at
}

// mark checks that the end of a mark stands after its begin in list order. Both
// were inserted in a row, so that holds if the end refers to the begin, or to an
// element after the one that the begin refers to.
func (k *admission) mark(i int, o *Op, obj, elem opID) error {
	if o.MarkName != "" {
		return nil // looked at with its end
	}
	begin := opID{ctr: uint32(k.c.startOp) + uint32(i) - 1, node: k.node}
	if elem == begin {
		return nil
	}
	var ref opID
	if b := &k.c.ops[i-1]; b.Elem.Counter != 0 {
		var err error
		if ref, _, err = k.refer(i-1, b.Elem); err != nil {
			return err
		}
	}
	if elem == ref || elem.ctr == 0 {
		return k.bad(i, "ends a mark before its begin")
	}
	if ref.ctr != 0 && !k.stands(i, o.Obj, obj, ref, elem) {
		return k.bad(i, "ends a mark before its begin")
	}
	return nil
}

// stands reports whether a stands before b; both are elements of obj, from the
// past or from the operations before i, and a is not b.
func (k *admission) stands(i int, objRef Ref, obj, a, b opID) bool {
	m := k.marksOf(i, objRef, obj)
	x, y := m.anchor(k, a), m.anchor(k, b)
	switch {
	case x != y:
		return x.ctr == 0 || y.ctr != 0 && k.h.objects[obj].seq.before(x, y)
	case a == x:
		return true
	case b == x:
		return false
	}
	return m.behind[x].before(a, b)
}

func (m *marks) anchor(k *admission, id opID) opID {
	if id.node != k.node {
		return id
	}
	return m.anchors[id]
}

// marksOf returns the places of obj, with the elements of all operations before
// i.
func (k *admission) marksOf(i int, objRef Ref, obj opID) *marks {
	if k.marks == nil {
		k.marks = map[opID]*marks{}
	}
	m := k.marks[obj]
	if m == nil {
		m = &marks{anchors: map[opID]opID{}, behind: map[opID]*sequence{}}
		k.marks[obj] = m
	}
	for ; m.done < i; m.done++ {
		o := &k.c.ops[m.done]
		if o.Insert && o.Obj == objRef {
			m.place(k, m.done, o)
		}
	}
	return m
}

func (m *marks) place(k *admission, i int, o *Op) {
	id := opID{ctr: uint32(k.c.startOp) + uint32(i), node: k.node}
	var ref opID
	if o.Elem.Counter != 0 {
		ref, _, _ = k.refer(i, o.Elem) // was checked
	}
	anchor := m.anchor(k, ref)
	seq := m.behind[anchor]
	if seq == nil {
		seq = newSequence(k.h, false)
		m.behind[anchor] = seq
	}
	m.anchors[id] = anchor
	if ref == anchor {
		ref = opID{}
	}
	seq.insert(ref, element{id: id})
}
