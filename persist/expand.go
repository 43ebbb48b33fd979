package persist

import (
	"sync"

	"github.com/godwitdb/godwit/crdt"
)

// maxExpanded bounds the bytes of changes that are kept out of snapshots, the
// last one's apart.
const maxExpanded = 16 << 20

// expandedKey names what a snapshot of a record held. Whatever is at a place of
// the log stays, so it always means the same.
type expandedKey struct {
	rid int64
	lsn crdt.LSN
}

// expanded keeps what was last taken out of snapshots: who reads the log page by
// page meets the same record again. Safe for concurrent use.
type expanded struct {
	mu    sync.Mutex // guards what follows
	last  []expandedKey
	byKey map[expandedKey]*expansion
	bytes int
}

func (e *expanded) get(k expandedKey) *expansion {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byKey[k]
}

func (e *expanded) put(k expandedKey, x *expansion) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byKey == nil {
		e.byKey = make(map[expandedKey]*expansion)
	}
	if e.byKey[k] != nil {
		return
	}
	for len(e.last) > 0 && e.bytes+x.bytes > maxExpanded {
		e.bytes -= e.byKey[e.last[0]].bytes
		delete(e.byKey, e.last[0])
		e.last = e.last[1:]
	}
	e.byKey[k] = x
	e.last = append(e.last, k)
	e.bytes += x.bytes
}
