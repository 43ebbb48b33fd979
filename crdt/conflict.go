package crdt

import (
	"bytes"
	"slices"
)

// Conflict is a field or list element to which several changes wrote without
// knowing of each other, or that one overwrote or deleted while another wrote to
// it, edited in it or incremented it.
type Conflict struct {
	Path       Path        // empty: the record itself, under a policy of whole records
	Candidates []Candidate // the greatest operation ID first
}

// Candidate is one of the values of a conflict. They differ in at least one
// pair.
//
// Of a hidden candidate Op made the object or counter, and what follows is that of
// the latest edit that whoever overwrote it had not seen: by time, of equal ones the
// greatest change.
type Candidate struct {
	Value   any       // as History.Value gives it; nil of a deletion
	Deleted bool      // it is a deletion
	Hidden  bool      // an object or counter, overwritten or deleted by who did not know of an edit in it; no Automerge shows it
	Op      OpID      // what Edit.Resolve takes; of a record's candidate the last operation of its head
	Replica ReplicaID // of Actor; zero for a foreign actor
	Actor   ActorID
	Time    int64 // of the change, in milliseconds since 1970
	Hash    Hash  // of the change
	Message string
	Winner  bool // whether the view shows it; none is, where the view combines them
}

// Conflicts returns the conflicts in what the view shows, by path. A conflict
// within a candidate that is not shown, or within combined ones, has no path and
// is not among them; nor is one within a hidden candidate, even if it is shown, nor
// are the characters of texts. Candidates that print alike are no conflict.
func (h *History) Conflicts(v *View) []Conflict {
	var found []Conflict
	if c, ok := h.recordConflict(v); ok {
		found = append(found, c)
	}
	h = h.under(v)
	f := conflictFinder{h: h, out: jsonWriter{h: h}, report: func(p Path, cs []candidate, o outcome, sc scope) {
		found = append(found, h.conflict(p, cs, o, sc))
	}}
	f.find(v.fields())
	return found
}

// ConflictCount returns how many conflicts there are. It costs next to nothing
// while no field has two candidates.
func (h *History) ConflictCount(v *View) int {
	n := 0
	if _, ok := h.recordConflict(v); ok {
		n = 1
	}
	return n + h.under(v).countConflicts(v.fields())
}

func (h *History) countConflicts(v *View) int {
	n := 0
	f := conflictFinder{h: h, out: jsonWriter{h: h}, report: func(Path, []candidate, outcome, scope) { n++ }}
	f.find(v)
	return n
}

// conflictFinder walks what a view shows.
type conflictFinder struct {
	h      *History
	path   Path
	empty  bool // whether empty slots may have candidates
	out    jsonWriter
	a, b   []byte // scratch
	cs     []candidate
	report func(Path, []candidate, outcome, scope)
}

func (f *conflictFinder) find(v *View) {
	if f.empty = f.h.anyHidden(); f.h.multi > 0 || f.h.contested() {
		f.object(f.h.root, v.top())
	}
}

func (f *conflictFinder) object(obj *object, sc scope) {
	switch obj.kind {
	case MakeMap:
		for e := range obj.fields.all {
			if !e.slot.empty() || f.empty {
				f.slot(Step{Key: e.key}, place{obj: obj, key: e.key, slot: &e.slot}, sc.key(e.key))
			}
		}
	case MakeList:
		i := 0
		for e := range obj.seq.all {
			if e.slot.empty() && !f.empty {
				continue
			}
			if f.slot(Step{Index: i, InList: true}, place{obj: obj, elem: e.id, slot: &e.slot}, sc.index(i)) {
				i++
			}
		}
	}
}

// slot reports a conflict at a place, goes on in what is shown there, and
// reports whether anything is.
func (f *conflictFinder) slot(step Step, at place, sc scope) bool {
	unseen := f.h.unseenAt(at)
	if at.slot.rivals == nil && unseen == nil {
		if at.slot.empty() {
			return false
		}
		if obj := f.h.objects[at.slot.first]; obj != nil {
			f.path = append(f.path, step)
			f.object(obj, sc)
			f.path = f.path[:len(f.path)-1]
		}
		return true
	}
	f.cs = f.h.merged(f.cs[:0], at.slot, unseen)
	o := f.h.choose(f.cs, sc)
	f.path = append(f.path, step)
	if f.differ(f.cs, sc) {
		f.report(f.path, f.cs, o, sc)
	}
	if obj := f.h.objects[o.id]; obj != nil && o.shown && !o.hidden {
		f.object(obj, sc)
	}
	f.path = f.path[:len(f.path)-1]
	return o.shown
}

// differ reports whether any two candidates print differently.
func (f *conflictFinder) differ(cs []candidate, sc scope) bool {
	for i, c := range cs {
		if c.deleted != cs[0].deleted {
			return true
		}
		if c.deleted {
			continue
		}
		f.b = f.out.candidate(f.b[:0], c.id, sc)
		if i == 0 {
			f.a, f.b = f.b, f.a
		} else if !bytes.Equal(f.a, f.b) {
			return true
		}
	}
	return false
}

func (h *History) conflict(p Path, cs []candidate, o outcome, sc scope) Conflict {
	c := Conflict{Path: slices.Clone(p), Candidates: make([]Candidate, len(cs))}
	for i := range cs {
		c.Candidates[i] = h.publicCandidate(cs[i], sc)
	}
	// Of several deletions it does not matter which one is shown.
	won := slices.IndexFunc(cs, func(c candidate) bool { return o.shown && c.id == o.id || !o.shown && c.deleted })
	if won >= 0 {
		c.Candidates[won].Winner = true
	}
	return c
}

func (h *History) publicCandidate(c candidate, sc scope) Candidate {
	p := Candidate{Deleted: c.deleted, Hidden: c.hidden(), Op: h.publicID(c.id)}
	if !c.deleted {
		p.Value = h.candidateValue(c.id, sc)
	}
	p.author(h.nodes[c.by().node].c)
	return p
}

// author fills in what the change says.
func (p *Candidate) author(c *Change) {
	p.Actor = c.Actor()
	p.Replica, _ = p.Actor.Replica()
	p.Time, p.Hash, p.Message = c.Time(), c.hash, c.message
}
