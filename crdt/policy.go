package crdt

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Resolvers: what a view shows of a slot's candidates. A deletion that is
// concurrent with a value is a candidate, and so is what was deleted or overwritten
// while it was edited; automerge does not show it, and those that combine or
// compare values leave both out.
const (
	ResolverAutomerge = "automerge" // the greatest operation ID, as every Automerge shows
	ResolverLWW       = "lww"       // the latest change time; of equal ones the greatest operation ID
	ResolverFWW       = "fww"       // the earliest change time; of equal ones the least operation ID
	ResolverLocal     = "local"     // one of this replica, else as automerge
	ResolverRemote    = "remote"    // one of another replica, else as automerge
	ResolverMax       = "max"       // the greatest value: null < bool < number < time < string < bytes < list < map
	ResolverMin       = "min"       // the least value
	ResolverUnion     = "union"     // of lists: every element once, the earliest candidate's first; of maps: as merge
	ResolverConcat    = "concat"    // texts and strings, the least operation ID first, a newline between
	ResolverMerge     = "merge"     // maps, field by field
	ResolverSum       = "sum"       // counters
)

// Resolvers of whole records; only a policy's default can be one.
const (
	ResolverWholeRecord = "whole-record-lww" // the record as of the latest head
	ResolverUpdateWins  = "update-wins"      // the record whole, if it was edited while another replica deleted it; so also what is in it
	ResolverDeleteWins  = "delete-wins"      // nothing, if it was deleted while another replica edited it
)

// Resolvers that are followed by an argument.
const (
	ResolverPrefer     = "prefer:" // hexadecimal beginnings of actor IDs, such as replica IDs, with commas between: the first that wrote one, else as automerge
	ResolverConcatWith = "concat:" // as concat, with this separator
	ResolverGo         = "go:"     // a function of ViewOptions.Resolvers, by name
)

// Resolvers returns the names that a policy may use and that take no argument.
func Resolvers() []string {
	return []string{ResolverAutomerge, ResolverLWW, ResolverFWW, ResolverLocal, ResolverRemote, ResolverMax, ResolverMin,
		ResolverUnion, ResolverConcat, ResolverMerge, ResolverSum, ResolverWholeRecord, ResolverUpdateWins, ResolverDeleteWins}
}

// Policy says how a view resolves conflicts. Its JSON form is what is stored.
// The zero Policy is automerge everywhere.
type Policy struct {
	Version int           `json:"version,omitempty"` // of the form: 0 and 1 are this one
	Default string        `json:"default,omitempty"` // a resolver; "" is automerge
	Fields  []FieldPolicy `json:"fields,omitempty"`
}

// FieldPolicy names the resolver of the fields that a pattern matches, and of
// everything in them. Patterns are written like paths; * stands for any key and
// [*] for any index: "a.b", "items[*].price", "*". Of several that match, the most
// specific counts: the longest, of equally long ones that whose first * comes
// later, and of those the first.
type FieldPolicy struct {
	Field    string `json:"field"`
	Resolver string `json:"resolver"`
}

// Bounds of a policy.
const (
	PolicyVersion   = 1        // of the JSON form
	MaxPolicySize   = 64 << 10 // bytes of the JSON form
	MaxPolicyFields = 256
	maxPreferred    = 256 // names of prefer:
)

// ParsePolicy reads a policy's JSON form, from anywhere. What it returns makes a
// View. Unknown members are ignored; a later version of the form is an error.
func ParsePolicy(data []byte) (Policy, error) {
	var p Policy
	if len(data) > MaxPolicySize {
		return p, fmt.Errorf("the policy has %d bytes, at most %d are allowed", len(data), MaxPolicySize)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return Policy{}, fmt.Errorf("parse policy: %w", err)
	}
	if _, err := p.View(ReplicaID{}); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// View makes a policy ready for a replica that has no registered functions.
// Errors name the unknown resolver or the pattern that cannot be read.
func (p Policy) View(self ReplicaID) (*View, error) { return p.Compile(self, ViewOptions{}) }

// Functions returns the names of the functions that a policy needs.
func (p Policy) Functions() (names []string) {
	for _, name := range append([]string{p.Default}, resolversOf(p.Fields)...) {
		if fn, ok := strings.CutPrefix(name, ResolverGo); ok && !slices.Contains(names, fn) {
			names = append(names, fn)
		}
	}
	return names
}

func resolversOf(fields []FieldPolicy) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Resolver
	}
	return names
}

