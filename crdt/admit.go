package crdt

// admission is the check of one change against a history, before anything is
// changed. It notes the IDs that the operations' references stand for, in the
// order that apply reads them again.
type admission struct {
	h      *History
	c      *Change
	node   uint32   // the index that the change will have
	actors []uint32 // local indexes of c.actors; noActor for those without changes
	deps   []uint32
	past   past
	maxOp  uint32 // the greatest op counter in the past
	clocks int    // bytes that the past takes
	ids    []opID
	made   map[int]uint8   // nesting depth of objects made by the change
	marks  map[opID]*marks // only for changes with marks
}

// admissionRoom has room for the lists of most changes' admissions, in one allocation.
type admissionRoom struct {
	actors, deps [2]uint32
	ids          [12]opID
}

const noActor = ^uint32(0)

// admit checks the change. held says that it is in the history already.
func (k *admission) admit() (held bool, err error) {
	for _, a := range k.c.actors {
		i, ok := k.h.actorOf(a)
		if !ok {
			i = noActor
		}
		k.actors = append(k.actors, i)
	}
	if held, err := k.known(); held || err != nil {
		return held, err
	}
	if err := k.place(); err != nil {
		return false, err
	}
	for i := range k.c.ops {
		if err := k.op(i); err != nil {
			return false, err
		}
	}
	return false, nil
}

// known reports whether the change is held. Its actor's sequence number leads to
// it, or to another one, which is a fork.
func (k *admission) known() (held bool, err error) {
	a := k.actors[0]
	if a == noActor {
		return false, nil
	}
	spans := k.h.actors[a].spans
	if k.c.seq > uint64(len(spans)) {
		return false, nil
	}
	have := k.h.nodes[spans[k.c.seq-1].node].c
	if have.hash == k.c.hash {
		return true, nil
	}
	return false, &ForkError{Actor: k.c.actors[0], Seq: k.c.seq, Have: have.hash, Got: k.c.hash}
}

// place finds the dependencies and checks the sequence number and start op.
func (k *admission) place() error {
	h, c := k.h, k.c
	var missing []Hash
	for _, d := range c.deps {
		n, ok := h.nodeOf(d)
		if !ok {
			missing = append(missing, d)
			continue
		}
		k.deps = append(k.deps, n)
	}
	if missing != nil {
		return &ParkError{Missing: missing}
	}
	k.past, k.maxOp, k.clocks = h.pastOf(k.deps, k.actors[0])
	if k.clocks > 0 && h.clocks+k.clocks > maxClocks+clocksPerChange*len(h.nodes) {
		return invalid(CodeSize, "the branches of the record's history are too many and too entangled")
	}
	if err := k.sequence(); err != nil {
		return err
	}
	start := c.startOp
	switch {
	case start <= uint64(k.maxOp):
		return invalid(CodeSequence, "start op %d, but its past reaches %d", start, k.maxOp)
	case len(c.ops) == 0 && start != uint64(k.maxOp)+1:
		return invalid(CodeSequence, "start op %d of a change without operations, not %d", start, k.maxOp+1)
	case start > uint64(h.maxOp)+1 && !h.part:
		return &ParkError{Gap: true}
	}
	return nil
}

// sequence checks that the change follows its actor's previous one, and is made
// on top of it.
func (k *admission) sequence() error {
	var spans []span
	if k.actors[0] != noActor {
		spans = k.h.actors[k.actors[0]].spans
	}
	held := len(spans)
	if k.c.seq != uint64(held)+1 {
		return invalid(CodeSequence, "sequence %d of %s follows %d", k.c.seq, k.c.actors[0], held)
	}
	if held > 0 && !k.covers(spans[held-1].node) {
		return invalid(CodeSequence, "it does not depend on its actor's change %d", held)
	}
	return nil
}

// covers reports whether a change is in the past of the one at hand.
func (k *admission) covers(node uint32) bool {
	if node < k.past.upTo {
		return true
	}
	n := &k.h.nodes[node]
	if len(k.deps) == 1 && n.actor == k.h.nodes[k.deps[0]].actor {
		return n.c.seq <= k.h.nodes[k.deps[0]].c.seq // its own entry is implied
	}
	return k.past.clock.get(n.actor) >= uint32(n.c.seq)
}

// own returns the operation of the change at hand that r names.
func (k *admission) own(r Ref) (*Op, bool) {
	if r.Actor != 0 || uint64(r.Counter) < k.c.startOp {
		return nil, false
	}
	return &k.c.ops[uint64(r.Counter)-k.c.startOp], true
}

