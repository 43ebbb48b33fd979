package crdt

import (
	"bytes"
	"slices"
)

// Conflict is a field or list element to which several changes wrote without
// knowing of each other.
type Conflict struct {
	Path       Path
	Candidates []Candidate // the greatest operation ID first
}

// Candidate is one of the values of a conflict. They differ in at least one
// pair.
type Candidate struct {
	Value   any       // as History.Value gives it
	Op      OpID      // what Edit.Resolve takes
	Replica ReplicaID // of Actor; zero for a foreign actor
	Actor   ActorID
	Time    int64 // of the change, in milliseconds since 1970
	Hash    Hash  // of the change
	Message string
	Winner  bool // whether the view shows it
}

// Conflicts returns the conflicts in what the view shows, by path. A conflict
// within a candidate that is not shown has no path and is not among them; nor
// are the characters of texts. Candidates that print alike are no conflict.
func (h *History) Conflicts(v *View) []Conflict {
	var found []Conflict
	f := conflictFinder{h: h, out: jsonWriter{h: h}, report: func(p Path, s *slot, sc scope) {
		found = append(found, h.conflict(p, s, sc))
	}}
	f.find(v)
	return found
}

// ConflictCount returns how many conflicts there are. It costs nothing while no
// field has two candidates.
func (h *History) ConflictCount(v *View) int {
	n := 0
	f := conflictFinder{h: h, out: jsonWriter{h: h}, report: func(Path, *slot, scope) { n++ }}
	f.find(v)
	return n
}

// conflictFinder walks what a view shows.
type conflictFinder struct {
	h      *History
	path   Path
	out    jsonWriter
	a, b   []byte // scratch
	report func(Path, *slot, scope)
}

func (f *conflictFinder) find(v *View) {
	if f.h.multi > 0 {
		f.object(f.h.root, v.top())
	}
}

func (f *conflictFinder) object(obj *object, sc scope) {
	switch obj.kind {
	case MakeMap:
		for e := range obj.fields.all {
			if !e.slot.empty() {
				f.slot(Step{Key: e.key}, &e.slot, sc.key(e.key))
			}
		}
	case MakeList:
		i := 0
		for e := range obj.seq.all {
			if !e.slot.empty() {
				f.slot(Step{Index: i, InList: true}, &e.slot, sc.index(i))
				i++
			}
		}
	}
}

func (f *conflictFinder) slot(step Step, s *slot, sc scope) {
	shown := f.h.pick(s, sc)
	obj := f.h.objects[shown]
	if s.rivals == nil && obj == nil {
		return
	}
	f.path = append(f.path, step)
	if f.differ(s, sc) {
		f.report(f.path, s, sc)
	}
	if obj != nil {
		f.object(obj, sc)
	}
	f.path = f.path[:len(f.path)-1]
}

// differ reports whether any two candidates print differently.
func (f *conflictFinder) differ(s *slot, sc scope) bool {
	if s.rivals == nil {
		return false
	}
	f.a = f.out.candidate(f.a[:0], s.first, sc)
	for id := range s.all {
		f.b = f.out.candidate(f.b[:0], id, sc)
		if !bytes.Equal(f.a, f.b) {
			return true
		}
	}
	return false
}

func (h *History) conflict(p Path, s *slot, sc scope) Conflict {
	ids := s.sorted(h, nil)
	c := Conflict{Path: slices.Clone(p), Candidates: make([]Candidate, len(ids))}
	shown := h.pick(s, sc)
	for i, id := range ids {
		change := h.nodes[id.node].c
		actor := change.Actor()
		replica, _ := actor.Replica()
		c.Candidates[i] = Candidate{
			Value: h.candidateValue(id, sc), Op: h.publicID(id),
			Replica: replica, Actor: actor,
			Time: change.Time(), Hash: change.hash, Message: change.message,
			Winner: id == shown,
		}
	}
	return c
}
