package crdt

// past says which changes of a history a change builds on: those with an index
// below upTo, and those that the clock counts. A change made on all heads builds
// on all there is, so what is written one after the other, by however many
// actors, has no clock at all; only branches have.
type past struct {
	upTo  uint32
	clock pastClock
}

// maxClocks bounds the memory that the pasts of a history's changes may take, in
// bytes, with as many again for each change. Clocks share what they have in
// common; only a history made for it, of thousands of branches merged crosswise
// with each other, comes near.
const (
	maxClocks       = 64 << 20
	clocksPerChange = 1 << 10
)

// pastOf merges the pasts of a change's dependencies, and these; actor is its
// author. It also returns the greatest op counter in there and the bytes that
// the clock does not share with others.
func (h *History) pastOf(deps []uint32, actor uint32) (p past, maxOp uint32, size int) {
	heads := 0
	for _, d := range deps {
		n := &h.nodes[d]
		p.upTo = max(p.upTo, n.past.upTo)
		maxOp = max(maxOp, n.maxOp)
		if n.head != 0 {
			heads++
		}
	}
	if heads == len(h.heads) {
		p.upTo = uint32(len(h.nodes))
		return p, maxOp, 0
	}
	b := clockBuilder{}
	for _, d := range deps {
		if d < p.upTo {
			continue
		}
		n := &h.nodes[d]
		clock := n.past.clock
		if n.actor != actor || len(deps) > 1 {
			clock = b.with(clock, n.actor, uint32(n.c.seq))
		}
		p.clock = b.merge(p.clock, clock)
	}
	return p, maxOp, b.bytes
}

// clockFan is the width of a clock's nodes: 16 counters are one cache line.
const (
	clockBits = 4
	clockFan  = 1 << clockBits
)

// pastClock is an immutable map from a history's actor index to the highest
// sequence number in a change's past: a radix tree whose nodes are shared between
// changes. A change that continues its author's own branch has its predecessor's
// very clock, without its own entry, which the predecessor implies; one that
// merges another branch copies only the path to what differs.
//
// The zero pastClock is empty.
type pastClock struct {
	root  *clockNode
	level uint8 // of the root; leaves have 0
}

type clockNode struct {
	kids *[clockFan]*clockNode // nil in a leaf
	seqs [clockFan]uint32      // of a leaf; unused above it
}

const clockNodeSize = 80 // bytes of a leaf; an inner node has 128 more

// get returns the sequence number of an actor, 0 for none.
func (p pastClock) get(actor uint32) uint32 {
	if uint64(actor)>>(clockBits*(uint(p.level)+1)) != 0 {
		return 0
	}
	n := p.root
	for l := uint(p.level); n != nil && l > 0; l-- {
		n = n.kids[actor>>(clockBits*l)&(clockFan-1)]
	}
	if n == nil {
		return 0
	}
	return n.seqs[actor&(clockFan-1)]
}

// clockBuilder makes clocks and counts what it allocated, in bytes.
type clockBuilder struct{ bytes int }

func (b *clockBuilder) inner() *clockNode {
	b.bytes += clockNodeSize + 8*clockFan
	return &clockNode{kids: new([clockFan]*clockNode)}
}

// raise returns p with its root at the given level or above.
func (b *clockBuilder) raise(p pastClock, level uint8) pastClock {
	for p.level < level {
		if p.root != nil {
			n := b.inner()
			n.kids[0] = p.root
			p.root = n
		}
		p.level++
	}
	return p
}

// with returns p with the actor's number raised to seq.
func (b *clockBuilder) with(p pastClock, actor, seq uint32) pastClock {
	if p.get(actor) >= seq {
		return p
	}
	level := p.level
	for uint64(actor)>>(clockBits*(uint(level)+1)) != 0 {
		level++
	}
	p = b.raise(p, level)
	p.root = b.set(p.root, uint(p.level), actor, seq)
	return p
}

func (b *clockBuilder) set(n *clockNode, level uint, actor, seq uint32) *clockNode {
	if level == 0 {
		leaf := &clockNode{}
		b.bytes += clockNodeSize
		if n != nil {
			*leaf = *n
		}
		leaf.seqs[actor&(clockFan-1)] = seq
		return leaf
	}
	c := b.inner()
	if n != nil {
		*c.kids = *n.kids
	}
	kid := &c.kids[actor>>(clockBits*level)&(clockFan-1)]
	*kid = b.set(*kid, level-1, actor, seq)
	return c
}

// merge returns the greater of both, actor by actor. What one side covers is
// shared with it.
func (b *clockBuilder) merge(p, q pastClock) pastClock {
	if p.root == nil {
		return q
	}
	level := max(p.level, q.level)
	p, q = b.raise(p, level), b.raise(q, level)
	return pastClock{root: b.join(p.root, q.root), level: level}
}

func (b *clockBuilder) join(n, m *clockNode) *clockNode {
	switch {
	case n == m || m == nil:
		return n
	case n == nil:
		return m
	case n.kids == nil:
		return b.joinLeaves(n, m)
	}
	var kids [clockFan]*clockNode
	isN, isM := true, true
	for i := range kids {
		kids[i] = b.join(n.kids[i], m.kids[i])
		isN = isN && kids[i] == n.kids[i]
		isM = isM && kids[i] == m.kids[i]
	}
	if isN {
		return n
	}
	if isM {
		return m
	}
	c := b.inner()
	*c.kids = kids
	return c
}

func (b *clockBuilder) joinLeaves(n, m *clockNode) *clockNode {
	var seqs [clockFan]uint32
	isN, isM := true, true
	for i := range seqs {
		seqs[i] = max(n.seqs[i], m.seqs[i])
		isN = isN && seqs[i] == n.seqs[i]
		isM = isM && seqs[i] == m.seqs[i]
	}
	if isN {
		return n
	}
	if isM {
		return m
	}
	b.bytes += clockNodeSize
	return &clockNode{seqs: seqs}
}
