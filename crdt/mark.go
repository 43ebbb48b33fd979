package crdt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Expand says whether what is typed at the ends of a mark becomes part of it
// (Peritext, Litt et al. 2022). Bold text usually grows behind, a link does not.
type Expand uint8

// Ways to expand. ExpandAfter is the default in Automerge too.
const (
	ExpandAfter Expand = iota
	ExpandNone
	ExpandBefore
	ExpandBoth
)

func (x Expand) before() bool { return x == ExpandBefore || x == ExpandBoth }
func (x Expand) after() bool  { return x == ExpandAfter || x == ExpandBoth }

// MarkSpan is a stretch of a text that has one value of a mark: bold, a link, a
// comment. From and To are in code points.
type MarkSpan struct {
	From, To int
	Name     string
	Value    any // a scalar as History.Value gives it, never nil
}

// TextSpan is a stretch of a text with equal marks, or a block: a map in the text
// that editors use for paragraphs and embedded objects. In the text's plain form
// and in positions a block is one character, U+FFFC.
type TextSpan struct {
	Text  string
	Block map[string]any // nil for text
	Marks map[string]any // by name, nil for none; always nil for a block
}

// Marks returns the marks of the text at p, as the view shows it, by name and
// position. Where several marks of one name overlap, the one with the greatest
// operation ID counts; one that is null unmarks. Neighbouring spans of equal
// values are one. The result is what Automerge's marks returns, but for the unit.
// The error wraps ErrPlace.
func (h *History) Marks(p Path, v *View) ([]MarkSpan, error) {
	h, v = h.under(v), v.fields()
	seq, _, err := h.textAt(p, v)
	if err != nil || seq.root.marks == 0 {
		return nil, err
	}
	spans := h.marksOf(seq)
	var all []MarkSpan
	for _, name := range slices.Sorted(maps.Keys(spans)) {
		for _, r := range spans[name] {
			all = append(all, MarkSpan{From: r.from, To: r.to, Name: name, Value: r.value.goValue()})
		}
	}
	return all, nil
}

// markRange is a stretch with one value of a mark.
type markRange struct {
	from, to int
	value    Value
}

// marksOf returns a text's marks by name, each by position.
func (h *History) marksOf(seq *sequence) map[string][]markRange {
	ranges := map[string][]markRange{}
	open := map[string]markRange{} // those that go on
	state, at := markState{h: h}, 0
	for e := range seq.all {
		if at += int(e.width); !e.mark {
			continue
		}
		name, changed := state.pass(e.id)
		if !changed {
			continue
		}
		if r, ok := open[name]; ok && r.from < at {
			r.to = at
			ranges[name] = appendRange(ranges[name], r)
		}
		delete(open, name)
		if value, ok := state.value(name); ok {
			open[name] = markRange{from: at, value: value}
		}
	}
	return ranges
}

// appendRange appends a range, or extends the last one.
func appendRange(ranges []markRange, r markRange) []markRange {
	if n := len(ranges); n > 0 && ranges[n-1].to == r.from && ranges[n-1].value == r.value {
		ranges[n-1].to = r.to
		return ranges
	}
	return append(ranges, r)
}

// maxSpanMarks bounds what Spans returns in all, marks times spans: that can be the
// square of what somebody has sent.
const maxSpanMarks = 1 << 22

// Spans returns the text at p, as the view shows it, cut where marks begin and
// end and at blocks: what an editor loads. The error wraps ErrPlace,
// unless a few million marks overlap, which is refused.
func (h *History) Spans(p Path, v *View) ([]TextSpan, error) {
	h, v = h.under(v), v.fields()
	seq, sc, err := h.textAt(p, v)
	if err != nil {
		return nil, err
	}
	var spans []TextSpan
	var text strings.Builder
	state := markState{h: h}
	var marks map[string]Value // of what is in text
	flush := func() {
		if text.Len() > 0 {
			spans = append(spans, TextSpan{Text: text.String(), Marks: goValues(marks)})
			text.Reset()
		}
	}
	stale, work := false, 0 // stale: marks have changed since the last character
	for e := range seq.all {
		switch {
		case e.mark:
			_, changed := state.pass(e.id)
			stale = stale || changed
			continue
		case e.width == 0:
			continue
		case h.op(e.slot.first).Action == MakeMap:
			flush()
			spans = append(spans, TextSpan{Block: h.mapValue(h.objects[e.slot.first], sc)})
			continue
		}
		if stale {
			stale = false
			if work += len(state.open); work > maxSpanMarks {
				return nil, fmt.Errorf("spans of %s: too many marks overlap", p)
			}
			if now := state.all(); !maps.Equal(now, marks) {
				flush()
				marks = now
			}
		}
		text.WriteString(h.char(e.slot.first))
	}
	flush()
	return spans, nil
}

// markState is which marks hold at a place of a text, on the way through it.
type markState struct {
	h    *History
	open map[string]*rivals // begins that were passed and whose ends were not
}