// refer returns the operation that operation i names: one before it in the
// change, or one in the change's past.
func (k *admission) refer(i int, r Ref) (opID, *Op, error) {
	if op, ok := k.own(r); ok {
		if uint64(r.Counter) >= k.c.startOp+uint64(i) {
			return opID{}, nil, k.bad(i, "refers to a later one")
		}
		return opID{ctr: r.Counter, node: k.node}, op, nil
	}
	a := k.actors[r.Actor]
	if a == noActor {
		return opID{}, nil, k.bad(i, "refers to an unknown actor")
	}
	id, ok := k.h.find(a, r.Counter)
	if !ok {
		return opID{}, nil, k.bad(i, "refers to an operation that does not exist")
	}
	if !k.covers(id.node) {
		return opID{}, nil, k.bad(i, "refers to an operation outside its past")
	}
	return id, k.h.op(id), nil
}

func (k *admission) bad(i int, what string) error {
	return invalid(CodeReference, "operation %d %s", k.c.startOp+uint64(i), what)
}

// op checks the i-th operation's references.
func (k *admission) op(i int) error {
	o := &k.c.ops[i]
	obj, err := k.object(i, o)
	if err != nil {
		return err
	}
	elem := opID{}
	if !o.InMap && o.Elem.Counter != 0 {
		if elem, err = k.element(i, o); err != nil {
			return err
		}
	}
	k.ids = append(k.ids, obj, elem)
	if err := k.preds(i, o, elem); err != nil {
		return err
	}
	if o.Action == Mark {
		return k.mark(i, o, obj, elem)
	}
	return nil
}

// object checks the object that an operation edits.
func (k *admission) object(i int, o *Op) (obj opID, err error) {
	inMap := true
	if o.Obj.Counter != 0 {
		var maker *Op
		if obj, maker, err = k.refer(i, o.Obj); err != nil {
			return obj, err
		}
		switch maker.Action {
		case MakeMap:
		case MakeList, MakeText:
			inMap = false
		default:
			return obj, k.bad(i, "edits what is no object")
		}
	}
	if o.InMap != inMap {
		return obj, k.bad(i, "edits a map as a sequence, or the reverse")
	}
	if !makes(o.Action) {
		return obj, nil
	}
	depth := k.depth(obj) + 1
	if int(depth) >= MaxDepth {
		return obj, invalid(CodeSize, "more than %d objects within each other", MaxDepth)
	}
	if k.made == nil {
		k.made = make(map[int]uint8)
	}
	k.made[i] = depth
	return obj, nil
}

func makes(a Action) bool { return a == MakeMap || a == MakeList || a == MakeText }

func (k *admission) depth(obj opID) uint8 {
	switch {
	case obj.ctr == 0:
		return 0
	case obj.node == k.node:
		return k.made[int(uint64(obj.ctr)-k.c.startOp)]
	}
	return k.h.objects[obj].depth
}

// element checks the element that an operation edits or inserts behind.
func (k *admission) element(i int, o *Op) (opID, error) {
	elem, maker, err := k.refer(i, o.Elem)
	if err != nil {
		return elem, err
	}
	if !maker.Insert || !k.sameRef(elem, maker.Obj, o.Obj) {
		return elem, k.bad(i, "names an element that is not in its object")
	}
	if !o.Insert && maker.Action == Mark {
		return elem, k.bad(i, "edits a mark")
	}
	return elem, nil
}

// sameRef reports whether r, of the change that id belongs to, names the same
// operation as own, of the change at hand.
func (k *admission) sameRef(id opID, r, own Ref) bool {
	if r.Counter != own.Counter {
		return false
	}
	if id.node == k.node || r.Counter == 0 {
		return r == own
	}
	return k.h.nodes[id.node].c.actors[r.Actor] == k.c.actors[own.Actor]
}

// preds checks the operations that one overwrites.
func (k *admission) preds(i int, o *Op, elem opID) error {
	counters := 0
	for n, r := range o.Pred {
		id, p, err := k.refer(i, r)
		if err != nil {
			return err
		}
		if !k.sameSlot(id, p, o, elem) {
			return k.bad(i, "has a predecessor of another key or element")
		}
		switch p.Action {
		case Del, Mark:
			return k.bad(i, "has a deletion or a mark for a predecessor")
		case Increment:
			// The core keeps no deletions in what it saves: it makes them again
			// from their first predecessor, which has to have set something.
			if o.Action == Del && n == 0 {
				return k.bad(i, "deletes an increment rather than what it increments")
			}
		case Set:
			counters += int(b2u(p.Value.kind == KindCounter))
		}
		k.ids = append(k.ids, id)
	}
	if o.Action == Increment && counters == 0 {
		return k.bad(i, "increments what is no counter")
	}
	return nil
}

// sameSlot reports whether p, named id, wrote to the slot that o writes to.
func (k *admission) sameSlot(id opID, p, o *Op, elem opID) bool {
	if !k.sameRef(id, p.Obj, o.Obj) || p.InMap != o.InMap {
		return false
	}
	if o.InMap {
		return p.Key == o.Key
	}
	if p.Insert {
		return id == elem
	}
	return k.sameRef(id, p.Elem, o.Elem)
}
