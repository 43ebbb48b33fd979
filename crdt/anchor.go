package crdt

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrPlace is wrapped by the errors of reading a place that is not there: a path
// that leads to no list or text, a position out of range, an anchor of another
// list.
var ErrPlace = errors.New("no such place")

// Side says which neighbour a position is bound to.
type Side uint8

// Sides of an Anchor.
const (
	Behind Side = iota // the element at the position: what is inserted there comes before the anchor
	Ahead              // the element before the position: what is inserted there comes behind the anchor
)

// Anchor is a position in a list or text that stays where it is while others
// edit around it: Automerge's cursor, Yjs's relative position. It is bound to an
// element, by its ID, so it means the same in every later history of the record,
// on every replica, also when the element is deleted: then it is the position
// where that was. The zero Anchor is the end.
//
// Anchors are comparable. Their string form is what Automerge writes for its
// cursors, with "+" behind it for the side that Automerge does not have.
type Anchor struct {
	elem OpID // zero: an end of the whole
	side Side // the elem's, or of the whole: Ahead is the start, Behind the end
}

// AnchorAt returns the anchor of a position in the list or text at p, as the view
// shows it: 0 <= pos <= length, in elements or code points. Bound to the side
// where there is no element, it is the start or the end, whatever comes there.
// The error wraps ErrPlace.
func (h *History) AnchorAt(p Path, v *View, pos int, side Side) (Anchor, error) {
	h, v = h.under(v), v.fields()
	obj, sc, err := h.sequenceAt(p, v)
	if err != nil {
		return Anchor{}, err
	}
	at := pos
	if side == Ahead {
		at--
	}
	elem, n := h.elementAt(obj, sc, at)
	switch {
	case pos < 0 || pos > n:
		return Anchor{}, fmt.Errorf("%w in %s: position %d, but the length is %d", ErrPlace, p, pos, n)
	case elem.ctr == 0:
		return Anchor{side: side}, nil
	}
	return Anchor{elem: h.publicID(elem), side: side}, nil
}

// Position returns where an anchor is in the list or text at p, as the view shows
// it, in elements or code points. The error wraps ErrPlace: what is at p now may
// be another list than the one that the anchor was made in, or the history may
// not hold the anchor's element yet.
func (h *History) Position(p Path, v *View, a Anchor) (int, error) {
	h, v = h.under(v), v.fields()
	obj, sc, err := h.sequenceAt(p, v)
	switch {
	case err != nil:
		return 0, err
	case a == Anchor{side: Ahead}:
		return 0, nil
	case a == Anchor{}:
		_, n := h.elementAt(obj, sc, -1)
		return n, nil
	}
	id, ok := h.element(a.elem)
	if !ok {
		return 0, fmt.Errorf("%w in %s: the record holds no element %s", ErrPlace, p, a.elem)
	}
	if !obj.seq.holds(id) {
		return 0, fmt.Errorf("%w in %s: the element %s is in another list or text", ErrPlace, p, a.elem)
	}
	pos, width := h.indexOf(obj, sc, id)
	if a.side == Ahead {
		pos += width
	}
	return pos, nil
}

// elementAt returns the element that a scope shows at an index of a list or text,
// the zero opID if there is none, and how many places there are.
func (h *History) elementAt(obj *object, sc scope, index int) (opID, int) {
	if n := obj.seq.len(); obj.kind == MakeText { // its characters show alike in every view
		if index < 0 || index >= n {
			return opID{}, n
		}
		leaf, i, _ := obj.seq.at(index)
		return leaf.elems[i].id, n
	}
	e := Edit{h: h}
	return e.elementAt(obj, sc, index)
}

// indexOf returns how many places a scope shows before an element of the list or
// text, and how many it takes itself.
func (h *History) indexOf(obj *object, sc scope, id opID) (before, width int) {
	if obj.kind == MakeText || !h.mayDiffer(sc) {
		return obj.seq.index(id)
	}
	for el := range obj.seq.all {
		at := place{obj: obj, elem: el.id, slot: &el.slot}
		shown := h.show(at, sc.index(before)).shown
		if el.id == id {
			return before, int(b2u(shown))
		}
		before += int(b2u(shown))
	}
	return before, 0
}

// element returns the element that was inserted by an operation, or that it
// overwrote, as in Automerge's cursors of lists.
func (h *History) element(of OpID) (opID, bool) {
	actor, ok := h.actorOf(of.Actor)
	if !ok || of.Counter == 0 || of.Counter >= MaxCounter {
		return opID{}, false
	}
	id, ok := h.find(actor, uint32(of.Counter))
	if !ok {
		return opID{}, false
	}
	o := h.op(id)
	switch {
	case o.InMap:
		return opID{}, false
	case o.Insert:
		return id, true
	}
	by := h.nodes[id.node].c.actors[o.Elem.Actor]
	if actor, ok = h.actorOf(by); !ok {
		return opID{}, false
	}
	return h.find(actor, o.Elem.Counter)
}

