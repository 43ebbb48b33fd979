package crdt

import (
	"fmt"
	"slices"
	"strings"
)

// View is a policy made ready, as one replica sees it. A nil View is automerge.
// Views are immutable and safe for concurrent use.
type View struct {
	self     ReplicaID
	standard *rule    // of fields
	record   resolver // byAutomerge, or one of whole records
	patterns []pattern
	plain    *View // itself without the record's rule
	makes    bool  // some resolver looks at values, and may show one that is no candidate
	heeds    bool  // some resolver may show a deletion or a hidden candidate
	failed   func(name string, err error)
}

// resolver is an index into Resolvers, or one of those with an argument.
type resolver uint8

const (
	byAutomerge resolver = iota
	byLWW
	byFWW
	byLocal
	byRemote
	byMax
	byMin
	byUnion
	byConcat
	byMerge
	bySum
	byWholeRecord
	byUpdateWins
	byDeleteWins
	byPrefer
	byGo
)

func (r resolver) ofRecords() bool { return byWholeRecord <= r && r <= byDeleteWins }

// setStandard ends the making of a view, when its patterns are there.
func (v *View) setStandard(r *rule) {
	slices.SortStableFunc(v.patterns, moreSpecific)
	rules := []*rule{r}
	for _, p := range v.patterns {
		rules = append(rules, p.rule)
	}
	for _, r := range rules {
		if r == nil {
			continue
		}
		switch r.how {
		case byMax, byMin, byUnion, byConcat, byMerge, bySum:
			v.makes = true
		case byGo:
			v.makes, v.heeds = true, true
		case byLWW, byFWW, byLocal, byRemote, byPrefer, byUpdateWins:
			v.heeds = true
		}
	}
	v.plain = v
	if r == nil || !r.how.ofRecords() {
		v.standard = r
		return
	}
	plain := *v
	plain.plain = &plain
	if r.how == byUpdateWins {
		plain.standard = r
	}
	v.plain, v.record = &plain, r.how
}

// fields returns the view of what is in a record.
func (v *View) fields() *View {
	if v == nil {
		return nil
	}
	return v.plain
}

type pattern struct {
	steps []Step
	any   []bool // by step: any key, or any index
	rule  *rule
}

// moreSpecific orders patterns: longer ones first, then those whose first * comes
// later.
func moreSpecific(a, b pattern) int {
	if len(a.steps) != len(b.steps) {
		return len(b.steps) - len(a.steps)
	}
	for i := range a.any {
		if a.any[i] != b.any[i] {
			return int(b2u(a.any[i])) - int(b2u(b.any[i]))
		}
	}
	return 0
}

// parsePattern reads a path in which * and [*] may stand.
func parsePattern(s string) (pattern, error) {
	var p pattern
	if s == "" {
		return p, fmt.Errorf("a field pattern is empty")
	}
	rest := s
	for first := true; rest != ""; first = false {
		if len(p.steps) > MaxDepth {
			return p, fmt.Errorf("field pattern %.80q: more than %d steps", s, MaxDepth)
		}
		if !first && rest[0] != '[' {
			if rest[0] != '.' || len(rest) == 1 {
				return p, fmt.Errorf("field pattern %q: expected . or [ at %q", s, rest)
			}
			rest = rest[1:]
		}
		switch {
		case strings.HasPrefix(rest, "[*]"):
			p.steps = append(p.steps, Step{InList: true})
			p.any = append(p.any, true)
			rest = rest[3:]
			continue
		case rest[0] == '*':
			p.steps = append(p.steps, Step{})
			p.any = append(p.any, true)
			rest = rest[1:]
			continue
		}
		n := patternStep(rest)
		path, err := ParsePath(rest[:n])
		if err != nil || len(path) != 1 {
			return p, fmt.Errorf("field pattern %q: cannot read %q", s, rest)
		}
		p.steps = append(p.steps, path[0])
		p.any = append(p.any, false)
		rest = rest[n:]
	}
	return p, nil
}

// patternStep returns the length of the first step: a plain key, or brackets.
func patternStep(s string) int {
	if s[0] != '[' {
		return len(plainPrefix(s))
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ']' && !quoted:
			return i + 1
		}
	}
	return len(s)
}

// scope is a view at one place of a record: the rule that holds for the slots
// there, and the patterns that go on matching below.
type scope struct {
	view  *View
	rule  *rule
	depth int
	alive []uint16
}

func (v *View) top() scope {
	if v == nil {
		return scope{}
	}
	s := scope{view: v, rule: v.standard}
	if len(v.patterns) > 0 {
		s.alive = make([]uint16, len(v.patterns))
		for i := range s.alive {
			s.alive[i] = uint16(i)
		}
	}
	return s
}

func (s scope) key(key string) scope {
	if len(s.alive) == 0 {
		return s
	}
	return s.step(Step{Key: key})
}

func (s scope) index(i int) scope {
	if len(s.alive) == 0 {
		return s
	}
	return s.step(Step{Index: i, InList: true})
}

func (s scope) step(step Step) scope {
	next := scope{view: s.view, rule: s.rule, depth: s.depth + 1}
	ends := false
	for _, i := range s.alive {
		p := &s.view.patterns[i]
		want := p.steps[s.depth]
		if want.InList != step.InList || !p.any[s.depth] && want != step {
			continue
		}
		switch {
		case len(p.steps) > next.depth:
			next.alive = append(next.alive, i)
		case !ends:
			next.rule, ends = p.rule, true
		}
	}
	return next
}
