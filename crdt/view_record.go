package crdt

import (
	"bytes"
	"cmp"
	"slices"
)

// Rendering is a record as a view shows it.
type Rendering struct {
	JSON      []byte // appended to what Render was given; that alone unless Exists
	Exists    bool   // whether any field is shown: a record without fields is none
	Conflicts int    // as ConflictCount
	Lacking   bool   // a function was needed that is not registered, and automerge's choice is shown
}

// Render appends the record's value under a view as AppendJSON does, and says
// what else there is to be kept of it.
func (h *History) Render(dst []byte, v *View) Rendering {
	var r Rendering
	if _, ok := h.recordConflict(v); ok {
		r.Conflicts = 1
	}
	seen, fields := h.under(v), v.fields()
	seen.lacking = false
	r.Conflicts += seen.countConflicts(fields)
	if r.JSON, r.Exists = dst, seen.shows(fields); r.Exists {
		w := jsonWriter{h: seen}
		r.JSON = w.object(dst, seen.root, fields.top())
	}
	r.Lacking = seen.lacking
	return r
}

// Shows reports whether the record exists under a view: whether any field is
// shown.
func (h *History) Shows(v *View) bool { return h.under(v).shows(v.fields()) }

func (h *History) shows(v *View) bool {
	top := v.top()
	if !h.mayDiffer(top) {
		return h.root.visible > 0
	}
	for f := range h.root.fields.all {
		if h.show(place{obj: h.root, key: f.key, slot: &f.slot}, top.key(f.key)).shown {
			return true
		}
	}
	return false
}

// under returns the history that a view of whole records looks at: this one, or
// one of fewer changes, not to be changed. Only concurrent changes make a
// difference: a change that has seen all others settles it.
func (h *History) under(v *View) *History {
	if v == nil || v.record == byAutomerge || h.settled() {
		return h
	}
	if v.record == byWholeRecord {
		return h.asOf(h.latestHead())
	}
	deleting, others := h.deletingHeads()
	switch {
	case len(deleting) == 0 || len(others) == 0:
		return h
	case v.record == byDeleteWins:
		return NewHistory()
	}
	return h.asOf(h.undeleted(deleting, others)...)
}

// settled reports whether there is a change that has seen all others, be it one
// in the making.
func (h *History) settled() bool {
	return len(h.heads) < 2 || h.inMaking(uint32(len(h.nodes)-1))
}

// latestHead returns the head with the latest time, of equal ones that with the
// greatest last operation.
func (h *History) latestHead() uint32 {
	return slices.MaxFunc(h.heads, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(h.nodes[a].c.Time(), h.nodes[b].c.Time()), h.compareNodes(a, b))
	})
}

// compareNodes orders changes by their last operation.
func (h *History) compareNodes(a, b uint32) int {
	x, y := h.nodes[a].c, h.nodes[b].c
	return cmp.Or(cmp.Compare(x.MaxOp(), y.MaxOp()), cmp.Compare(x.Actor(), y.Actor()))
}

// deletingHeads tells the heads that delete the record, by deleting all the
// fields that they know of, from the others.
func (h *History) deletingHeads() (deleting, others []uint32) {
	for _, n := range h.heads {
		if h.deletesField(n) && !h.asOf(n).Exists() {
			deleting = append(deleting, n)
		} else {
			others = append(others, n)
		}
	}
	return deleting, others
}

func (h *History) deletesField(n uint32) bool {
	return slices.ContainsFunc(h.nodes[n].c.ops, func(o Op) bool { return o.Action == Del && o.InMap && o.Obj.Counter == 0 })
}

// undeleted returns the heads as they were before the record was deleted.
func (h *History) undeleted(deleting, others []uint32) []uint32 {
	for _, n := range deleting {
		for _, d := range h.nodes[n].c.deps {
			if dep, ok := h.nodeOf(d); ok {
				others = append(others, dep)
			}
		}
	}
	return others
}

// asOf returns the history of some changes and their pasts.
func (h *History) asOf(tips ...uint32) *History {
	past := NewHistory()
	past.maxOp = h.maxOp // what others wrote in between is left out: gaps are no news
	for i := range h.nodes {
		n := uint32(i)
		if !slices.ContainsFunc(tips, func(t uint32) bool { return t == n || h.inPast(n, t) }) {
			continue
		}
		if _, err := past.Add(h.nodes[n].c); err != nil { // unreachable: it was added to h
			return h
		}
	}
	return past
}

// recordConflict returns the conflict that a view of whole records decides.
func (h *History) recordConflict(v *View) (c Conflict, ok bool) {
	if v == nil || v.record == byAutomerge || h.settled() {
		return c, false
	}
	if v.record == byWholeRecord {
		c.Candidates = h.headCandidates(v)
	} else if c.Candidates = h.deletionCandidates(v); c.Candidates == nil {
		return c, false
	}
	var a, b []byte
	for i, cand := range c.Candidates {
		b, _ = AppendJSON(b[:0], cand.Value)
		if cand.Deleted != c.Candidates[0].Deleted || i > 0 && !bytes.Equal(a, b) {
			return c, true
		}
		a, b = b, a
	}
	return c, false
}

// headCandidates returns the record as of each head, the greatest first.
func (h *History) headCandidates(v *View) []Candidate {
	heads := slices.Clone(h.heads)
	slices.SortFunc(heads, func(a, b uint32) int { return h.compareNodes(b, a) })
	latest := h.latestHead()
	if len(heads) > maxHeads {
		heads = append(slices.DeleteFunc(heads, func(n uint32) bool { return n == latest })[:maxHeads-1], latest)
	}
	all := make([]Candidate, len(heads))
	for i, n := range heads {
		all[i] = h.headCandidate(n, h.asOf(n), v)
		all[i].Winner = n == latest
	}
	return all
}

// maxHeads is how many heads are candidates of a record.
const maxHeads = 64

// deletionCandidates returns the record's deletions, and what it would be
// without them; nil if it was not deleted while somebody edited it.
func (h *History) deletionCandidates(v *View) []Candidate {
	deleting, others := h.deletingHeads()
	if len(deleting) == 0 || len(others) == 0 {
		return nil
	}
	deleting = deleting[:min(len(deleting), maxHeads)]
	kept := slices.MaxFunc(others, h.compareNodes)
	record := h.asOf(h.undeleted(deleting, others)...)
	all := []Candidate{h.headCandidate(kept, record, v)}
	all[0].Winner = v.record == byUpdateWins
	for _, n := range deleting {
		all = append(all, h.headCandidate(n, nil, v))
	}
	slices.SortFunc(all, func(a, b Candidate) int { return b.Op.Compare(a.Op) })
	if v.record == byDeleteWins {
		all[slices.IndexFunc(all, func(c Candidate) bool { return c.Deleted })].Winner = true
	}
	return all
}

// headCandidate returns a record as a candidate; nil of a deletion.
func (h *History) headCandidate(n uint32, record *History, v *View) Candidate {
	c := h.nodes[n].c
	cand := Candidate{Deleted: record == nil || !record.Shows(v.fields()), Op: OpID{Counter: c.MaxOp(), Actor: c.Actor()}}
	if !cand.Deleted {
		cand.Value = record.Value(v.fields())
	}
	cand.author(c)
	return cand
}
