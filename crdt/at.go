package crdt

import (
	"errors"
	"fmt"
	"slices"
)

// ErrUnknownChange is wrapped by errors about a change that a history does not
// hold.
var ErrUnknownChange = errors.New("no such change in the record's history")

// At returns the record as of the given heads: a history of its own that holds
// the changes they name and all that these build on. Heads may come in any order,
// and need not be the heads of each other's branches; none are the record before
// its first change. A change that is not held is ErrUnknownChange.
//
// It takes the time of adding those changes again.
func (h *History) At(heads Heads) (*History, error) {
	in, err := h.upTo(heads)
	if err != nil {
		return nil, err
	}
	past := NewHistory()
	past.part = true
	for i := range in {
		if !in[i] {
			continue
		}
		if _, err := past.Add(h.nodes[i].c); err != nil {
			return nil, fmt.Errorf("replay change %s: %w", h.nodes[i].c.hash, err)
		}
	}
	past.part = false
	return past, nil
}

// upTo marks the changes, by index, that heads name and all that these build on.
func (h *History) upTo(heads Heads) ([]bool, error) {
	in := make([]bool, len(h.nodes))
	for _, hash := range heads {
		n, ok := h.nodeOf(hash)
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrUnknownChange, hash)
		}
		in[n] = true
	}
	for i := len(in) - 1; i >= 0; i-- { // what a change builds on was added before it
		if !in[i] {
			continue
		}
		for _, d := range h.nodes[i].c.deps {
			n, _ := h.nodeOf(d)
			in[n] = true
		}
	}
	return in, nil
}

// HeadsAt returns the heads of the record as of a time in milliseconds since
// 1970: of the changes whose time is not later, and which build on no change
// whose time is. Clocks of replicas differ; a change that one of them made early
// by its clock, on top of one that another made late, counts as late.
func (h *History) HeadsAt(timeMS int64) Heads {
	in := make([]bool, len(h.nodes))
	isHead := make([]bool, len(h.nodes))
	for i := range h.nodes {
		c := h.nodes[i].c
		in[i] = c.Time() <= timeMS
		deps := make([]uint32, len(c.deps))
		for k, d := range c.deps {
			deps[k], _ = h.nodeOf(d)
			in[i] = in[i] && in[deps[k]]
		}
		if !in[i] {
			continue
		}
		isHead[i] = true
		for _, d := range deps {
			isHead[d] = false
		}
	}
	heads := Heads{}
	for i := range isHead {
		if isHead[i] {
			heads = append(heads, h.nodes[i].c.hash)
		}
	}
	slices.SortFunc(heads, Hash.Compare)
	return heads
}
