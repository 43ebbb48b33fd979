package persist

import (
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// history is what Check rebuilds of a record from its changes.
type history struct {
	changes map[crdt.Hash]bool // true for a head
	clock   crdt.Clock
}

// add takes the next change and says what is wrong with it, "" for nothing.
func (h *history) add(data []byte) string {
	c, err := crdt.ParseChange(data)
	if err != nil {
		return "unreadable change: " + err.Error()
	}
	if _, twice := h.changes[c.Hash()]; twice {
		return fmt.Sprintf("the change %s stands in the log twice", c.Hash())
	}
	detail := ""
	for _, d := range c.Deps() {
		if _, ok := h.changes[d]; !ok {
			detail = fmt.Sprintf("the change %s depends on %s, which is not before it", c.Hash(), d)
			continue
		}
		h.changes[d] = false
	}
	if want := h.clock[c.Actor()] + 1; c.Seq() != want {
		detail = fmt.Sprintf("the change %s has sequence number %d, actor %s is at %d", c.Hash(), c.Seq(), c.Actor(), want)
	}
	h.changes[c.Hash()] = true
	h.clock[c.Actor()] = max(h.clock[c.Actor()], c.Seq())
	return detail
}

// heads returns the changes that no other depends on.
func (h *history) heads() crdt.Heads {
	heads := crdt.Heads{}
	for hash, head := range h.changes {
		if head {
			heads = append(heads, hash)
		}
	}
	slices.SortFunc(heads, crdt.Hash.Compare)
	return heads
}
