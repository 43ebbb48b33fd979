package crdt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
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
// value that the view shows, not of its rivals. Of a value that it made of several
// candidates that is the greatest. The error is ErrNoValue if
// nothing is shown at p.
func (h *History) Blame(p Path, v *View) ([]Blame, error) {
	h = h.under(v)
	b := blamer{h: h, path: slices.Clone(p)}
	sc := v.fields().top()
	here := func() { b.object(h.root, sc) }
	obj, shown := h.root, outcome{}
	for i, step := range p {
		if shown.made() {
			return nil, fmt.Errorf("%w at %s: of what several candidates make at %s, only the whole has an author", ErrNoValue, p[:i+1], p[:i])
		}
		if obj == nil {
			return nil, fmt.Errorf("%w at %s: %s is a single value", ErrNoValue, p[:i+1], p[:i])
		}
		at, in, err := h.step(obj, step, sc)
		if err == nil {
			if shown = h.show(at, in); !shown.shown {
				err = ErrNoValue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w at %s", err, p[:i+1])
		}
		sc, obj = in, h.objects[shown.id]
		here = func() { b.outcome(at, shown, sc) }
	}
	here()
	if len(b.out) == 0 {
		return nil, fmt.Errorf("%w: the record has no fields", ErrNoValue)
	}
	return b.out, nil
}

// step returns the place that a step leads to.
func (h *History) step(o *object, s Step, sc scope) (place, scope, error) {
	switch {
	case !s.InList && o.kind == MakeMap:
		if slot := o.fields.get(s.Key); slot != nil {
			return place{obj: o, key: s.Key, slot: slot}, sc.key(s.Key), nil
		}
	case s.InList && o.kind == MakeList:
		e := Edit{h: h} // finds, and never writes
		if id, _ := e.elementAt(o, sc, s.Index); id.ctr != 0 {
			leaf, i := o.seq.locate(id)
			return place{obj: o, elem: id, slot: &leaf.elems[i].slot}, sc.index(s.Index), nil
		}
	case s.InList && o.kind == MakeText:
		return place{}, sc, fmt.Errorf("%w of its own in a text", ErrNoValue)
	}
	return place{}, sc, ErrNoValue
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

// slot blames what is shown at a place, and reports whether anything is.
func (b *blamer) slot(step Step, at place, sc scope) bool {
	o := b.h.show(at, sc)
	if !o.shown {
		return false
	}
	b.path = append(b.path, step)
	b.outcome(at, o, sc)
	b.path = b.path[:len(b.path)-1]
	return true
}

func (b *blamer) outcome(at place, o outcome, sc scope) {
	obj := b.h.objects[o.id]
	switch {
	case o.made():
		b.made(at.slot.first, o.value)
	case obj != nil:
		b.object(obj, sc)
	default:
		op := o.id
		if b.h.isCounter(op) {
			op = b.latest(op)
		}
		b.add(op, b.h.outcomeValue(o, sc))
	}
}

// made blames the greatest of several candidates for all that a view made of them.
func (b *blamer) made(op opID, value any) {
	before := len(b.out)
	within := func(s Step, v any) {
		b.path = append(b.path, s)
		b.made(op, v)
		b.path = b.path[:len(b.path)-1]
	}
	switch v := value.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			within(Step{Key: k}, v[k])
		}
	case []any:
		for i := range v {
			within(Step{Index: i, InList: true}, v[i])
		}
	case Text:
		if v != "" {
			span := b.add(op, v)
			span.InText, span.Len = true, utf8.RuneCountInString(string(v))
		}
	}
	if len(b.out) == before {
		b.add(op, value)
	}
}

func (b *blamer) object(obj *object, sc scope) {
	before := len(b.out)
	switch obj.kind {
	case MakeMap:
		for f := range obj.fields.all {
			b.slot(Step{Key: f.key}, place{obj: obj, key: f.key, slot: &f.slot}, sc.key(f.key))
		}
	case MakeText:
		b.text(obj)
	case MakeList:
		i := 0
		for e := range obj.seq.all {
			at := place{obj: obj, elem: e.id, slot: &e.slot}
			if b.slot(Step{Index: i, InList: true}, at, sc.index(i)) {
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
