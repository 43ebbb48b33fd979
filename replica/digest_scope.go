package replica

import (
	"iter"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// has is holds for an item. A record that is wanted back, and of which nothing has come,
// or that nobody is shown, is like none.
func (c *carry) has(r *Replica, rd *persist.Reader, it *persist.Item) (bool, error) {
	if len(it.Heads) == 0 || it.Unseen {
		return false, nil
	}
	return c.meets(r, rd, it.Key)
}

// holds reports whether the carry has the record, as its value is now. None has one that
// nobody is shown.
func (c *carry) holds(r *Replica, rd *persist.Reader, k crdt.Key) (bool, error) {
	if !c.covers(k) {
		return false, nil
	}
	if unseen, err := rd.UnseenKey(k); unseen || err != nil {
		return false, err
	}
	return c.meets(r, rd, k)
}

// meets is holds without a look at who is shown the record.
func (c *carry) meets(r *Replica, rd *persist.Reader, k crdt.Key) (bool, error) {
	if !c.covers(k) || !c.depends(k) {
		return c.covers(k), nil
	}
	value, err := r.stored(rd, k)
	if err != nil {
		return false, err
	}
	return c.shows(k, value)
}

// items yields the items that the carry covers, and perhaps others.
func (c *carry) items(rd *persist.Reader) iter.Seq2[persist.Item, error] {
	if c.none {
		return func(func(persist.Item, error) bool) {}
	}
	for i := range c.scopes {
		if named(c.scopes[i].Scope) {
			return itemsIn(rd, c.scopes[i].Scope)
		}
	}
	return rd.Items("", "")
}

// named reports whether each selector of the scope says of which collection.
func named(s transport.Scope) bool {
	return !slices.ContainsFunc(s.Only, func(sel transport.Selector) bool { return sel.Collection == "" })
}

// itemsIn yields the items of a scope that is named, and godwit's own, each once.
func itemsIn(rd *persist.Reader, s transport.Scope) iter.Seq2[persist.Item, error] {
	return func(yield func(persist.Item, error) bool) {
		seen := map[int64]bool{}
		for _, sel := range append([]transport.Selector{{Collection: reserved}}, s.Only...) {
			prefix := sel.Prefix
			if sel.ID != "" {
				prefix = sel.ID
			}
			for it, err := range rd.Items(sel.Collection, prefix) {
				if err == nil && seen[it.RID] {
					continue
				}
				seen[it.RID] = true
				if !yield(it, err) || err != nil {
					return
				}
			}
		}
	}
}

// within reports whether the carry is known to cover nothing that the other does not.
func (c *carry) within(o *carry) bool {
	if c.none || o.none {
		return c.none
	}
	for i := range o.scopes {
		if !c.names(o.scopes[i].Hash()) {
			return false
		}
	}
	return true
}

func (c *carry) names(h crdt.Hash) bool {
	return slices.ContainsFunc(c.scopes, func(s scope) bool { return s.Hash() == h })
}

// and returns what both cover, each scope once.
func (c *carry) and(o *carry) *carry {
	if c.none || o.none {
		return &carry{none: true}
	}
	both := &carry{where: c.where || o.where}
	for _, s := range append(slices.Clone(c.scopes), o.scopes...) {
		if !both.names(s.Hash()) {
			both.scopes = append(both.scopes, s)
		}
	}
	return both
}

// wire returns the scopes as a Digest has them.
func (c *carry) wire() (all []transport.Scope) {
	if c.none {
		return []transport.Scope{{}}
	}
	for i := range c.scopes {
		all = append(all, c.scopes[i].Scope)
	}
	return all
}

func (c *carry) same(o *carry) bool { return c.within(o) && o.within(c) }
