package crdt

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
	"sort"
	"strings"
)

// opID names an operation in memory: its counter and the index of its change in
// History.nodes, from which its author follows. The zero opID is the root
// object, the head of a sequence, or none.
type opID struct {
	ctr  uint32
	node uint32
}

// node is a held change.
type node struct {
	c     *Change
	past  past
	actor uint32 // index into History.actors
	maxOp uint32 // greatest op counter of itself and its past
	head  uint32 // 1 + its index in History.heads, 0 if others depend on it
}

// actorLog lists an actor's changes: where its sequence numbers and its
// operations are found.
type actorLog struct {
	id    ActorID
	spans []span // by sequence number, from 1
}

type span struct{ start, node uint32 }

// History holds all operations of one record: every change that was added, what
// they make of the record, and all candidates where they disagree. It is not
// safe for concurrent use.
type History struct {
	nodes    []node
	byHash   map[uint64]uint32 // by the first 8 bytes
	clashing map[Hash]uint32   // those whose first 8 bytes were taken
	named    uint32            // how many are in these tables
	actors   []actorLog
	actorIdx map[ActorID]uint32 // nil for fewActors and less
	heads    []uint32
	maxOp    uint32

	root    *object
	objects map[opID]*object // all but the root
	sums    map[opID]int64   // of counters: what increments have added
	multi   int              // slots with two or more visible operations
	size    int
	clocks  int // bytes of size that are pasts

	part     bool     // At is adding the changes of another history: gaps were judged there
	contests contests // for views
	lacking  bool     // a view's function was needed that is not registered
}

// NewHistory returns the history of a record that nothing was written to.
func NewHistory() *History {
	h := &History{size: 384}
	h.root = &object{kind: MakeMap}
	return h
}

// Len returns the number of changes.
func (h *History) Len() int { return len(h.nodes) }

// Has reports whether the change with this hash is held.
func (h *History) Has(hash Hash) bool {
	_, ok := h.nodeOf(hash)
	return ok
}

// nodeOf returns the index of the change with this hash. Most ask for the newest,
// so that a history that never branches makes no table.
func (h *History) nodeOf(hash Hash) (n uint32, ok bool) {
	if last := len(h.nodes) - 1; last >= 0 && h.nodes[last].c.hash == hash {
		return uint32(last), true
	}
	h.name()
	n, ok = h.byHash[hashPrefix(hash)]
	if ok && h.nodes[n].c.hash != hash {
		n, ok = h.clashing[hash]
	}
	return n, ok
}

func hashPrefix(hash Hash) uint64 { return binary.LittleEndian.Uint64(hash[:]) }

// name brings the tables of hashes up to date.
func (h *History) name() {
	if h.byHash == nil {
		h.byHash = make(map[uint64]uint32, len(h.nodes))
		h.clashing = make(map[Hash]uint32)
	}
	for ; int(h.named) < len(h.nodes) && h.nodes[h.named].c.raw != nil; h.named++ {
		hash := h.nodes[h.named].c.hash
		if _, taken := h.byHash[hashPrefix(hash)]; taken {
			h.clashing[hash] = h.named
		} else {
			h.byHash[hashPrefix(hash)] = h.named
		}
	}
}

// MaxOp returns the greatest operation counter, 0 without any.
func (h *History) MaxOp() uint64 { return uint64(h.maxOp) }

// Size returns roughly how many bytes of memory the history takes. It is kept
// up to date and costs nothing to ask.
func (h *History) Size() int { return h.size }

// Exists reports whether any field is visible: a record without fields is none.
func (h *History) Exists() bool { return h.root.visible > 0 }

// Changes iterates over the changes in the order they were added, which is one
// that Add takes again.
func (h *History) Changes() iter.Seq[*Change] {
	return func(yield func(*Change) bool) {
		for i := range h.nodes {
			if !yield(h.nodes[i].c) {
				return
			}
		}
	}
}

// Change returns the change with this hash, nil if it is not held.
func (h *History) Change(hash Hash) *Change {
	if n, ok := h.nodeOf(hash); ok {
		return h.nodes[n].c
	}
	return nil
}

// Heads returns a fresh copy of the heads.
func (h *History) Heads() Heads {
	heads := make(Heads, len(h.heads))
	for i, n := range h.heads {
		heads[i] = h.nodes[n].c.hash
	}
	if len(heads) > 1 {
		slices.SortFunc(heads, Hash.Compare)
	}
	return heads
}

// Clock returns a fresh copy of the clock.
func (h *History) Clock() Clock {
	c := make(Clock, len(h.actors))
	for i := range h.actors {
		c[h.actors[i].id] = uint64(len(h.actors[i].spans))
	}
	return c
}

// Seq returns the highest sequence number held of an actor, 0 for none.
func (h *History) Seq(actor ActorID) uint64 {
	if a, ok := h.actorOf(actor); ok {
		return uint64(len(h.actors[a].spans))
	}
	return 0
}

