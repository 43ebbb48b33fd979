package replica_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// author is one of several that write a history, with both implementations.
type author struct {
	t     testing.TB
	rng   *rand.Rand
	actor crdt.ActorID
	h     *crdt.History
	doc   *automerge.Doc
}

// bothHistory is a random history of all types: authors who edit concurrently
// and merge, here and in the core. Each change follows what it needs.
func bothHistory(t testing.TB, rng *rand.Rand, n int) (changes []*crdt.Change) {
	var authors []*author
	for i := range 2 + rng.IntN(2) {
		a := &author{t: t, rng: rng, h: crdt.NewHistory(), doc: automerge.New()}
		id := crdt.ReplicaID{byte(rng.Uint32()), 7: byte(i)}
		a.actor = id.Actor([8]byte{byte(rng.Uint32())})
		require.NoError(t, a.doc.SetActorID(id.Actor([8]byte{byte(rng.Uint32()), 7: 1}).String()))
		authors = append(authors, a)
	}
	first := authors[0]
	e := first.h.Begin(first.actor, 1e12, nil)
	require.NoError(t, e.Put(nil, map[string]any{
		"text": crdt.Text("some text"), "list": []any{"a", int64(1), map[string]any{"k": true}},
		"map": map[string]any{"x": "y"}, "count": crdt.Counter(5), "a": "b",
	}, crdt.Merge))
	c, err := e.Commit("")
	require.NoError(t, err)
	changes = append(changes, c)
	require.NoError(t, first.doc.LoadIncremental(c.Raw()))
	for i := range n {
		a := authors[rng.IntN(len(authors))]
		if i < len(authors) || rng.IntN(3) == 0 {
			a.pull(changes)
		}
		c := a.write(i)
		if c == nil {
			continue
		}
		a.take(c)
		changes = append(changes, c)
	}
	return changes
}

func (a *author) take(c *crdt.Change) {
	_, err := a.h.Add(c)
	require.NoError(a.t, err)
	require.NoError(a.t, a.doc.LoadIncremental(c.Raw()))
}

func (a *author) pull(all []*crdt.Change) {
	for _, c := range all {
		if !a.h.Has(c.Hash()) {
			a.take(c)
		}
	}
}

func (a *author) write(i int) *crdt.Change {
	if a.rng.IntN(2) == 0 {
		return a.writeCore(i)
	}
	e := a.h.Begin(a.actor, 1e12+a.rng.Int64N(100), nil)
	for range 1 + a.rng.IntN(3) {
		a.edit(e)
	}
	c, err := e.Commit([]string{"", "message"}[a.rng.IntN(2)])
	require.NoError(a.t, err)
	return c
}

var sourceKeys = []string{"text", "list", "map", "count", "a", "b", "ключ"}

// edit edits a root field in a way that fits what it holds.
func (a *author) edit(e *crdt.Edit) {
	t, rng := a.t, a.rng
	root := a.h.Value(nil)
	name := sourceKeys[rng.IntN(len(sourceKeys))]
	p := crdt.Path{{Key: name}}
	switch v := root[name].(type) {
	case crdt.Text:
		n := len([]rune(v))
		at := rng.IntN(n + 1)
		require.NoError(t, e.Splice(p, at, rng.IntN(min(3, n-at)+1), []string{"", "x", "hé€𝄞"}[rng.IntN(3)]))
	case []any:
		if len(v) > 0 && rng.IntN(3) == 0 {
			require.NoError(t, e.Delete(append(p, crdt.Step{Index: rng.IntN(len(v)), InList: true})))
			return
		}
		require.NoError(t, e.Insert(p, rng.IntN(len(v)+1), sourceValue(rng), sourceValue(rng)))
	case crdt.Counter:
		require.NoError(t, e.Increment(p, rng.Int64N(9)-4))
	case nil:
		require.NoError(t, e.Put(p, sourceValue(rng), crdt.Merge))
	default:
		if rng.IntN(3) == 0 {
			require.NoError(t, e.Delete(p))
			return
		}
		require.NoError(t, e.Put(p, map[string]any{"x": sourceValue(rng), "z": sourceValue(rng)}, crdt.Merge))
	}
}

func sourceValue(rng *rand.Rand) any {
	switch rng.IntN(10) {
	case 0:
		return map[string]any{"x": "in a map", "n": nil}
	case 1:
		return []any{true, 1.5}
	case 2:
		return crdt.Text("text")
	case 3:
		return crdt.Counter(rng.Int64N(100))
	case 4:
		return []byte("bytes")
	case 5:
		return time.UnixMilli(rng.Int64N(1 << 41)).UTC()
	case 6:
		return uint64(math.MaxUint64)
	case 7:
		return rng.Int64() >> rng.IntN(60)
	}
	return fmt.Sprint("s", rng.IntN(9))
}

func (a *author) writeCore(i int) *crdt.Change {
	t, rng := a.t, a.rng
	for range 1 + rng.IntN(3) {
		m := a.doc.RootMap()
		name := sourceKeys[rng.IntN(len(sourceKeys))]
		v, err := m.Get(name)
		require.NoError(t, err)
		switch v.Kind() {
		case automerge.KindText:
			n := v.Text().Len()
			at := rng.IntN(n + 1)
			require.NoError(t, v.Text().Splice(at, rng.IntN(min(3, n-at)+1), []string{"", "y", "core€"}[rng.IntN(3)]))
		case automerge.KindList:
			require.NoError(t, v.List().Append(coreSource(rng), "tail"))
		case automerge.KindCounter:
			require.NoError(t, v.Counter().Inc(rng.Int64N(7)-3))
		case automerge.KindMap:
			require.NoError(t, v.Map().Set("x", coreSource(rng)))
		default:
			if !v.IsVoid() && rng.IntN(4) == 0 {
				require.NoError(t, m.Delete(name))
				continue
			}
			require.NoError(t, m.Set(name, coreSource(rng)))
		}
	}
	at := time.UnixMilli(1e12 + rng.Int64N(100))
	hash, err := a.doc.Commit(fmt.Sprint("core ", i), automerge.CommitOptions{Time: &at, AllowEmpty: true})
	require.NoError(t, err)
	raw, err := a.doc.Change(hash)
	require.NoError(t, err)
	c, err := crdt.ParseChange(raw.Save())
	require.NoError(t, err)
	return c
}

func coreSource(rng *rand.Rand) any {
	switch rng.IntN(8) {
	case 0:
		return map[string]any{"x": int64(1)}
	case 1:
		return []any{"core", int64(2)}
	case 2:
		return automerge.NewText("core")
	case 3:
		return automerge.NewCounter(3)
	case 4:
		return uint64(7)
	}
	return fmt.Sprint("c", rng.IntN(9))
}

// jsHistories are beginnings of what JavaScript wrote: marks, blocks, runs.
func jsHistories(t testing.TB) (all [][]*crdt.Change) {
	files, err := filepath.Glob("../crdt/testdata/js/*.changes")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		var changes []*crdt.Change
		for len(b) > 0 {
			var chunk []byte
			chunk, b, err = crdt.NextChunk(b)
			require.NoError(t, err)
			c, err := crdt.ParseChange(chunk)
			require.NoError(t, err)
			changes = append(changes, c)
		}
		all = append(all, changes)
	}
	return all
}
