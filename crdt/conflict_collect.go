package crdt

import "slices"

// contests are what views and lists of conflicts have to know beyond what is
// visible: which deletions, and which objects and counters that were overwritten or
// deleted, may be concurrent with something. It is collected when one of them asks,
// from the changes that came since the last time; a history that never branched has
// nothing of it.
type contests struct {
	scanned  uint32 // changes below were looked at,
	ops      int    // and as many operations of this one, if it is in the making
	branched bool
	base     uint32 // if branched: changes below are in the past of all after them
	slots    map[slotKey]*contest
	tracked  map[opID]*tracked
	buried   map[opID]bool // objects and counters that were overwritten below base; nil before it is needed
	deletes  bool          // there are deletions
	hidden   int           // how many entries the contests' hidden have
	size     int           // bytes, as counted by History.size
}

// slotKey names a slot.
type slotKey struct {
	obj, elem opID
	key       string
}

// contest is a slot in which something was deleted, or an object or counter
// overwritten.
type contest struct {
	deletions []opID
	live      []opID // those that no later operation on the slot has seen
	tracks    bool   // an object or counter was overwritten
	writes    []opID // since then: the latest operations, but for increments
	hidden    []opID // what was overwritten and has edits
	stale     bool   // something came since hidden was last looked through
}

// tracked is an object or counter that was edited or overwritten.
type tracked struct {
	id     opID
	in     *tracked // the object around it; nil in the root
	edits  []opID   // the latest edits in it, or increments, made not knowing that it was overwritten
	overs  []opID   // the earliest that overwrote or deleted it
	slot   *contest // if there are overs
	listed bool     // it is in slot.hidden
}

// maxUnseen is how many concurrent deletions of a slot, and how many of its hidden
// candidates, count: the greatest.
const maxUnseen = 64

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

// seesAny reports whether operation a was made knowing one of some others.
func (h *History) seesAny(a opID, others []opID) bool {
	return slices.ContainsFunc(others, func(b opID) bool { return h.sees(a, b) })
}

// unseen drops the operations that a later one, by, was made knowing.
func (h *History) unseen(ids []opID, by opID) []opID {
	return slices.DeleteFunc(ids, func(id opID) bool { return h.sees(by, id) })
}

// contested brings the collection up to date and reports whether there is
// anything in it that a view may heed.
func (h *History) contested() bool {
	d := &h.contests
	if end := uint32(len(h.nodes)); d.scanned < end {
		h.collect(end)
	}
	return d.deletes || d.hidden > 0
}

// anyHidden reports whether there may be a hidden candidate somewhere.
func (h *History) anyHidden() bool { return h.contested() && h.contests.hidden > 0 }

func (h *History) collect(end uint32) {
	d := &h.contests
	for i := d.scanned; i < end; i++ {
		if upTo := h.nodes[i].past.upTo; upTo < i && (!d.branched || upTo < d.base) {
			h.size -= d.size
			*d = contests{scanned: upTo, branched: true, base: upTo}
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

// collectFrom takes in what a change edits, overwrites and deletes, and what its
// operations have seen of earlier ones on the same slots.
func (h *History) collectFrom(n uint32) {
	d := &h.contests
	c := h.nodes[n].c
	for i := d.ops; i < len(c.ops); i++ {
		o := &c.ops[i]
		id := opID{ctr: uint32(c.startOp) + uint32(i), node: n}
		if o.Obj.Counter != 0 && (i == d.ops || o.Obj != c.ops[i-1].Obj) {
			for t := h.track(h.resolveRef(n, o.Obj)); t != nil; t = t.in {
				h.noteEdit(t, id)
			}
		}
		if o.Insert || o.Action == Mark {
			continue
		}
		if k, ok := h.slotKeyOf(id, o); ok {
			h.noteWrite(k, id, o)
		}
	}
}

// slotKeyOf returns the slot that an operation writes to; ok is false for
// characters of texts.
func (h *History) slotKeyOf(id opID, o *Op) (k slotKey, ok bool) {
	k = slotKey{obj: h.resolveRef(id.node, o.Obj), key: o.Key}
	switch {
	case o.InMap:
		return k, true
	case h.objects[k.obj].kind == MakeText:
		return k, false
	case o.Insert:
		k.elem = id
	default:
		k.elem = h.resolveRef(id.node, o.Elem)
	}
	return k, true
}

// noteWrite takes in an operation on a slot.
func (h *History) noteWrite(k slotKey, id opID, o *Op) {
	d := &h.contests
	at := d.slots[k]
	for _, r := range o.Pred {
		p := h.resolveRef(id.node, r)
		switch isCounter := h.isCounter(p); {
		case isCounter && o.Action == Increment:
			h.noteEdit(h.track(p), id)
		case isCounter || makes(h.op(p).Action):
			if at == nil {
				at = h.contestAt(k)
			}
			at.tracks = true
			h.noteOverwritten(h.track(p), at, id)
		}
	}
	deletes := o.Action == Del
	if at == nil && deletes {
		at = h.contestAt(k)
	}
	if at == nil {
		return
	}
	at.live = h.unseen(at.live, id)
	if deletes {
		d.deletes = true
		at.live = append(at.live, id)
		at.deletions = append(at.deletions, id)
		d.grow(h, 16)
	}
	if at.tracks && o.Action != Increment {
		at.writes = append(h.unseen(at.writes, id), id)
		at.stale = true
	}
}

func (h *History) contestAt(k slotKey) *contest {
	d := &h.contests
	at := d.slots[k]
	if at == nil {
		if d.slots == nil {
			d.slots = map[slotKey]*contest{}
		}
		at = &contest{}
		d.slots[k] = at
		d.grow(h, 210)
	}
	return at
}

func (d *contests) grow(h *History, n int) {
	d.size += n
	h.size += n
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
