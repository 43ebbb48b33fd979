package replica

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// followBytes bounds the histories that one watcher keeps, and followAllBytes those of
// all watchers of a replica, approximately: each keeps its last one whatever its size.
const (
	followBytes    = 8 << 20
	followAllBytes = 64 << 20
)

// follower works out what each change that a watcher is told of made different. It
// keeps the histories of the records last told of as they were after that change,
// so that the next one costs what that change touches; a record's first one costs
// reading its changes. It belongs to one watcher: another one may be elsewhere in
// the log.
type follower struct {
	r     *Replica
	cache *cache
}

func newFollower(r *Replica) *follower {
	r.followers.Add(1)
	return &follower{r: r, cache: newCache(followBytes)}
}

// end is to be called when it is no longer used.
func (f *follower) end() { f.r.followers.Add(-1) }

// forget is for a change that is passed over: the next one does not build on what is
// in memory.
func (f *follower) forget(k crdt.Key) {
	if e := f.cache.get(k); e != nil {
		f.cache.remove(e)
	}
}

// differences returns what the change c of a log row made different in what the
// collection's policy shows.
func (f *follower) differences(rd *persist.Reader, row *persist.LogRow, c *crdt.Change) ([]crdt.Difference, ConflictStep, error) {
	v, err := f.r.loadView(rd, row.Key.Collection)
	if err != nil {
		return nil, ConflictSame, err
	}
	f.cache.limit = min(followBytes, followAllBytes/int(f.r.followers.Load()))
	e := f.cache.get(row.Key)
	if e != nil {
		diffs, step, err := f.add(e, c, v)
		if err == nil {
			return diffs, step, nil
		}
		f.cache.remove(e) // changes of it were withdrawn: read it again
	}
	e = &entry{row: persist.Record{Key: row.Key}}
	if e.hist, err = historyBefore(rd, row); err != nil {
		return nil, ConflictSame, err
	}
	f.cache.put(e)
	diffs, step, err := f.add(e, c, v)
	if err != nil {
		f.cache.remove(e)
	}
	return diffs, step, err
}

func (f *follower) add(e *entry, c *crdt.Change, v view) ([]crdt.Difference, ConflictStep, error) {
	before := e.hist.ConflictCount(v.View)
	diffs, err := e.hist.AddDiff(c, v.View)
	if err != nil {
		return nil, ConflictSame, err
	}
	f.cache.resize(e)
	return diffs, conflictStep(before, e.hist.ConflictCount(v.View)), nil
}

// historyBefore reads a record's changes before a log row.
func historyBefore(rd *persist.Reader, row *persist.LogRow) (*crdt.History, error) {
	h := crdt.NewHistory()
	for c, err := range rd.ParsedChanges(row.RID) {
		if err == nil && c.Hash() == row.Hash {
			return h, nil
		}
		if err == nil {
			_, err = h.Add(c)
		}
		if err != nil {
			return nil, fmt.Errorf("a stored change of %s is damaged, run doctor: %w", row.Key, err)
		}
	}
	return h, nil
}