// ViewOptions are what a view needs beside its policy. The zero value is valid.
type ViewOptions struct {
	// Resolvers are the functions that go: names. One that is missing is no
	// error: History.Render reports whether it was needed, and automerge's
	// candidate is shown instead.
	Resolvers map[string]Resolver
	// Failed is told each time a function returned an error or panicked, and
	// automerge's candidate was shown instead. It may be nil.
	Failed func(name string, err error)
}

// Resolver is a function that decides what is shown of a conflict. It gets the
// candidates, which differ in at least one pair, the greatest operation ID first,
// and returns one of them (the Candidate itself, which may be a deletion) or any
// other value that Edit.Put takes. It has to be a pure function of Value, Deleted,
// Op, Replica, Actor, Time, Hash and Message, or replicas will not show the same.
type Resolver func(candidates []Candidate) (any, error)

// Compile makes a policy ready for a replica.
func (p Policy) Compile(self ReplicaID, o ViewOptions) (*View, error) {
	if p.Version < 0 || p.Version > PolicyVersion {
		return nil, fmt.Errorf("the policy has the form of version %d, this godwit reads up to %d", p.Version, PolicyVersion)
	}
	if len(p.Fields) > MaxPolicyFields {
		return nil, fmt.Errorf("the policy has %d fields, at most %d are allowed", len(p.Fields), MaxPolicyFields)
	}
	v := &View{self: self, failed: o.Failed}
	standard, err := parseRule(p.Default, o)
	if err != nil {
		return nil, err
	}
	for _, f := range p.Fields {
		pat, err := parsePattern(f.Field)
		if err != nil {
			return nil, err
		}
		if pat.rule, err = parseRule(f.Resolver, o); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Field, err)
		}
		if pat.rule != nil && pat.rule.how.ofRecords() {
			return nil, fmt.Errorf("field %q: %s is about whole records, and can only be the default", f.Field, f.Resolver)
		}
		v.patterns = append(v.patterns, pat)
	}
	v.setStandard(standard)
	return v, nil
}

// rule is a resolver with its argument. A nil rule is automerge.
type rule struct {
	name   string
	how    resolver
	actors []string // of prefer: beginnings of actor IDs
	sep    string   // of concat
	fn     Resolver // of go; nil if it is not registered
}

func parseRule(name string, o ViewOptions) (*rule, error) {
	r := &rule{name: name, sep: "\n"}
	var err error
	switch {
	case name == "" || name == ResolverAutomerge:
		return nil, nil
	case strings.HasPrefix(name, ResolverPrefer):
		r.how = byPrefer
		r.actors, err = parsePreferred(name[len(ResolverPrefer):])
	case strings.HasPrefix(name, ResolverConcatWith):
		r.how, r.sep = byConcat, name[len(ResolverConcatWith):]
		err = checkString(r.sep)
	case strings.HasPrefix(name, ResolverGo):
		fn := name[len(ResolverGo):]
		if r.how, r.fn = byGo, o.Resolvers[fn]; !isPlainKey(fn) {
			err = fmt.Errorf("a function's name has letters, digits, _ and -")
		}
	default:
		for i, known := range Resolvers() {
			if known == name {
				r.how = resolver(i)
				return r, nil
			}
		}
		return nil, fmt.Errorf("unknown resolver %.80q: there are %s, prefer:ID,..., concat:SEPARATOR and go:NAME", name,
			strings.Join(Resolvers(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("resolver %.80q: %w", name, err)
	}
	return r, nil
}

func parsePreferred(list string) (actors []string, err error) {
	names := strings.SplitN(list, ",", maxPreferred+1)
	if len(names) > maxPreferred {
		return nil, fmt.Errorf("more than %d IDs", maxPreferred)
	}
	for _, name := range names {
		b, err := hex.DecodeString(name)
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%.80q is no replica ID: want hexadecimal digits, in pairs", name)
		}
		actors = append(actors, string(b))
	}
	return actors, nil
}
