package compactor_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica/internal/compactor"
)

func key(k string) crdt.Path { return crdt.Path{{Key: k}} }

// write makes n changes and returns all that the history holds.
func write(t testing.TB, h *crdt.History, actor byte, n int, edit func(e *crdt.Edit, i int) error) []*crdt.Change {
	id := crdt.ReplicaID{actor}.Actor([8]byte{9})
	for i := range n {
		e := h.Begin(id, int64(1_700_000_000_000+i), nil)
		require.NoError(t, edit(e, i))
		_, err := e.Commit("")
		require.NoError(t, err)
	}
	return changesOf(h)
}

func changesOf(h *crdt.History) (all []*crdt.Change) {
	for c := range h.Changes() {
		all = append(all, c)
	}
	return all
}

// TestCompact merges histories of three replicas in several orders: the document
// gives back the changes, in the order they had.
func TestCompact(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	k := compactor.New(0, 0)
	defer k.Close()
	for range 30 {
		var sides [3]*crdt.History
		for s := range sides {
			sides[s] = crdt.NewHistory()
		}
		for range 12 {
			s := rnd.IntN(3)
			write(t, sides[s], byte(s), 1+rnd.IntN(4), func(e *crdt.Edit, i int) error {
				return e.Put(nil, map[string]any{fmt.Sprint("k", rnd.IntN(4)): rnd.Int64(), "t": crdt.Text(fmt.Sprint(rnd.Int()))}, crdt.Merge)
			})
			for _, c := range changesOf(sides[rnd.IntN(3)]) {
				_, _ = sides[s].Add(c)
			}
		}
		h := crdt.NewHistory()
		for _, s := range rnd.Perm(3) {
			for _, c := range changesOf(sides[s]) {
				_, err := h.Add(c)
				require.NoError(t, err)
			}
		}
		checkDocument(t, k, h)
	}
}

func checkDocument(t *testing.T, k *compactor.Compactor, h *crdt.History) {
	changes := changesOf(h)
	doc, err := k.Compact(changes, h.Heads())
	require.NoError(t, err)
	parsed, err := crdt.ParseDocument(doc.Chunk)
	require.NoError(t, err)
	require.Len(t, parsed, len(changes))
	for i, c := range changes {
		at := i
		if doc.Order != nil {
			at = int(doc.Order[i])
		}
		require.Equal(t, c.Raw(), parsed[at].Raw())
	}
}

func TestRefuses(t *testing.T) {
	h := crdt.NewHistory()
	changes := write(t, h, 1, 20, func(e *crdt.Edit, i int) error { return e.Put(key("n"), int64(i), crdt.Merge) })
	k := compactor.New(compactor.Estimate(changes)-1, 0)
	_, err := k.Compact(changes, h.Heads())
	require.ErrorIs(t, err, compactor.ErrTooLarge)

	k = compactor.New(0, 0)
	defer k.Close()
	_, err = k.Compact(changes, crdt.Heads{changes[3].Hash()})
	require.ErrorContains(t, err, "heads")
	_, err = k.Compact(changes[1:], h.Heads())
	require.Error(t, err, "a dependency is missing")
	_, err = k.Compact(append(changes[:len(changes):len(changes)], changes[2]), h.Heads())
	require.ErrorContains(t, err, "has 20 changes, not 21")
}

// TestMemory compacts the same large record over and over.
func TestMemory(t *testing.T) {
	h := crdt.NewHistory()
	changes := write(t, h, 1, 4, func(e *crdt.Edit, i int) error {
		for n := range 5000 {
			if err := e.Put(key(fmt.Sprint("key", i, "-", n)), int64(n), crdt.Merge); err != nil {
				return err
			}
		}
		return nil
	})
	k := compactor.New(0, 64<<20)
	before, most := resident(t), 0
	for range 25 {
		_, err := k.Compact(changes, h.Heads())
		require.NoError(t, err)
		most = max(most, resident(t))
	}
	k.Close()
	t.Logf("%d MB more at most, %d MB more at the end", (most-before)>>20, (resident(t)-before)>>20)
	require.Less(t, most-before, 240<<20)
}

// TestEstimate holds estimates against what the core takes, roughly: who has run
// before in this process leaves memory behind that is used again.
func TestEstimate(t *testing.T) {
	h := crdt.NewHistory()
	changes := write(t, h, 1, 60, func(e *crdt.Edit, i int) error {
		if i == 0 {
			return e.Put(key("t"), crdt.Text(""), crdt.Merge)
		}
		return e.Splice(key("t"), (i-1)*500, 0, strings.Repeat("x", 1000))
	})
	k := compactor.New(0, 0)
	doc, err := k.Compact(changes, h.Heads())
	require.NoError(t, err)
	k.Close()
	before := resident(t)
	var docs []*automerge.Doc
	for range 3 {
		d, err := automerge.Load(doc.Chunk)
		require.NoError(t, err)
		docs = append(docs, d)
	}
	took, want := int64(resident(t)-before), 3*compactor.Estimate(changes)
	t.Logf("%d MB, estimated %d MB", took>>20, want>>20)
	require.Less(t, took, want*3/2)
	require.Len(t, docs, 3)
}

// resident returns the memory that the process holds, in bytes.
func resident(t testing.TB) int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("needs Linux")
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}
