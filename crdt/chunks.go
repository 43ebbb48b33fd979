package crdt

import "container/heap"

// ParseChunks reads what Automerge writes to a file: any number of chunks one
// after another, documents and changes, plain and deflated. It returns the
// changes in an order that History.Add takes, each once; a change whose
// dependencies are not among them stands last, and Add parks it. Errors are
// *InvalidError, also for bundles (type 3), an experiment of newer Automerge
// versions: load and save such a file with what wrote it. All chunks together are
// held to MaxDocumentOps and MaxDocumentChanges.
func ParseChunks(b []byte) ([]*Change, error) {
	ops, changes := MaxDocumentOps, MaxDocumentChanges
	var all []*Change
	for len(b) > 0 {
		chunk, rest, err := NextChunk(b)
		if err != nil {
			return nil, err
		}
		more, err := parseAny(chunk, ops, changes)
		if err != nil {
			return nil, err
		}
		for _, c := range more {
			ops -= len(c.ops)
		}
		if changes -= len(more); ops < 0 || changes < 0 {
			return nil, invalid(CodeSize, "more than %d operations or %d changes", MaxDocumentOps, MaxDocumentChanges)
		}
		if all == nil && len(rest) == 0 {
			return more, nil // in order by itself
		}
		all, b = append(all, more...), rest
	}
	return inOrder(all), nil
}

func parseAny(chunk []byte, maxOps, maxChanges int) ([]*Change, error) {
	switch chunk[chunkTypeAt] {
	case chunkDocument:
		return parseDocument(chunk, maxOps, maxChanges)
	case chunkBundle:
		return nil, invalid(CodeChunk, "a bundle (type 3), which is experimental: save the file as a document")
	}
	c, err := ParseChange(chunk)
	if err != nil {
		return nil, err
	}
	return []*Change{c}, nil
}

// inOrder returns the changes, each once, in an order in which each follows its
// dependencies, and begins at most one beyond all operations before it if that
// can be. An order that is so is kept.
func inOrder(changes []*Change) []*Change {
	index := make(map[Hash]int32, len(changes))
	maxOp, ordered := uint64(0), true
	for i, c := range changes {
		for _, d := range c.deps {
			if _, ok := index[d]; !ok {
				ordered = false
			}
		}
		if _, twice := index[c.hash]; twice || c.startOp > maxOp+1 {
			ordered = false
		}
		index[c.hash] = int32(i)
		maxOp = max(maxOp, c.MaxOp())
	}
	if ordered {
		return changes
	}
	return sortByDeps(changes, index)
}

// sortByDeps is a topological sort (Kahn) that takes the change with the least
// start op first; what waits for something else comes last.
func sortByDeps(changes []*Change, index map[Hash]int32) []*Change {
	waits := make([]int32, len(changes)) // for how many
	next := make([][]int32, len(changes))
	ready := changeQueue{changes: changes}
	for i, c := range changes {
		if index[c.hash] != int32(i) {
			waits[i] = -1 // it comes again
			continue
		}
		for _, d := range c.deps {
			if at, ok := index[d]; ok {
				next[at] = append(next[at], int32(i))
			}
			waits[i]++
		}
		if waits[i] == 0 {
			ready.at = append(ready.at, int32(i))
		}
	}
	heap.Init(&ready)
	sorted := make([]*Change, 0, len(changes))
	for len(ready.at) > 0 {
		i := heap.Pop(&ready).(int32)
		sorted = append(sorted, changes[i])
		for _, n := range next[i] {
			if waits[n]--; waits[n] == 0 {
				heap.Push(&ready, n)
			}
		}
	}
	for i, c := range changes {
		if waits[i] > 0 {
			sorted = append(sorted, c)
		}
	}
	return sorted
}

// changeQueue is a heap of indexes of changes.
type changeQueue struct {
	changes []*Change
	at      []int32
}

func (q *changeQueue) Len() int { return len(q.at) }

func (q *changeQueue) Less(i, j int) bool {
	a, b := q.changes[q.at[i]].startOp, q.changes[q.at[j]].startOp
	return a < b || a == b && q.at[i] < q.at[j]
}

func (q *changeQueue) Swap(i, j int) { q.at[i], q.at[j] = q.at[j], q.at[i] }
func (q *changeQueue) Push(x any)    { q.at = append(q.at, x.(int32)) }

func (q *changeQueue) Pop() any {
	last := q.at[len(q.at)-1]
	q.at = q.at[:len(q.at)-1]
	return last
}
