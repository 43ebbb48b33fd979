package crdt

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// outcome is what a view shows of a slot. The zero outcome is nothing: the slot
// is empty, or a deletion won.
type outcome struct {
	shown  bool
	id     opID // the candidate; zero for a value that was made of several
	hidden bool // the candidate is hidden: an edit has to revive it first
	valued bool // value counts: it is what Value gives, computed already
	value  any
}

func (o outcome) made() bool { return o.shown && o.id.ctr == 0 }

// candidate is one of a slot's rivals: a visible operation, a hidden one, or a
// deletion that is concurrent with one of these.
type candidate struct {
	id      opID
	deleted bool
	edit    opID // of a hidden one: the newest edit that whoever overwrote it had not seen
}

func (c candidate) hidden() bool { return c.edit.ctr != 0 }

// visible reports whether every Automerge counts it.
func (c candidate) visible() bool { return !c.deleted && !c.hidden() }

// by returns the operation whose author and time count.
func (c candidate) by() opID {
	if c.hidden() {
		return c.edit
	}
	return c.id
}

// maxCompared bounds how many candidates, the greatest, are considered by
// resolvers that look at values.
const maxCompared = 1000

// place is a slot and where it is.
type place struct {
	obj  *object
	key  string
	elem opID // zero in a map
	slot *slot
}

// show returns what a scope shows at a place.
func (h *History) show(at place, sc scope) outcome {
	s := at.slot
	if sc.rule == nil {
		return outcome{shown: !s.empty(), id: s.first}
	}
	var unseen []candidate
	if sc.rule.heedsUnseen() {
		unseen = h.unseenAt(at)
	}
	if s.rivals == nil && unseen == nil {
		return outcome{shown: !s.empty(), id: s.first}
	}
	var few [8]candidate
	return h.choose(h.merged(few[:0], s, unseen), sc)
}

// pick returns the candidate of a slot, which is not empty, that a scope shows of
// its visible values; of combined ones it is automerge's.
func (h *History) pick(s *slot, sc scope) opID {
	if s.rivals == nil || sc.rule == nil {
		return s.first
	}
	if o := h.choose(h.merged(nil, s, nil), sc); !o.made() {
		return o.id
	}
	return s.first
}

// candidates returns all candidates at a place, the greatest operation ID first.
func (h *History) candidates(at place) []candidate {
	return h.merged(nil, at.slot, h.unseenAt(at))
}

// merged appends a slot's visible operations and its other candidates, the
// greatest ID first.
func (h *History) merged(cs []candidate, s *slot, unseen []candidate) []candidate {
	for id := range s.all {
		cs = append(cs, candidate{id: id})
	}
	cs = append(cs, unseen...)
	h.descend(cs)
	return cs
}

func (h *History) descend(cs []candidate) {
	if len(cs) > 1 {
		slices.SortFunc(cs, func(a, b candidate) int { return h.compare(b.id, a.id) })
	}
}

func (r *rule) heedsUnseen() bool {
	switch r.how {
	case byLWW, byFWW, byLocal, byRemote, byPrefer, byGo, byUpdateWins:
		return true
	}
	return false
}

// choose applies a scope's rule to candidates, the greatest ID first.
func (h *History) choose(cs []candidate, sc scope) outcome {
	if sc.rule == nil {
		return first(cs)
	}
	switch sc.rule.how {
	case byLWW:
		return pick(cs, func(a, b candidate) bool { return h.timeOf(a.by()) > h.timeOf(b.by()) })
	case byFWW:
		return pick(cs, func(a, b candidate) bool { return h.timeOf(a.by()) <= h.timeOf(b.by()) })
	case byUpdateWins:
		return h.update(cs)
	case byLocal:
		return prefer(cs, func(c candidate) bool { return h.isOf(c.by(), sc.view.self) })
	case byRemote:
		return prefer(cs, func(c candidate) bool { return !h.isOf(c.by(), sc.view.self) })
	case byPrefer:
		for _, name := range sc.rule.actors {
			is := func(c candidate) bool { return strings.HasPrefix(string(h.author(c.by())), name) }
			if slices.ContainsFunc(cs, is) {
				return prefer(cs, is)
			}
		}
	case byGo:
		return h.decide(cs, sc)
	case byMax, byMin, byUnion, byConcat, byMerge, bySum:
		return h.combine(cs, sc)
	}
	return first(cs)
}

