package crdt

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Transplant writes changes anew under other actors, so that a history can hold
// what they did beside a change that has the actor and sequence number of one of
// them. The changes have to be given in an order in which each follows its
// dependencies, with all that build on one of them that are held; what they build on
// besides stays as it is.
//
// Operations, times, messages, counters and what builds on what are kept; of an
// actor that is renamed everything from its first given change on is. The result
// depends on nothing but the changes: whoever has the same ones makes the same
// bytes. The error names a change that cannot be written.
func Transplant(changes []*Change) ([]*Change, error) {
	t := transplant{actors: map[ActorID]*moved{}, hashes: map[Hash]Hash{}}
	all := make([]*Change, len(changes))
	for i, c := range changes {
		n, err := t.change(c)
		if err != nil {
			return nil, fmt.Errorf("write the change %s anew: %w", c.hash, err)
		}
		all[i] = n
	}
	return all, nil
}

// TransplantActor returns the actor that Transplant gives to an actor whose first
// given change has that hash. It is of the same replica, if the old one is.
func TransplantActor(old ActorID, first Hash) ActorID {
	sum := sha256.Sum256(append([]byte("godwit transplant\x00"+string(old)), first[:]...))
	if id, ok := old.Replica(); ok {
		return id.Actor([8]byte(sum[:8]))
	}
	return ActorID(sum[:16])
}

type transplant struct {
	actors map[ActorID]*moved
	hashes map[Hash]Hash // of the changes given, to those made of them
}

// moved is an actor that is renamed from an operation on.
type moved struct {
	to    ActorID
	start uint64
	seq   uint64 // the last one given out
}

func (t *transplant) change(c *Change) (*Change, error) {
	m := t.actors[c.Actor()]
	if m == nil {
		m = &moved{to: TransplantActor(c.Actor(), c.hash), start: c.startOp}
		t.actors[c.Actor()] = m
	}
	m.seq++
	n := &Change{seq: m.seq, startOp: c.startOp, time: c.time, message: c.message, extra: c.extra}
	n.deps = make([]Hash, len(c.deps))
	for i, d := range c.deps {
		if to, ok := t.hashes[d]; ok {
			d = to
		}
		n.deps[i] = d
	}
	slices.SortFunc(n.deps, Hash.Compare)
	t.ops(c, n, m.to)
	if err := n.encode(); err != nil {
		return nil, err
	}
	t.hashes[c.hash] = n.hash
	return ParseChange(n.raw) // all that holds of a change holds of this one
}

// ops copies the operations with their references renamed.
func (t *transplant) ops(c, n *Change, author ActorID) {
	index := map[ActorID]uint32{}
	rename := func(r Ref) ActorID {
		a := c.actors[r.Actor]
		if m := t.actors[a]; m != nil && uint64(r.Counter) >= m.start {
			return m.to
		}
		return a
	}
	each := func(op *Op, f func(*Ref)) {
		for _, r := range []*Ref{&op.Obj, &op.Elem} {
			if r.Counter != 0 {
				f(r)
			}
		}
		for k := range op.Pred {
			f(&op.Pred[k])
		}
	}
	n.ops = slices.Clone(c.ops)
	for i := range n.ops {
		n.ops[i].Pred = slices.Clone(n.ops[i].Pred)
		each(&n.ops[i], func(r *Ref) { index[rename(*r)] = 0 })
	}
	delete(index, author)
	for a := range index {
		n.actors = append(n.actors, a)
	}
	slices.Sort(n.actors)
	n.actors = append([]ActorID{author}, n.actors...)
	for i, a := range n.actors {
		index[a] = uint32(i)
	}
	for i := range n.ops {
		each(&n.ops[i], func(r *Ref) { r.Actor = index[rename(*r)] })
		slices.SortFunc(n.ops[i].Pred, func(a, b Ref) int {
			return cmp.Or(cmp.Compare(a.Counter, b.Counter), cmp.Compare(n.actors[a.Actor], n.actors[b.Actor]))
		})
	}
}
