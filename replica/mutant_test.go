package replica_test

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// mutator makes mutants for one record: it knows what the record holds, so that
// most of what it alters is wrong in one place only.
type mutator struct {
	rng     *rand.Rand
	self    crdt.ActorID // of the replica that is fed
	sources []*crdt.Change
	held    []*crdt.Change
	heads   crdt.Heads
	clock   crdt.Clock
	maxOp   uint64
	ops     []heldOp
	objects map[opName]crdt.Action
}

type heldOp struct {
	id opName
	draftOp
}

// see takes note of what the record holds.
func (m *mutator) see(h *crdt.History) {
	m.held, m.ops, m.objects = nil, nil, map[opName]crdt.Action{{}: crdt.MakeMap}
	m.heads, m.clock, m.maxOp = h.Heads(), h.Clock(), h.MaxOp()
	for c := range h.Changes() {
		m.held = append(m.held, c)
		for i := range c.Ops() {
			o := heldOp{opName{c.Actor(), uint32(c.StartOp()) + uint32(i)}, draftOpOf(c, i)}
			m.ops = append(m.ops, o)
			if o.action == crdt.MakeMap || o.action == crdt.MakeList || o.action == crdt.MakeText {
				m.objects[o.id] = o.action
			}
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// mutant returns the bytes of a change that may be anything.
func (m *mutator) mutant() []byte {
	rng := m.rng
	base := m.base()
	switch n := rng.IntN(100); {
	case n < 14:
		data := unseal(base.Raw())
		return seal(mutateBytes(rng, data, unseal(m.base().Raw())))
	case n < 19:
		return m.container(base)
	}
	d := draftOf(base)
	if rng.IntN(2) == 0 {
		d = m.fresh()
	} else if rng.IntN(2) == 0 { // once more, on top
		m.rebase(&d)
	}
	for range pick(rng, 0, 1, 1, 1, 1, 2, 3) {
		m.alter(&d)
	}
	e := encoder{rng: rng, sloppy: rng.IntN(20) == 0}
	var alter func([]column) []column
	if rng.IntN(12) == 0 {
		alter = m.alterColumns
	}
	chunk := seal(e.data(&d, alter))
	if rng.IntN(16) == 0 {
		return deflated(chunk)
	}
	return chunk
}

// base is a change to start from: one that the history has, held or not.
func (m *mutator) base() *crdt.Change {
	if len(m.held) > 0 && m.rng.IntN(3) == 0 {
		return m.held[m.rng.IntN(len(m.held))]
	}
	return m.sources[m.rng.IntN(len(m.sources))]
}

// mutateBytes changes, inserts, removes, doubles or zeroes a few bytes.
func mutateBytes(rng *rand.Rand, data, other []byte) []byte {
	b := slices.Clone(data)
	for range 1 + rng.IntN(3) {
		if len(b) == 0 {
			return b
		}
		at := rng.IntN(len(b))
		n := min(1+rng.IntN(4), len(b)-at)
		switch rng.IntN(8) {
		case 0, 1:
			b[at] ^= 1 << rng.IntN(8)
		case 2:
			b[at] = byte(rng.Uint32())
		case 3:
			b[at] = pick[byte](rng, 0, 1, 2, 0x7e, 0x7f, 0x80, 0xff)
		case 4:
			b = slices.Delete(b, at, at+n)
		case 5:
			b = slices.Insert(b, at, byte(rng.Uint32()))
		case 6:
			b = slices.Insert(b, at, slices.Clone(b[at:at+n])...)
		case 7:
			from := rng.IntN(len(other))
			b = slices.Insert(b, at, other[from:min(len(other), from+n)]...)
		}
	}
	return b
}

// container damages what is around the change.
func (m *mutator) container(c *crdt.Change) []byte {
	rng, raw := m.rng, slices.Clone(c.Raw())
	switch rng.IntN(8) {
	case 0:
		return raw[:rng.IntN(len(raw))]
	case 1:
		return append(raw, m.base().Raw()...)
	case 2:
		raw[rng.IntN(9)] ^= 1 << rng.IntN(8)
		return raw
	case 3:
		raw[8] = byte(rng.IntN(5))
		return raw
	case 4:
		return mutateBytes(rng, deflated(raw), raw)
	case 5:
		return append(raw, byte(rng.Uint32()))
	case 6:
		return mutateBytes(rng, raw, raw) // the checksum is wrong
	}
	return deflated(raw)
}

// fresh is a change on what the record holds, or on a part of it.
func (m *mutator) fresh() draft {
	rng := m.rng
	d := draft{deps: slices.Clone(m.heads), start: m.maxOp + 1, time: 1e12 + rng.Int64N(1000), author: m.newAuthor()}
	if len(m.held) > 0 && rng.IntN(3) == 0 {
		d.author = m.held[rng.IntN(len(m.held))].Actor()
	}
	d.seq = m.clock[d.author] + 1
	if len(m.held) > 0 && rng.IntN(3) == 0 { // concurrent with some
		c := m.held[rng.IntN(len(m.held))]
		d.deps, d.author, d.start, d.seq = []crdt.Hash{c.Hash()}, c.Actor(), c.MaxOp()+1, c.Seq()+1
		if rng.IntN(2) == 0 {
			d.author, d.seq = m.newAuthor(), 1
		}
	}
	for range 1 + rng.IntN(4) {
		m.addOp(&d)
	}
	return d
}

// newAuthor is one who wrote nothing yet, mostly, so that no fork hides the rest.
func (m *mutator) newAuthor() crdt.ActorID {
	return crdt.ActorID([]byte{pick[byte](m.rng, 0, 'm', 255), byte(m.rng.Uint32()), byte(m.rng.Uint32())})
}

// rebase puts a draft on top of all that the record holds.
func (m *mutator) rebase(d *draft) {
	d.move(pick(m.rng, d.author, m.newAuthor()), m.maxOp+1)
	d.deps, d.seq = slices.Clone(m.heads), m.clock[d.author]+1
}

// addOp appends an operation, or a mark's two, that could be valid.
func (m *mutator) addOp(d *draft) {
	rng := m.rng
	o := draftOp{action: crdt.Set, value: m.value()}
	if rng.IntN(2) == 0 {
		o.obj = m.object()
	}
	if rng.IntN(4) == 0 {
		o.action, o.value = pick(rng, crdt.MakeMap, crdt.MakeList, crdt.MakeText), crdt.Null()
	}
	if m.objects[o.obj] == crdt.MakeMap {
		o.inMap, o.key = true, m.key()
		m.aim(&o)
		d.ops = append(d.ops, o)
		return
	}
	o.insert, o.elem = true, m.element(o.obj)
	switch {
	case o.elem.ctr > 0 && rng.IntN(3) == 0:
		o.insert = false
		m.aim(&o)
	case rng.IntN(3) == 0: // a mark
		o.action, o.mark, o.expand, o.value = crdt.Mark, pick(rng, "bold", "é", "b"), rng.IntN(2) == 0, m.value()
		end := draftOp{obj: o.obj, insert: true, action: crdt.Mark, expand: rng.IntN(2) == 0, elem: m.element(o.obj)}
		if rng.IntN(4) == 0 {
			end.elem = d.own(len(d.ops))
		}
		d.ops = append(d.ops, o, end)
		return
	}
	d.ops = append(d.ops, o)
}

// aim gives an operation predecessors of its own slot, and an action that they
// allow, mostly.
func (m *mutator) aim(o *draftOp) {
	o.pred = nil
	for _, i := range m.rng.Perm(len(m.ops)) {
		p := &m.ops[i]
		same := p.obj == o.obj && p.inMap == o.inMap && p.key == o.key
		if !o.inMap {
			same = same && (p.elem == o.elem && !p.insert || p.id == o.elem)
		}
		if same && (p.action != crdt.Del || m.rng.IntN(10) == 0) && len(o.pred) < 3 {
			o.pred = append(o.pred, p.id)
		}
	}
	switch {
	case len(o.pred) == 0:
	case m.rng.IntN(4) == 0:
		o.action, o.value = crdt.Del, crdt.Null()
	case m.rng.IntN(4) == 0:
		o.action, o.value = crdt.Increment, crdt.Int(pick[int64](m.rng, 1, -1, math.MaxInt64, math.MinInt64))
	}
}

func (m *mutator) key() string {
	return pick(m.rng, "a", "b", "text", "list", "map", "count", "x", "", "ключ", "new")
}

// object returns an object of the record, in an order that the seed repeats.
func (m *mutator) object() opName {
	for range 8 {
		if len(m.ops) == 0 {
			break
		}
		if o := &m.ops[m.rng.IntN(len(m.ops))]; m.objects[o.obj] != crdt.MakeMap || m.rng.IntN(3) == 0 {
			return o.obj
		}
	}
	return opName{}
}

// element returns an element of a sequence, or its head.
func (m *mutator) element(obj opName) opName {
	for range 40 {
		if len(m.ops) == 0 || m.rng.IntN(8) == 0 {
			break
		}
		if o := &m.ops[m.rng.IntN(len(m.ops))]; o.obj == obj && o.insert {
			return o.id
		}
	}
	return opName{}
}

func (m *mutator) anyOp() opName {
	if len(m.ops) == 0 {
		return opName{}
	}
	return m.ops[m.rng.IntN(len(m.ops))].id
}

func (m *mutator) value() crdt.Value {
	rng := m.rng
	n := pick[int64](rng, 0, 1, -1, math.MaxInt64, math.MinInt64, 1<<53, 1<<31, 1e15, -1e15)
	return pick(rng, crdt.Null(), crdt.Bool(true), crdt.Int(n), crdt.Uint(uint64(n)), crdt.CounterOf(n), crdt.Timestamp(n),
		crdt.Timestamp(1e12), crdt.String("two"), crdt.String(""), crdt.String("x"), crdt.String("€\x00\u2028"), crdt.Bytes([]byte{0xff}),
		crdt.Float(math.NaN()), crdt.Float(math.Inf(-1)), crdt.Float(-0.5), crdt.Float(math.Float64frombits(0x7ff8000000000dad)))
}
