package crdt

// Draft is a change to be: whatever a test wants to have checked.
type Draft struct {
	Actors  []ActorID
	Seq     uint64
	StartOp uint64
	Deps    []Hash
	Time    int64
	Ops     []Op
}

// Build encodes a draft and parses it again.
func Build(d Draft) (*Change, error) {
	c := &Change{actors: d.Actors, seq: d.Seq, startOp: d.StartOp, deps: d.Deps, time: d.Time, ops: d.Ops}
	if err := c.encode(); err != nil {
		return nil, err
	}
	return ParseChange(c.raw)
}

// Element is an op id as the sequence keeps it.
type Element struct{ Counter, Actor uint32 }

// Sequence is a list of elements outside of a history, for tests of its order.
type Sequence struct {
	h *History
	s *sequence
}

// NewSequence returns a sequence whose elements are by the given actors.
func NewSequence(actors ...ActorID) *Sequence {
	h := NewHistory()
	for i, a := range actors {
		ops := make([]Op, 1)
		ops[0] = Op{Action: Set, Value: String("x")}
		h.nodes = append(h.nodes, node{c: &Change{actors: []ActorID{a}, startOp: 1, ops: ops}, actor: uint32(i)})
		h.actors = append(h.actors, actorLog{id: a})
	}
	return &Sequence{h: h, s: newSequence(h, false)}
}

func (e Element) id() opID { return opID{ctr: e.Counter, node: e.Actor} }

// Insert places e behind ref, the head if zero.
func (s *Sequence) Insert(ref, e Element, visible bool) {
	el := element{id: e.id()}
	if visible {
		el.slot.first = e.id()
	}
	s.s.insert(ref.id(), el)
}

// SetVisible shows or hides an element.
func (s *Sequence) SetVisible(e Element, visible bool) {
	leaf, i := s.s.locate(e.id())
	leaf.elems[i].slot = slot{}
	if visible {
		leaf.elems[i].slot.first = e.id()
	}
	s.s.resize(leaf, i)
}

// Elements returns all, in order.
func (s *Sequence) Elements() (all []Element) {
	for e := range s.s.all {
		all = append(all, Element{e.id.ctr, e.id.node})
	}
	return all
}

// Len returns the number of visible elements.
func (s *Sequence) Len() int { return s.s.len() }

// At returns the visible element with an index.
func (s *Sequence) At(i int) Element {
	leaf, k, _ := s.s.at(i)
	return Element{leaf.elems[k].id.ctr, leaf.elems[k].id.node}
}

// Before reports whether a stands before b.
func (s *Sequence) Before(a, b Element) bool { return s.s.before(a.id(), b.id()) }

// Check verifies every node's sums and links.
func (s *Sequence) Check() bool { return s.s.check(s.s.root) }

func (s *sequence) check(n *seqNode) bool {
	was := *n
	for _, k := range n.kids {
		if k.parent != n || !s.check(k) {
			return false
		}
	}
	for i := range n.elems {
		if leaf, k := s.locate(n.elems[i].id); leaf != n || k != i {
			return false
		}
	}
	s.sum(n)
	return n.width == was.width && n.least == was.least && len(n.elems) <= leafMax && len(n.kids) <= innerMax
}

// InPast reports whether a change is, by the stored clocks,
// in the past of the change with these dependencies.
func (h *History) InPast(deps []Hash, author ActorID, of *Change) bool {
	k := &admission{h: h, c: &Change{actors: []ActorID{author}}, actors: []uint32{noActor}}
	if a, ok := h.actorOf(author); ok {
		k.actors[0] = a
	}
	for _, d := range deps {
		n, _ := h.nodeOf(d)
		k.deps = append(k.deps, n)
	}
	k.past, _, _ = h.pastOf(k.deps, k.actors[0])
	n, _ := h.nodeOf(of.hash)
	return k.covers(n)
}

// Diff exposes diff: it returns b as made from a by the script, and how many
// items the script deletes and inserts.
func Diff(a, b []int) (made []int, distance int) {
	at := 0
	for _, s := range diff(a, b) {
		made = append(made, a[at:s.a]...)
		made = append(made, b[s.b:s.b+s.ins]...)
		at = s.a + s.del
		distance += s.del + s.ins
	}
	return append(made, a[at:]...), distance
}

// WithHash returns a copy of c under another hash.
func WithHash(c *Change, hash Hash) *Change {
	other := *c
	other.hash = hash
	return &other
}