// op returns an operation that exists.
func (h *History) op(id opID) *Op {
	c := h.nodes[id.node].c
	return &c.ops[id.ctr-uint32(c.startOp)]
}

// compare orders operation IDs: by counter, then by actor bytes.
func (h *History) compare(a, b opID) int {
	switch {
	case a.ctr != b.ctr:
		return cmp.Compare(a.ctr, b.ctr)
	case a.node == b.node:
		return 0
	}
	return strings.Compare(string(h.author(a)), string(h.author(b)))
}

func (h *History) less(a, b opID) bool {
	if a.ctr != b.ctr {
		return a.ctr < b.ctr
	}
	return h.compare(a, b) < 0
}

func (h *History) author(id opID) ActorID { return h.actors[h.nodes[id.node].actor].id }

// publicID turns an ID into the form that means the same everywhere.
func (h *History) publicID(id opID) OpID {
	return OpID{Counter: uint64(id.ctr), Actor: h.author(id)}
}

// find returns the operation with a counter and an author; ok is false if none
// is held.
func (h *History) find(actor, ctr uint32) (id opID, ok bool) {
	spans := h.actors[actor].spans
	i := len(spans) - 1
	if i >= 0 && spans[i].start > ctr {
		i = spanBefore(spans, i, ctr)
	}
	if i < 0 {
		return opID{}, false
	}
	n := spans[i].node
	if int(ctr-spans[i].start) >= len(h.nodes[n].c.ops) {
		return opID{}, false
	}
	return opID{ctr: ctr, node: n}, true
}

// spanBefore returns the last of the first n spans that does not start beyond
// ctr, -1 for none. Where every change has one operation it needs no search.
func spanBefore(spans []span, n int, ctr uint32) int {
	if i := int(ctr) - int(spans[0].start); i >= 0 && i < n && spans[i].start <= ctr && spans[i+1].start > ctr {
		return i
	}
	return sort.Search(n, func(k int) bool { return spans[k].start > ctr }) - 1
}

// actorOf returns the index of an actor. Most are asked for the newest author.
func (h *History) actorOf(id ActorID) (i uint32, ok bool) {
	if last := len(h.nodes) - 1; last >= 0 {
		if i = h.nodes[last].actor; h.actors[i].id == id {
			return i, true
		}
	}
	if h.actorIdx == nil {
		at := slices.IndexFunc(h.actors, func(a actorLog) bool { return a.id == id })
		return uint32(at), at >= 0
	}
	i, ok = h.actorIdx[id]
	return i, ok
}

// fewActors are looked through one by one.
const fewActors = 8

// actorIndex returns the index of an actor, adding it if it is new.
func (h *History) actorIndex(id ActorID) uint32 {
	if i, ok := h.actorOf(id); ok {
		return i
	}
	i := uint32(len(h.actors))
	h.actors = append(h.actors, actorLog{id: id})
	h.size += 2*len(id) + 64
	if h.actorIdx == nil && len(h.actors) > fewActors {
		h.actorIdx = make(map[ActorID]uint32)
		for i := range h.actors {
			h.actorIdx[h.actors[i].id] = uint32(i)
		}
	} else if h.actorIdx != nil {
		h.actorIdx[id] = i
	}
	return i
}

// enter makes c the newest node; its operations are to be applied by the caller.
// The last three are what pastOf returned for its dependencies.
func (h *History) enter(c *Change, p past, maxOp uint32, size int) uint32 {
	n := uint32(len(h.nodes))
	a := h.actorIndex(c.actors[0])
	h.nodes = append(h.nodes, node{c: c, past: p, actor: a, maxOp: max(maxOp, uint32(c.MaxOp()))})
	h.size += size
	h.clocks += size
	log := &h.actors[a]
	log.spans = append(log.spans, span{start: uint32(c.startOp), node: n})
	return n
}

// seal makes a node that was entered, and that has its hash, a head instead of its
// dependencies.
func (h *History) seal(n uint32, deps []uint32) {
	c := h.nodes[n].c
	for _, d := range deps {
		h.unhead(d)
	}
	h.heads = append(h.heads, n)
	h.nodes[n].head = uint32(len(h.heads))
	h.nodes[n].maxOp = max(h.nodes[n].maxOp, uint32(c.MaxOp()))
	h.maxOp = max(h.maxOp, uint32(c.MaxOp()))
	h.size += changeSize(c)
}

func (h *History) unhead(d uint32) {
	at := h.nodes[d].head
	if at == 0 {
		return
	}
	last := len(h.heads) - 1
	moved := h.heads[last]
	h.heads[at-1] = moved
	h.nodes[moved].head = at
	h.nodes[d].head = 0
	h.heads = h.heads[:last]
}

// changeSize estimates the memory of a change and of its entries in the tables.
func changeSize(c *Change) int {
	const perChange, perOp = 192 + 60 + 10 + 28, 112
	size := perChange + len(c.raw) + perOp*len(c.ops) + 32*len(c.deps) + 16*len(c.actors)
	for i := range c.ops {
		size += 8 * len(c.ops[i].Pred)
	}
	return size
}
