package crdt

// Widths of the sequence tree's nodes.
const (
	leafMax  = 64 // elements of a leaf
	innerMax = 32 // kids of an inner node
)

// sequence is a list's or text's elements in order, deleted ones and marks
// included: a B-tree whose leaves hold the elements. Every node sums the width
// of what is below it (for lookups by index) and knows the least op id below it
// (for the insert rule), so each operation is logarithmic whatever the order of
// ids; an index from id to leaf gives the way back.
type sequence struct {
	h     *History
	text  bool
	root  *seqNode
	where map[opID]*seqNode // nil while the root is a leaf
}

// seqNode is a leaf (elems) or an inner node (kids).
type seqNode struct {
	parent *seqNode
	kids   []*seqNode
	elems  []element
	width  int  // visible elements of a list, code points of a text
	least  opID // zero in an empty leaf
	marks  int32
	known  bool // utf16 and bytes are up to date, here and below
	utf16  int  // of a text: what is visible, in code units and in bytes
	bytes  int
}

// element is one place of a sequence, named by the operation that inserted it.
type element struct {
	id    opID
	slot  slot
	width int32 // index positions it takes: kept, since looking them up costs cache misses
	mark  bool  // an end of a mark, never visible
}

func newSequence(h *History, text bool) *sequence {
	return &sequence{h: h, text: text, root: &seqNode{}}
}

// insert places e by the rule of replicated growable arrays (Roh et al. 2011,
// as Automerge applies it): behind the element ref (the head if zero) and behind
// whatever follows there with a greater id.
func (s *sequence) insert(ref opID, e element) {
	leaf, i := s.firstLeaf(), 0
	if ref.ctr != 0 {
		leaf, i = s.locate(ref)
		i++
	}
	leaf, i = s.skipGreater(leaf, i, e.id)
	if leaf.elems == nil && s.text {
		leaf.elems = make([]element, 0, 8)
	}
	leaf.elems = append(leaf.elems, element{})
	copy(leaf.elems[i+1:], leaf.elems[i:])
	leaf.elems[i] = e
	if s.where != nil {
		s.where[e.id] = leaf
	}
	e.width = s.widthOf(&e.slot)
	e.mark = e.slot.empty() // whatever else is inserted is visible at first
	leaf.elems[i].width, leaf.elems[i].mark = e.width, e.mark
	leaf.forget()
	for n := leaf; n != nil; n = n.parent {
		n.width += int(e.width)
		n.marks += int32(b2u(e.mark))
		if n.least.ctr == 0 || s.h.less(e.id, n.least) {
			n.least = e.id
		}
	}
	if len(leaf.elems) > leafMax {
		s.splitLeaf(leaf)
	}
}

func (s *sequence) firstLeaf() *seqNode {
	n := s.root
	for n.kids != nil {
		n = n.kids[0]
	}
	return n
}

// locate returns the place of an element that exists.
func (s *sequence) locate(id opID) (*seqNode, int) {
	leaf := s.root
	if s.where != nil {
		leaf = s.where[id]
	}
	for i := range leaf.elems {
		if leaf.elems[i].id == id {
			return leaf, i
		}
	}
	panic("crdt: element is not in its leaf") // unreachable: checked before anything is applied
}

// skipGreater returns the first place from (leaf, i) on that holds a lesser id
// than the given one, or the end.
func (s *sequence) skipGreater(leaf *seqNode, i int, id opID) (*seqNode, int) {
	for ; i < len(leaf.elems); i++ {
		if s.h.less(leaf.elems[i].id, id) {
			return leaf, i
		}
	}
	n := leaf
	for n.parent != nil {
		p := n.parent
		for k := p.indexOf(n) + 1; k < len(p.kids); k++ {
			if s.h.less(p.kids[k].least, id) {
				return s.firstLess(p.kids[k], id)
			}
		}
		n = p
	}
	for n.kids != nil {
		n = n.kids[len(n.kids)-1]
	}
	return n, len(n.elems)
}

// firstLess returns the first element below n with a lesser id; there is one.
func (s *sequence) firstLess(n *seqNode, id opID) (*seqNode, int) {
	for n.kids != nil {
		k := 0
		for !s.h.less(n.kids[k].least, id) {
			k++
		}
		n = n.kids[k]
	}
	i := 0
	for !s.h.less(n.elems[i].id, id) {
		i++
	}
	return n, i
}

func (n *seqNode) indexOf(kid *seqNode) int {
	for i, k := range n.kids {
		if k == kid {
			return i
		}
	}
	return -1
}