// first returns the first visible value, which automerge shows.
func first(cs []candidate) outcome {
	if i := slices.IndexFunc(cs, candidate.visible); i >= 0 {
		return cs[i].outcome()
	}
	return outcome{}
}

// update returns what was deleted while it was edited, the latest edit's, if
// nothing else is there.
func (h *History) update(cs []candidate) outcome {
	if slices.ContainsFunc(cs, candidate.visible) {
		return first(cs)
	}
	return pick(cs, func(a, b candidate) bool {
		return a.hidden() && (b.deleted || h.timeOf(a.edit) > h.timeOf(b.edit))
	})
}

// pick returns the candidate that none after it beats.
func pick(cs []candidate, beats func(a, b candidate) bool) outcome {
	if len(cs) == 0 {
		return outcome{}
	}
	best := cs[0]
	for _, c := range cs[1:] {
		if beats(c, best) {
			best = c
		}
	}
	return best.outcome()
}

// prefer returns the first candidate that is preferred, else the first value.
func prefer(cs []candidate, is func(candidate) bool) outcome {
	if i := slices.IndexFunc(cs, is); i >= 0 {
		return cs[i].outcome()
	}
	return first(cs)
}

func (c candidate) outcome() outcome {
	if c.deleted {
		return outcome{}
	}
	return outcome{shown: true, id: c.id, hidden: c.hidden()}
}

// valued returns a value as the outcome, together with what it was computed to be.
func (c candidate) valued(v any) outcome {
	o := c.outcome()
	o.valued, o.value = true, v
	return o
}

func (h *History) timeOf(id opID) int64 { return h.nodes[id.node].c.Time() }

func (h *History) isOf(id opID, self ReplicaID) bool {
	r, ok := h.author(id).Replica()
	return ok && r == self
}

// decide asks a registered function.
func (h *History) decide(cs []candidate, sc scope) outcome {
	cs = cs[:min(len(cs), maxCompared)]
	public := make([]Candidate, len(cs))
	printed := make([][]byte, len(cs))
	differ := false
	for i, c := range cs {
		public[i] = h.publicCandidate(c, sc)
		printed[i], _ = AppendJSON(nil, public[i].Value)
		differ = differ || c.deleted != cs[0].deleted || !bytes.Equal(printed[i], printed[0])
	}
	fallback := func() outcome {
		i := slices.IndexFunc(cs, candidate.visible)
		if i < 0 {
			return outcome{}
		}
		return cs[i].valued(public[i].Value)
	}
	if !differ {
		return fallback()
	}
	if sc.rule.fn == nil {
		h.lacking = true
		return fallback()
	}
	given, err := call(sc.rule.fn, slices.Clone(public))
	if err == nil {
		if c, ok := given.(Candidate); ok {
			i := slices.IndexFunc(public, func(p Candidate) bool { return p.Op == c.Op && p.Deleted == c.Deleted })
			if i < 0 {
				err = fmt.Errorf("it returned a candidate that is none")
			} else if c.Deleted {
				return outcome{}
			} else {
				return cs[i].valued(public[i].Value)
			}
		}
	}
	var text []byte
	if err == nil {
		if given, err = normalise(given); err == nil {
			text, err = AppendJSON(nil, given)
		}
	}
	if err != nil {
		if f := sc.view.failed; f != nil {
			f(sc.rule.name, err)
		}
		return fallback()
	}
	for i, c := range cs { // a value that one of them has is that one, so that it can be edited in place
		if !c.deleted && bytes.Equal(printed[i], text) {
			return c.valued(public[i].Value)
		}
	}
	return outcome{shown: true, valued: true, value: given}
}

// call turns a panic into an error.
func call(fn Resolver, candidates []Candidate) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return fn(candidates)
}