// pass moves on over an end of a mark. It reports whether that changes the value
// of the mark's name.
func (m *markState) pass(id opID) (name string, changed bool) {
	o := m.h.op(id)
	begins := o.MarkName != ""
	if !begins {
		id.ctr-- // an end follows its begin directly
		o = m.h.op(id)
	}
	name = o.MarkName
	before, had := m.value(name)
	if m.open == nil {
		m.open = map[string]*rivals{}
	}
	r := m.open[name]
	if r == nil {
		r = &rivals{}
		m.open[name] = r
	}
	if begins {
		r.push(m.h, id)
	} else if r.drop(id); r.len() == 0 {
		delete(m.open, name)
	}
	after, has := m.value(name)
	return name, had != has || before != after
}

// value returns what a name is marked with; ok is false if it is not, or unmarked.
func (m *markState) value(name string) (v Value, ok bool) {
	r := m.open[name]
	if r == nil || r.len() == 0 {
		return v, false
	}
	top := r.pop(m.h)
	r.push(m.h, top)
	v = m.h.op(top).Value
	return v, v.kind != KindNull
}

// all returns what holds, nil for nothing.
func (m *markState) all() (marks map[string]Value) {
	for name := range m.open {
		if v, ok := m.value(name); ok {
			if marks == nil {
				marks = map[string]Value{}
			}
			marks[name] = v
		}
	}
	return marks
}

func goValues(m map[string]Value) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v.goValue()
	}
	return out
}

// Mark gives the characters from <= i < to of the text at p, in code points, a
// mark. The value is a scalar; a name has one value at a place, so what was marked
// with it before is marked anew. It shows alike in every Automerge.
func (e *Edit) Mark(p Path, from, to int, name string, value any, x Expand) error {
	if err := e.adopt(); err != nil {
		return err
	}
	obj, _, err := e.findObject(p, MakeText, "text")
	if err != nil {
		return err
	}
	if n := obj.seq.len(); from < 0 || from >= to || to > n {
		return editError(p, "cannot mark from %d to %d, the text has %d characters", from, to, n)
	}
	if name == "" || !utf8.ValidString(name) {
		return editError(p, "a mark's name is valid UTF-8 and not empty")
	}
	if x > ExpandBoth {
		return editError(p, "there is no such way to expand as %d", x)
	}
	scalar, err := markValue(value)
	if err != nil {
		return editError(p, "%v", err)
	}
	return e.mark(obj, name, markRange{from, to, scalar}, x)
}

// mark emits a mark's begin and its end.
func (e *Edit) mark(obj *object, name string, r markRange, x Expand) error {
	begin := Op{Insert: true, Action: Mark, MarkName: name, Value: r.value, Expand: x.before()}
	id, err := e.emit(obj, begin, e.gap(obj, r.from), nil)
	if err != nil {
		return err
	}
	ref := e.gap(obj, r.to)
	if ref.ctr == 0 || !obj.seq.before(id, ref) {
		ref = id // within one element: behind the same one, the end would come first
	}
	_, err = e.emit(obj, Op{Insert: true, Action: Mark, Expand: x.after()}, ref, nil)
	return err
}

// Unmark takes a mark away from the characters from <= i < to of the text at p.
func (e *Edit) Unmark(p Path, from, to int, name string, x Expand) error {
	return e.Mark(p, from, to, name, nil, x)
}

func markValue(v any) (Value, error) {
	v, err := normalise(v)
	if err != nil {
		return Value{}, err
	}
	switch v := v.(type) {
	case string:
		return String(v), nil
	case Text:
		return String(string(v)), nil
	}
	scalar, ok := scalarOf(v)
	if !ok {
		return Value{}, fmt.Errorf("the value of a mark is a scalar, not %T", v)
	}
	return scalar, nil
}

// gap returns the element behind which something is inserted to get a position of
// a text.
func (e *Edit) gap(obj *object, pos int) opID {
	if pos == 0 {
		return e.pastMarks(obj, opID{})
	}
	leaf, i, _ := obj.seq.at(pos - 1)
	return e.pastMarks(obj, leaf.elems[i].id)
}

// pastMarks returns the element behind which to insert what comes behind ref and
// before the next visible character. Between them marks may begin and end: what
// is inserted goes behind the last begin that expands before, and the last end
// that does not expand, but not into an empty mark (Automerge's rule).
func (e *Edit) pastMarks(obj *object, ref opID) opID {
	seq := obj.seq
	if seq.root.marks == 0 {
		return ref
	}
	leaf, i := seq.firstLeaf(), 0
	if ref.ctr != 0 {
		leaf, i = seq.locate(ref)
		i++
	}
	places, index := []opID{ref}, map[opID]int{}
	for leaf, i = seq.shown(leaf, i); leaf != nil && leaf.elems[i].mark; leaf, i = seq.shown(leaf, i+1) {
		id := leaf.elems[i].id
		o := e.h.op(id)
		if o.MarkName == "" {
			if begin, ok := index[opID{ctr: id.ctr - 1, node: id.node}]; ok {
				for _, gone := range places[begin:] {
					delete(index, gone)
				}
				places = places[:begin]
				continue
			}
		}
		if o.Expand == (o.MarkName != "") {
			index[id] = len(places)
			places = append(places, id)
		}
	}
	return places[len(places)-1]
}
