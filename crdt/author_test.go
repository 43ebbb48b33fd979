package crdt_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"
)

// seeded returns a random source, and logs the seed that replays the test.
func seeded(t testing.TB, seed uint64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// coreHistory has the core write a random history: several actors that fork and
// merge, all types. It returns the changes in an order in which each follows
// its dependencies.
func coreHistory(t testing.TB, rng *rand.Rand, commits int) []*automerge.Change {
	var docs []*automerge.Doc
	for i := range 2 + rng.IntN(3) {
		d := automerge.New()
		if i > 0 {
			var err error
			d, err = docs[0].Fork()
			require.NoError(t, err)
		}
		require.NoError(t, d.SetActorID(fmt.Sprintf("%016x%02x", rng.Uint64(), i)))
		coreCommit(t, rng, d, i)
		docs = append(docs, d)
	}
	for i := range commits {
		at, from := rng.IntN(len(docs)), rng.IntN(len(docs))
		if at != from && rng.IntN(4) == 0 {
			_, err := docs[at].Merge(docs[from])
			require.NoError(t, err)
		}
		for range 1 + rng.IntN(4) {
			coreEdit(t, rng, docs[at].Root(), 0)
		}
		coreCommit(t, rng, docs[at], i)
	}
	for _, d := range docs[1:] {
		_, err := docs[0].Merge(d)
		require.NoError(t, err)
	}
	changes, err := docs[0].Changes()
	require.NoError(t, err)
	return changes
}

func coreCommit(t testing.TB, rng *rand.Rand, d *automerge.Doc, i int) {
	at := time.UnixMilli(rng.Int64N(1<<42) - 1<<20)
	message := ""
	if rng.IntN(3) == 0 {
		message = fmt.Sprintf("commit %d é", i)
	}
	_, err := d.Commit(message, automerge.CommitOptions{Time: &at, AllowEmpty: true})
	require.NoError(t, err)
}

// coreEdit makes one random edit of v or of something in it.
func coreEdit(t testing.TB, rng *rand.Rand, v *automerge.Value, depth int) {
	switch v.Kind() {
	case automerge.KindMap:
		coreEditMap(t, rng, v.Map(), depth)
	case automerge.KindList:
		coreEditList(t, rng, v.List(), depth)
	case automerge.KindText:
		text := v.Text()
		at := rng.IntN(text.Len() + 1)
		cut := rng.IntN(min(3, text.Len()-at) + 1)
		insert := []string{"", "x", "aaaa", "hé€𝄞", "lorem ipsum dolor sit amet"}[rng.IntN(5)]
		require.NoError(t, text.Splice(at, cut, insert))
	case automerge.KindCounter:
		require.NoError(t, v.Counter().Inc(rng.Int64N(400)-200))
	}
}

func coreEditMap(t testing.TB, rng *rand.Rand, m *automerge.Map, depth int) {
	key := []string{"a", "b", "c", "name", "ключ", "long key with blanks"}[rng.IntN(6)]
	old, err := m.Get(key)
	require.NoError(t, err)
	switch rng.IntN(5) {
	case 0:
		if !old.IsVoid() {
			require.NoError(t, m.Delete(key))
		}
	case 1, 2:
		coreEdit(t, rng, old, depth+1)
	default:
		require.NoError(t, m.Set(key, coreValue(rng, depth)))
	}
}

func coreEditList(t testing.TB, rng *rand.Rand, l *automerge.List, depth int) {
	n := l.Len()
	if n == 0 {
		require.NoError(t, l.Append(coreScalar(rng), coreScalar(rng)))
		return
	}
	at := rng.IntN(n)
	switch rng.IntN(5) {
	case 0:
		require.NoError(t, l.Delete(at))
	case 1:
		require.NoError(t, l.Set(at, coreValue(rng, depth)))
	case 2:
		old, err := l.Get(at)
		require.NoError(t, err)
		if old.Kind() != automerge.KindCounter {
			coreEdit(t, rng, old, depth+1)
		}
	default:
		values := []any{coreValue(rng, depth)}
		for range rng.IntN(5) {
			values = append(values, coreScalar(rng))
		}
		require.NoError(t, l.Insert(at, values...))
	}
}

func coreValue(rng *rand.Rand, depth int) any {
	if depth < 3 {
		switch rng.IntN(8) {
		case 0:
			return map[string]any{"a": coreScalar(rng), "z": coreScalar(rng)}
		case 1:
			return []any{coreScalar(rng), coreScalar(rng), coreScalar(rng)}
		case 2:
			return automerge.NewText("text")
		}
	}
	if rng.IntN(8) == 0 {
		return automerge.NewCounter(rng.Int64N(100))
	}
	return coreScalar(rng)
}

func coreScalar(rng *rand.Rand) any {
	switch rng.IntN(10) {
	case 0:
		return nil
	case 1:
		return rng.IntN(2) == 0
	case 2:
		return rng.Uint64() >> rng.IntN(64)
	case 3:
		return int64(rng.Uint64()) >> rng.IntN(64)
	case 4:
		return []float64{0, math.Copysign(0, -1), 1.5, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64}[rng.IntN(7)]
	case 5:
		return time.UnixMilli(rng.Int64N(1<<43) - 1<<42)
	case 6:
		return []byte(fmt.Sprint("bytes", rng.IntN(100)))
	case 7:
		return "the same string"
	default:
		return fmt.Sprint("s", rng.IntN(1000))
	}
}
