package crdt

import (
	"maps"
	"slices"
)

// opaque reports whether a view may show of a history what no candidate of a slot
// is, so that differences are those of values, not of operations.
func (v *View) opaque(h *History) bool {
	return v != nil && (v.record != byAutomerge || v.makes || v.heeds && h.branched())
}

// branched reports whether any two changes are concurrent.
func (h *History) branched() bool {
	h.contested()
	return h.contests.branched
}

// onHeads reports whether a change that is to be added has seen all others.
func (h *History) onHeads(c *Change) bool {
	return !slices.ContainsFunc(h.heads, func(n uint32) bool { return !slices.Contains(c.deps, h.nodes[n].c.hash) })
}

// differenceOfValues returns what leads from one value of a record to another.
func differenceOfValues(before, after map[string]any) []Difference {
	d := differ{}
	d.values(before, after)
	return d.out
}

func (d *differ) values(before, after any) {
	switch x := before.(type) {
	case map[string]any:
		if y, ok := after.(map[string]any); ok {
			d.maps(x, y)
			return
		}
	case []any:
		if y, ok := after.([]any); ok {
			d.lists(x, y)
			return
		}
	case Text:
		if y, ok := after.(Text); ok {
			d.texts([]rune(x), []rune(y))
			return
		}
	}
	if !sameValue(before, after) {
		d.add(Difference{Kind: Changed, Before: before, After: after})
	}
}

func (d *differ) within(s Step, fn func()) {
	d.path = append(d.path, s)
	fn()
	d.path = d.path[:len(d.path)-1]
}

func (d *differ) maps(x, y map[string]any) {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(x)), maps.Keys(y))
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		d.within(Step{Key: k}, func() {
			before, had := x[k]
			after, has := y[k]
			switch {
			case !had:
				d.add(Difference{Kind: Added, After: after})
			case !has:
				d.add(Difference{Kind: Removed, Before: before})
			default:
				d.values(before, after)
			}
		})
	}
}

// lists aligns elements by what they print, as Edit.Put does.
func (d *differ) lists(x, y []any) {
	script := diff(tokensOf(x), tokensOf(y))
	for _, s := range script {
		d.add(Difference{Kind: Spliced, Pos: s.b, Before: slices.Clone(x[s.a : s.a+s.del]), After: slices.Clone(y[s.b : s.b+s.ins])})
	}
	i, j := 0, 0
	for k := 0; k <= len(script); k++ {
		end, next := len(x), splice{}
		if k < len(script) {
			next = script[k]
			end = next.a
		}
		for ; i < end; i, j = i+1, j+1 {
			d.within(Step{Index: j, InList: true}, func() { d.values(x[i], y[j]) })
		}
		i, j = i+next.del, j+next.ins
	}
}

func tokensOf(list []any) []string {
	tokens := make([]string, len(list))
	for i, v := range list {
		text, _ := AppendJSON(nil, v)
		tokens[i] = string(text)
	}
	return tokens
}

func (d *differ) texts(x, y []rune) {
	for _, s := range diff(x, y) {
		d.add(Difference{Kind: Spliced, Pos: s.b, Before: Text(x[s.a : s.a+s.del]), After: Text(y[s.b : s.b+s.ins])})
	}
}
