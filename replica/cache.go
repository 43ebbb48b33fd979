package replica

import (
	"container/list"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// entry is a record in memory: its row and its history.
type entry struct {
	row     persist.Record
	hist    *crdt.History
	pending []*crdt.Change     // added by the running batch, not written yet
	mark    *persist.Forgotten // the record was forgotten, and is wanted back; nil: it was not
	unseen  bool               // nobody was shown it, and nobody is, see unseen.go
	size    int                // as counted by the cache
	place   *list.Element      // in the cache; nil: not there
}

// entryOverhead is what an entry costs beside its history, in bytes.
const entryOverhead = 512

// cache holds the records written last, up to a number of bytes. It is touched
// by the writer goroutine only.
type cache struct {
	limit, bytes int
	byKey        map[crdt.Key]*entry
	recent       *list.List // of *entry, most recent first
}

func newCache(limit int) *cache {
	c := &cache{limit: limit}
	c.clear()
	return c
}

func (c *cache) clear() {
	for _, e := range c.byKey {
		e.place = nil
	}
	c.bytes, c.byKey, c.recent = 0, map[crdt.Key]*entry{}, list.New()
}

func (c *cache) get(k crdt.Key) *entry {
	e := c.byKey[k]
	if e != nil {
		c.recent.MoveToFront(e.place)
	}
	return e
}

func (c *cache) put(e *entry) {
	e.place = c.recent.PushFront(e)
	c.byKey[e.row.Key] = e
	c.resize(e)
}

// resize counts the entry anew and makes room. What is dropped may still be in
// use by the running batch; it is then loaded again when next needed.
func (c *cache) resize(e *entry) {
	if e.place == nil {
		return
	}
	size := e.hist.Size() + len(e.row.JSON) + entryOverhead
	c.bytes += size - e.size
	e.size = size
	for c.bytes > c.limit && c.recent.Len() > 1 {
		c.remove(c.recent.Back().Value.(*entry))
	}
}

func (c *cache) remove(e *entry) {
	if e.place == nil {
		return
	}
	c.recent.Remove(e.place)
	delete(c.byKey, e.row.Key)
	c.bytes -= e.size
	e.size, e.place = 0, nil
}
