package replica_test

import (
	"math"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// alter makes one thing of a draft wrong, or just different.
func (m *mutator) alter(d *draft) {
	if m.rng.IntN(3) == 0 || len(d.ops) == 0 {
		m.alterHeader(d)
		return
	}
	m.alterOp(d, m.rng.IntN(len(d.ops)))
}

func (m *mutator) alterHeader(d *draft) {
	rng := m.rng
	switch rng.IntN(16) {
	case 0:
		d.seq += pick[uint64](rng, 1, math.MaxUint64, 2, 1<<31, 1<<40)
	case 1:
		d.seq = m.clock[d.author] + 1
	case 2:
		d.start += pick[uint64](rng, 1, math.MaxUint64, 5, 1<<31, 1<<20)
	case 3:
		d.move(d.author, m.maxOp+1)
	case 4:
		d.move(d.author, d.start+pick[uint64](rng, 1, math.MaxUint64, 2))
	case 5:
		if len(d.deps) > 0 {
			i := rng.IntN(len(d.deps))
			d.deps = slices.Delete(d.deps, i, i+1)
		}
	case 6:
		if len(m.held) > 0 {
			d.deps = append(d.deps, m.held[rng.IntN(len(m.held))].Hash())
		}
	case 7, 8:
		m.rebase(d)
	case 9:
		d.deps = append(d.deps, crdt.Hash{byte(rng.Uint32())})
	case 10:
		d.move(m.base().Actor(), d.start)
		d.seq = m.clock[d.author] + 1
	case 11:
		d.move(pick(rng, "m", "mutant 16 bytes!", m.self, crdt.ActorID(make([]byte, 129))), d.start)
		d.seq = pick(rng, 1, d.seq)
	case 12:
		d.time = pick[int64](rng, 0, -1, math.MaxInt64, math.MinInt64, 1<<53-1, 1<<53, -1<<53, 1e11, 1)
	case 13:
		d.message = pick(rng, "", "m", "\xff", "\x00", "𝄞")
	case 14:
		d.extra = pick(rng, nil, []byte{0}, []byte("extra"))
	case 15:
		d.ops = nil
	}
}

// move gives the draft another author and start, and its references to itself
// with it.
func (d *draft) move(author crdt.ActorID, start uint64) {
	fix := func(n *opName) {
		if n.actor == d.author && uint64(n.ctr) >= d.start && uint64(n.ctr) < d.start+uint64(len(d.ops)) {
			*n = opName{author, uint32(uint64(n.ctr) - d.start + start)}
		}
	}
	for i := range d.ops {
		o := &d.ops[i]
		fix(&o.obj)
		fix(&o.elem)
		for k := range o.pred {
			fix(&o.pred[k])
		}
	}
	d.author, d.start = author, start
}

func (m *mutator) alterOp(d *draft, at int) {
	rng := m.rng
	o := &d.ops[at]
	switch rng.IntN(24) {
	case 0:
		o.obj = m.object()
	case 1:
		o.obj = m.anyOp()
	case 2:
		o.elem = m.element(o.obj)
	case 3:
		o.elem = m.anyOp()
	case 4:
		o.elem = d.own(rng.IntN(len(d.ops)))
	case 5:
		o.pred = append(o.pred, m.anyOp())
	case 6:
		if len(o.pred) > 0 {
			i := rng.IntN(len(o.pred))
			o.pred = slices.Delete(slices.Clone(o.pred), i, i+1)
		}
	case 7:
		m.aim(o)
	case 8:
		o.pred = append(o.pred, d.own(rng.IntN(len(d.ops))))
	case 9:
		o.action = crdt.Action(rng.IntN(9))
	case 10:
		o.action, o.value = pick(rng, crdt.MakeMap, crdt.MakeList, crdt.MakeText, crdt.Del), crdt.Null()
	case 11:
		o.insert = !o.insert
	case 12:
		o.key = m.key()
	case 13, 14:
		o.value = m.value()
	case 15:
		o.inMap = !o.inMap
	case 16:
		d.ops = slices.Insert(d.ops, rng.IntN(len(d.ops)+1), *o)
	case 17:
		d.ops = slices.Delete(d.ops, at, at+1)
	case 18:
		for _, n := range []*opName{&o.obj, &o.elem} {
			if n.ctr > 0 {
				n.ctr += rng.Uint32N(3) - 1
			}
		}
	case 19:
		m.addOp(d)
	case 20:
		other := rng.IntN(len(d.ops))
		d.ops[at], d.ops[other] = d.ops[other], d.ops[at]
	case 21:
		o.mark, o.expand = pick(rng, "", "bold"), rng.IntN(2) == 0
	case 22:
		o.action, o.value = crdt.Increment, m.value()
	case 23:
		o.obj, o.inMap, o.insert = d.own(rng.IntN(len(d.ops))), rng.IntN(2) == 0, false
	}
}

// alterColumns edits the columns of a change as such.
func (m *mutator) alterColumns(cols []column) []column {
	rng := m.rng
	if len(cols) == 0 {
		return append(cols, column{pick[uint64](rng, 0x42, 0x08, 0x99), []byte{1, 1}})
	}
	at, other := rng.IntN(len(cols)), rng.IntN(len(cols))
	c := &cols[at]
	switch rng.IntN(9) {
	case 0:
		return slices.Delete(cols, at, at+1)
	case 1:
		return append(cols, *c)
	case 2:
		cols[at], cols[other] = cols[other], cols[at]
	case 3:
		cols[at].data, cols[other].data = cols[other].data, cols[at].data
	case 4:
		c.spec ^= 1 << rng.IntN(8)
	case 5:
		c.data = nil
	default:
		c.data = mutateBytes(rng, c.data, cols[other].data)
	}
	return cols
}
