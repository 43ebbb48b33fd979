package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Resolvers: which of a slot's candidates a view shows.
const (
	ResolverAutomerge = "automerge" // the greatest operation ID, as every Automerge shows
	ResolverLWW       = "lww"       // the latest change time; of equal ones the greatest operation ID
	ResolverFWW       = "fww"       // the earliest change time; of equal ones the least operation ID
	ResolverLocal     = "local"     // one of this replica, else as automerge
	ResolverRemote    = "remote"    // one of another replica, else as automerge
)

// Resolvers returns the names that a policy may use.
func Resolvers() []string {
	return []string{ResolverAutomerge, ResolverLWW, ResolverFWW, ResolverLocal, ResolverRemote}
}

// Policy says how a view resolves conflicts. Its JSON form is what is stored.
// The zero Policy is automerge everywhere.
type Policy struct {
	Default string        `json:"default,omitempty"` // a resolver; "" is automerge
	Fields  []FieldPolicy `json:"fields,omitempty"`
}

// FieldPolicy names the resolver of the fields that a pattern matches, and of
// everything in them. Patterns are written like paths; * stands for any key and
// [*] for any index: "a.b", "items[*].price", "*". Of several that match, the
// longest counts, and of equally long ones the first.
type FieldPolicy struct {
	Field    string `json:"field"`
	Resolver string `json:"resolver"`
}

// View is a policy made ready, as one replica sees it. A nil View is automerge.
// Views are immutable.
type View struct {
	self     ReplicaID
	standard resolver
	patterns []pattern
}

// resolver is an index into Resolvers.
type resolver uint8

const (
	byAutomerge resolver = iota
	byLWW
	byFWW
	byLocal
	byRemote
)

type pattern struct {
	steps    []Step
	any      []bool // by step: any key, or any index
	resolver resolver
}

// View makes a policy ready for a replica. Errors name the unknown resolver or
// the pattern that cannot be read.
func (p Policy) View(self ReplicaID) (*View, error) {
	v := &View{self: self}
	var err error
	if v.standard, err = parseResolver(p.Default); err != nil {
		return nil, err
	}
	for _, f := range p.Fields {
		pat, err := parsePattern(f.Field)
		if err != nil {
			return nil, err
		}
		if pat.resolver, err = parseResolver(f.Resolver); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Field, err)
		}
		v.patterns = append(v.patterns, pat)
	}
	return v, nil
}

func parseResolver(name string) (resolver, error) {
	if name == "" {
		return byAutomerge, nil
	}
	known := Resolvers()
	if i := slices.Index(known, name); i >= 0 {
		return resolver(i), nil
	}
	return 0, fmt.Errorf("unknown resolver %q: there are %s", name, strings.Join(known, ", "))
}

// parsePattern reads a path in which * and [*] may stand.
func parsePattern(s string) (pattern, error) {
	var p pattern
	if s == "" {
		return p, fmt.Errorf("a field pattern is empty")
	}
	rest := s
	for first := true; rest != ""; first = false {
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

// scope is a view at one place of a record: the resolver that holds for the
// slots there, and the patterns that go on matching below.
type scope struct {
	view     *View
	resolver resolver
	depth    int
	alive    []uint16
}

func (v *View) top() scope {
	if v == nil {
		return scope{}
	}
	s := scope{view: v, resolver: v.standard}
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
	next := scope{view: s.view, resolver: s.resolver, depth: s.depth + 1}
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
			next.resolver, ends = p.resolver, true
		}
	}
	return next
}

// pick returns the candidate of a slot, which is not empty, that a scope shows.
func (h *History) pick(s *slot, sc scope) opID {
	if s.rivals == nil {
		return s.first
	}
	switch sc.resolver {
	case byLWW:
		return h.best(s, func(a, b opID) int {
			return cmp.Or(cmp.Compare(h.timeOf(a), h.timeOf(b)), h.compare(a, b))
		})
	case byFWW:
		return h.best(s, func(a, b opID) int {
			return cmp.Or(cmp.Compare(h.timeOf(b), h.timeOf(a)), h.compare(b, a))
		})
	case byLocal:
		return h.preferred(s, func(id opID) bool { return h.isOf(id, sc.view.self) })
	case byRemote:
		return h.preferred(s, func(id opID) bool { return !h.isOf(id, sc.view.self) })
	}
	return s.first
}

// best returns the greatest candidate by an order.
func (h *History) best(s *slot, compare func(a, b opID) int) opID {
	best := s.first
	for id := range s.all {
		if compare(id, best) > 0 {
			best = id
		}
	}
	return best
}

// preferred returns the greatest of the candidates that are preferred, or of all
// if none is.
func (h *History) preferred(s *slot, is func(opID) bool) opID {
	return h.best(s, func(a, b opID) int {
		return cmp.Or(cmp.Compare(b2u(is(a)), b2u(is(b))), h.compare(a, b))
	})
}

func (h *History) timeOf(id opID) int64 { return h.nodes[id.node].c.Time() }

func (h *History) isOf(id opID, self ReplicaID) bool {
	r, ok := h.author(id).Replica()
	return ok && r == self
}
