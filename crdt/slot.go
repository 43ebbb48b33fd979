package crdt

import (
	"container/heap"
	"slices"
)

// slot holds the visible operations of a map key or of an element: those that
// nothing has overwritten. first is the greatest, which every Automerge shows;
// none: the slot is empty.
type slot struct {
	first  opID
	rivals *rivals // nil without any
}

// rivals are a slot's other candidates. There are one or two, if any; but somebody
// may write to one key a million times in one change, so beyond smallRivals they
// are a heap, and whatever is done to a slot takes logarithmic time.
type rivals struct {
	list  []opID            // in no order; of a heap, the greatest first and some that are gone
	alive map[opID]struct{} // nil if list is not a heap
}

const smallRivals = 32

func (s *slot) empty() bool { return s.first.ctr == 0 }

// all calls yield for each candidate, the greatest first and the others in no
// order.
func (s *slot) all(yield func(opID) bool) {
	if s.empty() || !yield(s.first) || s.rivals == nil {
		return
	}
	if s.rivals.alive == nil {
		for _, id := range s.rivals.list {
			if !yield(id) {
				return
			}
		}
		return
	}
	for id := range s.rivals.alive {
		if !yield(id) {
			return
		}
	}
}

// add takes in a new candidate.
func (s *slot) add(h *History, id opID) {
	if s.empty() {
		s.first = id
		return
	}
	if s.rivals == nil {
		s.rivals = &rivals{}
		h.multi++
		h.size += 64
	}
	if h.less(s.first, id) {
		s.first, id = id, s.first
	}
	s.rivals.push(h, id)
}

// remove takes a candidate out, if it is one.
func (s *slot) remove(h *History, id opID) {
	switch {
	case s.rivals == nil:
		if s.first == id {
			s.first = opID{}
		}
		return
	case s.first == id:
		s.first = s.rivals.pop(h)
	default:
		s.rivals.drop(id)
	}
	if s.rivals.len() == 0 {
		s.rivals = nil
		h.multi--
		h.size -= 64
	}
}

func (r *rivals) len() int {
	if r.alive != nil {
		return len(r.alive)
	}
	return len(r.list)
}

func (r *rivals) push(h *History, id opID) {
	if r.alive != nil {
		r.alive[id] = struct{}{}
		heap.Push(rivalHeap{h, r}, id)
		return
	}
	r.list = append(r.list, id)
	if len(r.list) <= smallRivals {
		return
	}
	r.alive = make(map[opID]struct{}, 2*smallRivals)
	for _, id := range r.list {
		r.alive[id] = struct{}{}
	}
	heap.Init(rivalHeap{h, r})
}

// pop takes out the greatest.
func (r *rivals) pop(h *History) opID {
	if r.alive == nil {
		best := 0
		for i, id := range r.list {
			if h.less(r.list[best], id) {
				best = i
			}
		}
		id := r.list[best]
		r.drop(id)
		return id
	}
	for {
		id := heap.Pop(rivalHeap{h, r}).(opID)
		if _, ok := r.alive[id]; ok {
			delete(r.alive, id)
			return id
		}
	}
}

// drop takes one out, if it is there.
func (r *rivals) drop(id opID) {
	if r.alive != nil {
		delete(r.alive, id) // the heap's copy goes when it comes up
		return
	}
	if i := slices.Index(r.list, id); i >= 0 {
		last := len(r.list) - 1
		r.list[i] = r.list[last]
		r.list = r.list[:last]
	}
}

// rivalHeap makes rivals a heap.Interface.
type rivalHeap struct {
	h *History
	r *rivals
}

func (x rivalHeap) Len() int           { return len(x.r.list) }
func (x rivalHeap) Less(i, j int) bool { return x.h.less(x.r.list[j], x.r.list[i]) }
func (x rivalHeap) Swap(i, j int)      { x.r.list[i], x.r.list[j] = x.r.list[j], x.r.list[i] }
func (x rivalHeap) Push(id any)        { x.r.list = append(x.r.list, id.(opID)) }
func (x rivalHeap) Pop() any {
	last := len(x.r.list) - 1
	id := x.r.list[last]
	x.r.list = x.r.list[:last]
	return id
}
