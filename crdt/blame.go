package crdt

import (
	"errors"
	"fmt"
	"slices"
)

// ErrNoValue is wrapped by the error of a path at which a view shows nothing.
var ErrNoValue = errors.New("there is no value")

// Blame says who set a value that a view shows.
type Blame struct {
	Path  Path
	Value any // a scalar, as History.Value gives it; a map or list only if it is empty
	// Of a text, characters in a row that one change wrote: Value is these, Pos and
	// Len are in code points.
	InText   bool
	Pos, Len int

	Op      OpID // that set it; of a counter the latest increment, of characters the first
	Replica ReplicaID
	Actor   ActorID
	Time    int64 // of the change, in milliseconds since 1970
	Hash    Hash  // of the change
	Message string
}

// Blame returns who last set each single value at p and below it, by path: of the
// value that the view shows, not of its rivals. The error is ErrNoValue if
// nothing is shown at p.
func (h *History) Blame(p Path, v *View) ([]Blame, error) {
	b := blamer{h: h, path: slices.Clone(p)}
	obj, sc, seen := h.root, v.top(), sight{}
	for i, step := range p {
		if obj == nil {
			return nil, fmt.Errorf("%w at %s: %s is a single value", ErrNoValue, p[:i+1], p[:i])
		}
		s, in, err := obj.step(step, sc)
		if err == nil && (s == nil || s.empty()) {
			err = ErrNoValue
		}
		if err != nil {
			return nil, fmt.Errorf("%w at %s", err, p[:i+1])
		}
		seen, sc = h.see(s, in), in
		obj = seen.obj
	}
	if obj != nil {
		b.object(obj, sc)
	} else {
		b.scalar(seen, sc)
	}
	if len(b.out) == 0 {
		return nil, fmt.Errorf("%w: the record has no fields", ErrNoValue)
	}
	return b.out, nil
}

// step returns the slot that a step leads to, nil if there is none.
func (o *object) step(s Step, sc scope) (*slot, scope, error) {
	switch {
	case !s.InList && o.kind == MakeMap:
		return o.fields.get(s.Key), sc.key(s.Key), nil
	case s.InList && o.kind == MakeList && s.Index >= 0 && s.Index < o.seq.len():
		leaf, i, _ := o.seq.at(s.Index)
		return &leaf.elems[i].slot, sc.index(s.Index), nil
	case s.InList && o.kind == MakeText:
		return nil, sc, fmt.Errorf("%w of its own in a text", ErrNoValue)
	}
	return nil, sc, ErrNoValue
}

// blamer walks what a view shows.
type blamer struct {
	h          *History
	path       Path
	increments map[opID]opID // of counters: the latest increment; nil before it is needed
	out        []Blame
}

func (b *blamer) add(op opID, value any) *Blame {
	c := b.h.nodes[op.node].c
	replica, _ := c.Actor().Replica()
	b.out = append(b.out, Blame{
		Path: slices.Clone(b.path), Value: value, Op: b.h.publicID(op), Replica: replica, Actor: c.Actor(),
		Time: c.Time(), Hash: c.hash, Message: c.message,
	})
	return &b.out[len(b.out)-1]
}

func (b *blamer) slot(step Step, s *slot, sc scope) {
	b.path = append(b.path, step)
	if seen := b.h.see(s, sc); seen.obj != nil {
		b.object(seen.obj, sc)
	} else {
		b.scalar(seen, sc)
	}
	b.path = b.path[:len(b.path)-1]
}

func (b *blamer) scalar(seen sight, sc scope) {
	if seen.none() {
		return
	}
	op := seen.id
	if b.h.isCounter(op) {
		op = b.latest(op)
	}
	b.add(op, b.h.valueOf(seen, sc))
}

func (b *blamer) object(obj *object, sc scope) {
	before := len(b.out)
	switch obj.kind {
	case MakeMap:
		for f := range obj.fields.all {
			if !f.slot.empty() {
				b.slot(Step{Key: f.key}, &f.slot, sc.key(f.key))
			}
		}
	case MakeText:
		b.text(obj)
	case MakeList:
		i := 0
		for e := range obj.seq.all {
			if !e.slot.empty() {
				b.slot(Step{Index: i, InList: true}, &e.slot, sc.index(i))
				i++
			}
		}
	}
	if len(b.out) == before && obj != b.h.root {
		b.add(obj.id, b.h.candidateValue(obj.id, sc))
	}
}

// text adds a span for each run of characters that one change wrote.
func (b *blamer) text(obj *object) {
	var span *Blame
	var chars []byte
	var node uint32
	pos := 0
	flush := func() {
		if span != nil {
			span.Value, span.Len = Text(chars), pos-span.Pos
		}
	}
	for e := range obj.seq.all {
		if e.slot.empty() {
			continue
		}
		if id := e.slot.first; span == nil || id.node != node {
			flush()
			span, node, chars = b.add(id, nil), id.node, nil
			span.InText, span.Pos = true, pos
		}
		chars = append(chars, b.h.charOf(&e.slot)...)
		pos += int(e.width)
	}
	flush()
}

// latest returns the newest operation on a counter: an increment, or else the one
// that set it.
func (b *blamer) latest(counter opID) opID {
	if b.increments == nil {
		b.increments = map[opID]opID{}
		for n := range b.h.nodes {
			b.note(uint32(n))
		}
	}
	if id, ok := b.increments[counter]; ok {
		return id
	}
	return counter
}

// note takes in the increments of a change.
func (b *blamer) note(n uint32) {
	c := b.h.nodes[n].c
	for i := range c.ops {
		if c.ops[i].Action != Increment {
			continue
		}
		id := opID{ctr: uint32(c.startOp) + uint32(i), node: n}
		for _, p := range c.ops[i].Pred {
			of := b.h.resolve(c, p)
			if have, ok := b.increments[of]; !ok || b.h.less(have, id) {
				b.increments[of] = id
			}
		}
	}
}