// combine applies the resolvers that look at values, the visible ones.
func (h *History) combine(cs []candidate, sc scope) outcome {
	cs = slices.DeleteFunc(slices.Clone(cs), func(c candidate) bool { return !c.visible() })
	cs = cs[:min(len(cs), maxCompared)]
	if len(cs) == 0 {
		return outcome{}
	}
	if len(cs) == 1 {
		return cs[0].outcome()
	}
	if how := sc.rule.how; how == byMerge || how == byUnion {
		if maps := h.mapsOf(cs); maps != nil {
			return outcome{shown: true, valued: true, value: h.mergedMap(maps, sc)}
		}
	}
	values := make([]any, len(cs))
	for i, c := range cs {
		values[i] = h.candidateValue(c.id, sc)
	}
	return combineValues(cs, values, sc.rule)
}

func combineValues(cs []candidate, values []any, r *rule) outcome {
	best, ok := 0, false
	var v any
	switch r.how {
	case byMax, byMin:
		for i := range values {
			c := compareValues(values[i], values[best])
			if r.how == byMax && c > 0 || r.how == byMin && c < 0 {
				best = i
			}
		}
	case byUnion:
		v, ok = union(values)
	case byConcat:
		v, ok = concat(values, r.sep)
	case bySum:
		v, ok = sum(values)
	}
	if ok {
		return outcome{shown: true, valued: true, value: v}
	}
	return outcome{shown: true, id: cs[best].id, valued: true, value: values[best]}
}

// mapsOf returns the candidates' maps, nil if one is something else.
func (h *History) mapsOf(cs []candidate) []*object {
	var maps []*object
	for _, c := range cs {
		obj := h.objects[c.id]
		if obj == nil || obj.kind != MakeMap {
			return nil
		}
		maps = append(maps, obj)
	}
	return maps
}

// mergedMap merges maps field by field: what is in a field of several is resolved
// like a conflict of it.
func (h *History) mergedMap(maps []*object, sc scope) map[string]any {
	fields := map[string][]candidate{}
	for _, obj := range maps {
		for f := range obj.fields.all {
			at := place{obj: obj, key: f.key, slot: &f.slot}
			if cs := h.candidates(at); cs != nil {
				fields[f.key] = append(fields[f.key], cs...)
			}
		}
	}
	m := make(map[string]any, len(fields))
	for key, cs := range fields {
		h.descend(cs)
		in := sc.key(key)
		if o := h.choose(cs, in); o.shown {
			m[key] = h.outcomeValue(o, in)
		}
	}
	return m
}

// union returns the lists' elements, each once, the earliest candidate's first.
func union(values []any) (any, bool) {
	seen := map[string]bool{}
	all := []any{}
	for _, v := range slices.Backward(values) {
		list, ok := v.([]any)
		if !ok {
			return nil, false
		}
		for _, e := range list {
			text, _ := AppendJSON(nil, e)
			if !seen[string(text)] {
				seen[string(text)] = true
				all = append(all, e)
			}
		}
	}
	return all, true
}

// concat returns the texts one behind the other, the earliest candidate's first
// and equal ones once: a Text if any is one.
func concat(values []any, sep string) (any, bool) {
	var parts []string
	isText := false
	for _, v := range slices.Backward(values) {
		s, ok := v.(string)
		if t, is := v.(Text); is {
			s, ok, isText = string(t), true, true
		}
		if !ok {
			return nil, false
		}
		if !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	s := strings.Join(parts, sep)
	if isText {
		return Text(s), true
	}
	return s, true
}

// sum adds counters.
func sum(values []any) (any, bool) {
	var total Counter
	for _, v := range values {
		c, ok := v.(Counter)
		if !ok {
			return nil, false
		}
		total += c
	}
	return total, true
}

// compareValues orders values: null < bool < number < time < string < bytes <
// list < map; false < true; numbers of all types by what they are worth, NaN
// first; strings and bytes bytewise; lists by element; maps by their sorted keys
// and values.
func compareValues(a, b any) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case bool:
		return cmp.Compare(b2u(a), b2u(b.(bool)))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case []any:
		return slices.CompareFunc(a, b.([]any), compareValues)
	case map[string]any:
		return compareMaps(a, b.(map[string]any))
	}
	switch rank(a) {
	case rankNumber:
		return compareNumbers(a, b)
	case rankTime:
		return timeOf(a).Compare(timeOf(b))
	case rankString:
		return strings.Compare(stringOf(a), stringOf(b))
	}
	return 0
}