// sequenceAt returns what a view of fields shows at a path: a list or a text.
func (h *History) sequenceAt(p Path, v *View) (*object, scope, error) {
	obj, sc := h.root, v.top()
	for i, step := range p {
		at, in, err := h.step(obj, step, sc)
		if err != nil {
			return nil, sc, fmt.Errorf("%w: %s: there is no such field or element", ErrPlace, p[:i+1])
		}
		o := h.show(at, in)
		switch {
		case !o.shown:
			return nil, sc, fmt.Errorf("%w: %s: there is no such field or element", ErrPlace, p[:i+1])
		case o.made():
			return nil, sc, fmt.Errorf("%w: %s: the view makes it of several, it has no places of its own", ErrPlace, p[:i+1])
		}
		if obj, sc = h.objects[o.id], in; obj == nil && i < len(p)-1 {
			return nil, sc, fmt.Errorf("%w: %s: it is a single value", ErrPlace, p[:i+1])
		}
	}
	if obj == nil || obj.seq == nil {
		return nil, sc, fmt.Errorf("%w: %s: it is no list or text", ErrPlace, p)
	}
	return obj, sc, nil
}

// textAt returns what a view of fields shows at a path: a text.
func (h *History) textAt(p Path, v *View) (*sequence, scope, error) {
	obj, sc, err := h.sequenceAt(p, v)
	if err != nil {
		return nil, sc, err
	}
	if obj.kind != MakeText {
		return nil, sc, fmt.Errorf("%w: %s: it is no text", ErrPlace, p)
	}
	return obj.seq, sc, nil
}

// Convert turns a position in the text at p, as the view shows it, from one unit
// into another: 0 <= pos <= the text's length. A position within a character
// counts as its beginning. It takes logarithmic time, after edits a little more,
// and the first time as long as reading the text. The error wraps ErrPlace.
func (h *History) Convert(p Path, v *View, pos int, from, to Unit) (int, error) {
	h, v = h.under(v), v.fields()
	seq, _, err := h.textAt(p, v)
	if err != nil {
		return 0, err
	}
	if n := seq.root.widthIn(h, from); pos < 0 || pos > n {
		return 0, fmt.Errorf("%w in %s: position %d, but the length is %d", ErrPlace, p, pos, n)
	}
	return seq.convert(pos, from, to), nil
}

// String returns the anchor in the form that ParseAnchor reads: "s" and "e" are
// the start and the end, "12@ab" the place before the element that operation
// 12@ab inserted, "12@ab+" the one behind it.
func (a Anchor) String() string {
	switch {
	case a == Anchor{side: Ahead}:
		return "s"
	case a == Anchor{}:
		return "e"
	case a.side == Ahead:
		return a.elem.String() + "+"
	}
	return a.elem.String()
}

// ParseAnchor reads what String writes, and what Automerge's getCursor returns,
// except for cursors that move backwards ("-12@ab"), which are bound to the order
// of typing rather than to a place.
func ParseAnchor(s string) (Anchor, error) {
	a, err := parseAnchor(s)
	if err != nil {
		return Anchor{}, fmt.Errorf("parse anchor %q: %w", clip(s), err)
	}
	return a, nil
}

func parseAnchor(s string) (a Anchor, err error) {
	switch {
	case s == "s":
		return Anchor{side: Ahead}, nil
	case s == "e":
		return Anchor{}, nil
	case strings.HasPrefix(s, "-"):
		return a, errors.New("a cursor that moves backwards is not supported")
	case strings.HasSuffix(s, "+"):
		a.side, s = Ahead, s[:len(s)-1]
	}
	ctr, actor, ok := strings.Cut(s, "@")
	if !ok {
		return a, errors.New(`want "s", "e", COUNTER@ACTOR or COUNTER@ACTOR+`)
	}
	n, err := strconv.ParseUint(ctr, 10, 32)
	if err != nil || n == 0 || n >= MaxCounter || strconv.FormatUint(n, 10) != ctr {
		return a, fmt.Errorf("the counter is no number from 1 to 2^31-1")
	}
	if actor == "" || len(actor) > 2*MaxActorLen || actor != strings.ToLower(actor) {
		return a, fmt.Errorf("the actor is not 1 to %d bytes in lower-case hex", MaxActorLen)
	}
	b, err := hex.DecodeString(actor)
	if err != nil {
		return a, fmt.Errorf("the actor is not 1 to %d bytes in lower-case hex", MaxActorLen)
	}
	a.elem = OpID{Counter: n, Actor: ActorID(b)}
	return a, nil
}

// MarshalText returns String, so that anchors travel in JSON.
func (a Anchor) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what ParseAnchor reads.
func (a *Anchor) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAnchor(string(text))
	return err
}
