package crdt

import "unicode/utf8"

// Unit is what positions in a text are counted in.
type Unit uint8

// Units of positions. Everything in this package counts in code points unless it
// says otherwise; JavaScript counts in UTF-16 code units, Go and most editors'
// protocols in one of the three.
const (
	CodePoints Unit = iota
	UTF16           // code units: 2 for a character beyond U+FFFF
	UTF8            // bytes
)

// widthIn returns how much of a text is visible below n, in a unit.
func (n *seqNode) widthIn(h *History, u Unit) int {
	if u == CodePoints {
		return n.width
	}
	n.count(h)
	if u == UTF16 {
		return n.utf16
	}
	return n.bytes
}

// count brings the sums of code units and bytes up to date. Edits only forget
// them, so that they cost nothing while nobody asks; after an edit a few nodes on
// one path are counted anew.
func (n *seqNode) count(h *History) {
	if n.known {
		return
	}
	n.utf16, n.bytes, n.known = 0, 0, true
	for i := range n.elems {
		if e := &n.elems[i]; e.width > 0 {
			c := h.char(e.slot.first)
			n.utf16 += widthOfString(c, UTF16)
			n.bytes += len(c)
		}
	}
	for _, k := range n.kids {
		k.count(h)
		n.utf16 += k.utf16
		n.bytes += k.bytes
	}
}

// forget says that something below n has changed.
func (n *seqNode) forget() {
	for ; n != nil && n.known; n = n.parent {
		n.known = false
	}
}

func widthOfString(s string, u Unit) int {
	if u == UTF8 {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += widthOfRune(r, u)
	}
	return n
}

func widthOfRune(r rune, u Unit) int {
	switch {
	case u == UTF8:
		return utf8.RuneLen(r)
	case u == UTF16 && r > 0xFFFF:
		return 2
	}
	return 1
}

// convert turns a position of a text, 0 <= pos <= its length, from one unit into
// another. Within a character it is the character's beginning.
func (s *sequence) convert(pos int, from, to Unit) int {
	n, at := s.root, 0
	if pos >= n.widthIn(s.h, from) {
		return n.widthIn(s.h, to)
	}
	for n.kids != nil {
		k := 0
		for w := n.kids[k].widthIn(s.h, from); pos >= w; w = n.kids[k].widthIn(s.h, from) {
			pos -= w
			at += n.kids[k].widthIn(s.h, to)
			k++
		}
		n = n.kids[k]
	}
	for i := range n.elems {
		if n.elems[i].width == 0 {
			continue
		}
		for _, r := range s.h.char(n.elems[i].slot.first) {
			w := widthOfRune(r, from)
			if pos < w {
				return at
			}
			pos -= w
			at += widthOfRune(r, to)
		}
	}
	return at
}

// index returns how many positions stand before an element that exists, and how
// many it takes itself: none if it is deleted.
func (s *sequence) index(id opID) (before, width int) {
	n, i := s.locate(id)
	for k := range i {
		before += int(n.elems[k].width)
	}
	width = int(n.elems[i].width)
	for ; n.parent != nil; n = n.parent {
		for _, k := range n.parent.kids {
			if k == n {
				break
			}
			before += k.width
		}
	}
	return before, width
}

// shown returns the place of the first element, from (leaf, i) on, that is
// visible or a mark; nil if there is none. It passes over what is deleted without
// looking at each.
func (s *sequence) shown(leaf *seqNode, i int) (*seqNode, int) {
	n := leaf
	for ; i < len(n.elems); i++ {
		if e := &n.elems[i]; e.width > 0 || e.mark {
			return n, i
		}
	}
	for p := n.parent; p != nil; n, p = p, p.parent {
		for k := p.indexOf(n) + 1; k < len(p.kids); k++ {
			if q := p.kids[k]; q.width > 0 || q.marks > 0 {
				return s.firstShown(q)
			}
		}
	}
	return nil, 0
}

// firstShown returns the first such element below n; there is one.
func (s *sequence) firstShown(n *seqNode) (*seqNode, int) {
	for n.kids != nil {
		k := 0
		for n.kids[k].width == 0 && n.kids[k].marks == 0 {
			k++
		}
		n = n.kids[k]
	}
	i := 0
	for n.elems[i].width == 0 && !n.elems[i].mark {
		i++
	}
	return n, i
}

// holds reports whether the element is one of this sequence; it is one of some
// sequence.
func (s *sequence) holds(id opID) bool {
	if s.where != nil {
		return s.where[id] != nil
	}
	for i := range s.root.elems {
		if s.root.elems[i].id == id {
			return true
		}
	}
	return false
}