func (s *sequence) splitLeaf(leaf *seqNode) {
	if s.where == nil {
		s.where = make(map[opID]*seqNode, 4*leafMax)
		for i := range leaf.elems {
			s.where[leaf.elems[i].id] = leaf
		}
	}
	half := len(leaf.elems) / 2
	right := &seqNode{elems: append(make([]element, 0, leafMax+1), leaf.elems[half:]...)}
	clear(leaf.elems[half:])
	leaf.elems = leaf.elems[:half]
	for i := range right.elems {
		s.where[right.elems[i].id] = right
	}
	s.sum(leaf)
	s.sum(right)
	s.adopt(leaf, right)
}

// adopt puts right next to left, which was split.
func (s *sequence) adopt(left, right *seqNode) {
	p := left.parent
	if p == nil {
		p = &seqNode{kids: make([]*seqNode, 0, innerMax+1)}
		p.kids = append(p.kids, left, right)
		left.parent, right.parent = p, p
		s.root = p
		s.sum(p)
		return
	}
	i := p.indexOf(left) + 1
	p.kids = append(p.kids, nil)
	copy(p.kids[i+1:], p.kids[i:])
	p.kids[i] = right
	right.parent = p
	if len(p.kids) <= innerMax {
		return
	}
	half := len(p.kids) / 2
	next := &seqNode{kids: append(make([]*seqNode, 0, innerMax+1), p.kids[half:]...)}
	clear(p.kids[half:])
	p.kids = p.kids[:half]
	for _, k := range next.kids {
		k.parent = next
	}
	s.sum(p)
	s.sum(next)
	s.adopt(p, next)
}

// sum computes a node's aggregates from what is directly below it.
func (s *sequence) sum(n *seqNode) {
	n.width, n.least, n.marks, n.known = 0, opID{}, 0, false
	for i := range n.elems {
		n.width += int(n.elems[i].width)
		n.marks += int32(b2u(n.elems[i].mark))
		if i == 0 || s.h.less(n.elems[i].id, n.least) {
			n.least = n.elems[i].id
		}
	}
	for i, k := range n.kids {
		n.width += k.width
		n.marks += k.marks
		if i == 0 || s.h.less(k.least, n.least) {
			n.least = k.least
		}
	}
}

// resize makes good for a change of an element's slot.
func (s *sequence) resize(leaf *seqNode, i int) {
	e := &leaf.elems[i]
	leaf.forget()
	by := s.widthOf(&e.slot) - e.width
	if by == 0 {
		return
	}
	e.width += by
	for n := leaf; n != nil; n = n.parent {
		n.width += int(by)
	}
}

// widthOf returns how many index positions a slot takes.
func (s *sequence) widthOf(sl *slot) int32 {
	if sl.empty() {
		return 0
	}
	if !s.text {
		return 1
	}
	return s.h.op(sl.first).textWidth()
}

// len returns the number of index positions.
func (s *sequence) len() int { return s.root.width }

// at returns the element that covers an index, 0 <= index < len, and how far
// into it the index lies.
func (s *sequence) at(index int) (leaf *seqNode, i, offset int) {
	n := s.root
	for n.kids != nil {
		k := 0
		for index >= n.kids[k].width {
			index -= n.kids[k].width
			k++
		}
		n = n.kids[k]
	}
	for i = range n.elems {
		w := int(n.elems[i].width)
		if index < w {
			return n, i, index
		}
		index -= w
	}
	panic("crdt: sequence widths do not add up") // unreachable: index < len
}

// all calls yield for each element in order.
func (s *sequence) all(yield func(*element) bool) { s.root.walk(yield) }

func (n *seqNode) walk(yield func(*element) bool) bool {
	for i := range n.elems {
		if !yield(&n.elems[i]) {
			return false
		}
	}
	for _, k := range n.kids {
		if !k.walk(yield) {
			return false
		}
	}
	return true
}

// next returns the place behind (leaf, i), nil at the end.
func (s *sequence) next(leaf *seqNode, i int) (*seqNode, int) {
	if i+1 < len(leaf.elems) {
		return leaf, i + 1
	}
	n := leaf
	for n.parent != nil {
		p := n.parent
		if k := p.indexOf(n) + 1; k < len(p.kids) {
			n = p.kids[k]
			for n.kids != nil {
				n = n.kids[0]
			}
			return n, 0
		}
		n = p
	}
	return nil, 0
}

// before reports whether element a stands before element b; both exist.
func (s *sequence) before(a, b opID) bool {
	n, i := s.locate(a)
	m, j := s.locate(b)
	for n != m {
		if n.parent == m.parent {
			return n.parent.indexOf(n) < n.parent.indexOf(m)
		}
		n, m = n.parent, m.parent
	}
	return i < j
}
