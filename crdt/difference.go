package crdt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// DifferenceKind says what a Difference does.
type DifferenceKind string

// Kinds of differences.
const (
	Added   DifferenceKind = "added"   // a field: After
	Changed DifferenceKind = "changed" // a field or list element: Before, After
	Removed DifferenceKind = "removed" // a field: Before
	Spliced DifferenceKind = "spliced" // a list or text: at Pos, Before was replaced by After
)

// Difference is one step from a value of a record to another. Several apply one
// after the other: a path and position hold in the value that those before have
// left. They are ordered by path, what is outside before what is inside, and the
// splices of one list or text from left to right, so that all of them name places
// of the later value.
type Difference struct {
	Kind DifferenceKind
	Path Path
	Pos  int // of a splice: in list elements, or in code points of a text
	// Before and After are values as History.Value gives them; of a splice both
	// are lists ([]any), or both Text. Nothing is nil, which Kind tells from null.
	Before, After any
}

// MarshalJSON writes {"path":..,"kind":..,"before":..,"after":..}, and of a splice
// "pos"; values as AppendJSON has them.
func (d Difference) MarshalJSON() ([]byte, error) {
	line := struct {
		Path   string           `json:"path"`
		Kind   DifferenceKind   `json:"kind"`
		Pos    *int             `json:"pos,omitempty"`
		Before *json.RawMessage `json:"before,omitempty"`
		After  *json.RawMessage `json:"after,omitempty"`
	}{Path: d.Path.String(), Kind: d.Kind}
	if d.Kind == Spliced {
		line.Pos = &d.Pos
	}
	var err error
	if d.Kind != Added {
		line.Before, err = rawJSON(d.Before)
	}
	if d.Kind != Removed && err == nil {
		line.After, err = rawJSON(d.After)
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func rawJSON(v any) (*json.RawMessage, error) {
	b, err := AppendJSON(nil, v)
	raw := json.RawMessage(b)
	return &raw, err
}

// Diff returns how what a view shows as of one set of heads differs from what it
// shows as of another. Objects, list elements and characters are told apart by
// the operations that made them, not by what they look like, except under views
// that show more than candidates, or deletions, in a history with branches. Heads that are not
// held are ErrUnknownChange.
func (h *History) Diff(from, to Heads, v *View) ([]Difference, error) {
	a, err := h.At(from)
	if err != nil {
		return nil, err
	}
	b, err := h.At(to)
	if err != nil {
		return nil, err
	}
	if v.opaque(a) || v.opaque(b) {
		return differenceOfValues(a.Value(v), b.Value(v)), nil
	}
	d := differ{pair: pairOf(a, b)}
	d.object(a.root, b.root, v.top(), v.top())
	return d.out, nil
}

// sight is what a scope shows of a slot.
type sight struct {
	id  opID    // zero for an empty slot
	obj *object // nil for a scalar
}

func (s sight) none() bool { return s.id.ctr == 0 }

// see returns what a scope shows of a slot, which may be nil.
func (h *History) see(s *slot, sc scope) sight {
	if s == nil || s.empty() {
		return sight{}
	}
	id := h.pick(s, sc)
	return sight{id: id, obj: h.objects[id]}
}

// valueOf returns the value of what was seen; nil for nothing.
func (h *History) valueOf(s sight, sc scope) any {
	if s.none() {
		return nil
	}
	return h.candidateValue(s.id, sc)
}

// pair is two histories that share changes.
type pair struct {
	a, b     *History
	inB, inA []bool // by index in the one: whether the other holds it
}

func pairOf(a, b *History) pair { return pair{a: a, b: b, inB: b.holds(a), inA: a.holds(b)} }

// holds reports, by index in o, whether o's changes are in h too.
func (h *History) holds(o *History) []bool {
	in := make([]bool, len(o.nodes))
	for i := range o.nodes {
		in[i] = h.Has(o.nodes[i].c.hash)
	}
	return in
}

// same reports whether an operation of a is the same as one of b.
func (p *pair) same(x, y opID) bool {
	return x.ctr == y.ctr && x.ctr != 0 && p.a.nodes[x.node].c == p.b.nodes[y.node].c
}

// differ collects the differences between a and b.
type differ struct {
	pair
	path Path
	out  []Difference
}

func (d *differ) add(x Difference) {
	x.Path = slices.Clone(d.path)
	d.out = append(d.out, x)
}

// object compares two states of one object.
func (d *differ) object(x, y *object, sx, sy scope) {
	switch x.kind {
	case MakeMap:
		for _, k := range unionKeys(x, y) {
			d.slot(Step{Key: k}, x.fields.get(k), y.fields.get(k), sx.key(k), sy.key(k))
		}
	case MakeText:
		d.text(d.align(x, y))
	case MakeList:
		d.list(d.align(x, y), sx, sy)
	}
}

// unionKeys returns the keys that are visible in either map, ascending.
func unionKeys(x, y *object) []string {
	keys := make([]string, 0, x.visible)
	for _, o := range []*object{x, y} {
		for f := range o.fields.all {
			if !f.slot.empty() {
				keys = append(keys, f.key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (d *differ) slot(step Step, x, y *slot, sx, sy scope) {
	u, v := d.a.see(x, sx), d.b.see(y, sy)
	if u.none() && v.none() {
		return
	}
	d.path = append(d.path, step)
	if u.obj != nil && d.same(u.id, v.id) {
		d.object(u.obj, v.obj, sx, sy)
	} else if x, ok := difference(u, v, d.a.valueOf(u, sx), d.b.valueOf(v, sy)); ok {
		d.add(x)
	}
	d.path = d.path[:len(d.path)-1]
}

// difference compares what was seen of a slot; ok is false if it looks the same.
func difference(u, v sight, before, after any) (d Difference, ok bool) {
	switch {
	case u.none():
		return Difference{Kind: Added, After: after}, !v.none()
	case v.none():
		return Difference{Kind: Removed, Before: before}, true
	}
	return Difference{Kind: Changed, Before: before, After: after}, !sameValue(before, after)
}

func (d *differ) text(m alignment) {
	pos, from := 0, 0
	for _, s := range m.script {
		for _, e := range m.y[from:s.b] {
			pos += int(e.width)
		}
		before, after := d.a.chars(m.x[s.a:s.a+s.del]), d.b.chars(m.y[s.b:s.b+s.ins])
		d.add(Difference{Kind: Spliced, Pos: pos, Before: before, After: after})
		from = s.b
	}
}

// chars joins elements of a text.
func (h *History) chars(elems []*element) Text {
	var b strings.Builder
	for _, e := range elems {
		b.WriteString(h.char(e.slot.first))
	}
	return Text(b.String())
}

func (d *differ) list(m alignment, sx, sy scope) {
	for _, s := range m.script {
		before, after := d.a.items(m.x, s.a, s.del, sx), d.b.items(m.y, s.b, s.ins, sy)
		d.add(Difference{Kind: Spliced, Pos: s.b, Before: before, After: after})
	}
	for i, j := range m.matched {
		d.slot(Step{Index: j, InList: true}, &m.x[i].slot, &m.y[j].slot, sx.index(i), sy.index(j))
	}
}

// items returns the values of n elements of a list from index i on.
func (h *History) items(elems []*element, i, n int, sc scope) []any {
	list := make([]any, n)
	for k := range list {
		in := sc.index(i + k)
		list[k] = h.valueOf(h.see(&elems[i+k].slot, in), in)
	}
	return list
}

// alignment lines up the visible elements of two sequences.
type alignment struct {
	x, y   []*element
	script []splice // from x to y, ascending
}

// matched calls yield for the indices of elements that are in both.
func (m *alignment) matched(yield func(i, j int) bool) {
	i, j := 0, 0
	for k := 0; k <= len(m.script); k++ {
		end, next := len(m.x), splice{}
		if k < len(m.script) {
			next = m.script[k]
			end = next.a
		}
		for ; i < end; i, j = i+1, j+1 {
			if !yield(i, j) {
				return
			}
		}
		i, j = i+next.del, j+next.ins
	}
}

// align lines up two states of one sequence. Elements keep their order in every
// history, so one pass does it; a character that was overwritten in place counts
// as deleted and inserted.
func (p *pair) align(x, y *object) alignment {
	var m alignment
	xs, ys := x.seq.elements(), y.seq.elements()
	for i, j := 0, 0; i < len(xs) || j < len(ys); {
		switch {
		case i < len(xs) && (j == len(ys) || !p.inB[xs[i].id.node]):
			m.take(xs[i], nil, false)
			i++
		case i == len(xs) || !p.inA[ys[j].id.node]:
			m.take(nil, ys[j], false)
			j++
		default:
			m.take(xs[i], ys[j], !x.seq.text || p.a.charOf(&xs[i].slot) == p.b.charOf(&ys[j].slot))
			i, j = i+1, j+1
		}
	}
	return m
}

// elements returns all elements in order.
func (s *sequence) elements() []*element {
	n := len(s.where)
	if s.where == nil {
		n = len(s.root.elems)
	}
	list := make([]*element, 0, n)
	for e := range s.all {
		list = append(list, e)
	}
	return list
}

// take appends an element of either side, or one that is in both and looks alike
// or not; those that are not visible do not count.
func (m *alignment) take(x, y *element, alike bool) {
	isX, isY := x != nil && !x.slot.empty(), y != nil && !y.slot.empty()
	if !isX && !isY {
		return
	}
	if !isX || !isY || !alike {
		n := len(m.script)
		if n == 0 || m.script[n-1].a+m.script[n-1].del < len(m.x) || m.script[n-1].b+m.script[n-1].ins < len(m.y) {
			m.script = append(m.script, splice{a: len(m.x), b: len(m.y)})
			n++
		}
		m.script[n-1].del += int(b2u(isX))
		m.script[n-1].ins += int(b2u(isY))
	}
	if isX {
		m.x = append(m.x, x)
	}
	if isY {
		m.y = append(m.y, y)
	}
}

// sameValue reports whether two values, as History.Value gives them, are of the
// same types and equal.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !sameValue(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b)
	}
	return a == b
}

// comparePaths orders paths step by step: indices before keys, a path before what
// is inside of it.
func comparePaths(p, q Path) int {
	return slices.CompareFunc(p, q, func(s, t Step) int {
		return cmp.Or(cmp.Compare(b2u(t.InList), b2u(s.InList)), cmp.Compare(s.Index, t.Index), strings.Compare(s.Key, t.Key))
	})
}
