package crdt_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// documentSeeds are documents by JavaScript and by the core, none of them large.
func documentSeeds(t testing.TB, rng *rand.Rand) (seeds [][]byte) {
	for _, f := range corpus(t) {
		if chunk, rest, err := crdt.NextChunk(f.data); err == nil && len(rest) == 0 && chunk[8] == 0 && len(chunk) < 2500 {
			seeds = append(seeds, chunk)
		}
	}
	for range 20 {
		var raw []byte
		for _, c := range coreHistory(t, rng, 3+rng.IntN(20)) {
			raw = append(raw, c.Save()...)
		}
		doc := automerge.New()
		require.NoError(t, doc.LoadIncremental(raw))
		seeds = append(seeds, doc.Save())
	}
	return seeds
}

// mutateDocument alters columns, or anything. Mostly it corrects the heads after
// that, without which next to nothing would be accepted.
func mutateDocument(t testing.TB, rng *rand.Rand, chunk, other []byte) []byte {
	if rng.IntN(8) == 0 {
		return crdt.SealChunk(0, mutate(rng, unseal(chunk), unseal(other)))
	}
	d, err := crdt.OpenDocument(chunk)
	require.NoError(t, err)
	from, err := crdt.OpenDocument(other)
	require.NoError(t, err)
	for range 1 + rng.IntN(2) {
		cols, others := d.ChangeCols, from.ChangeCols
		if rng.IntN(4) > 0 {
			cols, others = d.OpCols, from.OpCols
		}
		i := rng.IntN(len(cols))
		switch rng.IntN(12) {
		case 0:
			cols[i] = slices.Clone(others[i])
		case 1:
			cols[i] = nil
		case 2:
			if k := rng.IntN(len(d.Actors) + 1); k < len(d.Actors) {
				d.Actors[k] = crdt.ActorID(mutate(rng, []byte(d.Actors[k]), []byte("x")))
			}
		default:
			if len(cols[i]) > 0 {
				cols[i] = mutate(rng, cols[i], append(slices.Clone(others[i]), 0x7f))
			}
		}
	}
	if rng.IntN(10) > 0 {
		d.FixHeads()
	}
	return d.Chunk()
}

// requireHarmless parses what may be anything: it takes little time and memory,
// and what is accepted is what ParseChange accepts.
func requireHarmless(t testing.TB, b []byte) []*crdt.Change {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	changes, err := crdt.ParseChunks(b)
	runtime.ReadMemStats(&after)
	require.False(t, hangs(b), "%x", b)
	require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20+len(b)), "%x", b)
	if err != nil {
		var invalid *crdt.InvalidError
		require.ErrorAs(t, err, &invalid)
		return nil
	}
	for _, c := range changes {
		parsed, err := crdt.ParseChange(c.Raw())
		require.NoError(t, err, "%x", b)
		require.Equal(t, crdt.Fields(parsed), crdt.Fields(c), "%x", b)
	}
	return changes
}

// hangs reports whether parsing takes more than a second, also when it is tried
// again: other processes may have held up the first attempts.
func hangs(b []byte) bool {
	for range 5 {
		start := time.Now()
		_, _ = crdt.ParseChunks(b)
		if time.Since(start) < slowdown*time.Second {
			return false
		}
	}
	return true
}

// TestDocumentMutants alters documents. What is accepted, and makes a history,
// the core has to load with equal heads and value, and save so that both load it.
// GODWIT_MUTANTS sets how many there are.
func TestDocumentMutants(t *testing.T) {
	mutants := 2000
	if n, err := strconv.Atoi(os.Getenv("GODWIT_MUTANTS")); err == nil {
		mutants = n
	}
	seed := uint64(1)
	if n, err := strconv.Atoi(os.Getenv("GODWIT_SEED")); err == nil {
		seed = uint64(n)
	}
	rng := seeded(t, seed)
	seeds := documentSeeds(t, rng)
	parsed, taken := 0, 0
	for range mutants {
		m := mutateDocument(t, rng, seeds[rng.IntN(len(seeds))], seeds[rng.IntN(len(seeds))])
		changes := requireHarmless(t, m)
		if len(changes) == 0 {
			continue
		}
		parsed++
		h := crdt.NewHistory()
		refused := false
		for _, c := range changes {
			_, err := h.Add(c)
			refused = refused || err != nil
		}
		if !refused {
			taken++
			requireCoreAgrees(t, changes, h)
		}
	}
	t.Logf("%d mutants of %d documents, %d accepted, %d of them make a history", mutants, len(seeds), parsed, taken)
	require.Greater(t, taken, mutants/20)
}

func requireCoreAgrees(t testing.TB, changes []*crdt.Change, h *crdt.History) {
	recordHistory(t, changes, h)
	describe := func() string { return fmt.Sprintf("%x", join(changes)) }
	if file := os.Getenv("GODWIT_MUTANT_FILE"); file != "" { // what killed the process is in there
		require.NoError(t, os.WriteFile(file, join(changes), 0o600))
	}
	doc := automerge.New()
	require.NoError(t, doc.LoadIncremental(join(changes)), describe())
	require.Equal(t, coreHeads(doc), headsOf(h), describe())
	require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil), describe())
	saved := doc.Save()
	again, err := automerge.Load(saved)
	require.NoError(t, err, describe())
	require.Equal(t, coreHeads(doc), coreHeads(again), describe())
	ours, err := crdt.Load(saved)
	require.NoError(t, err, describe())
	require.Equal(t, headsOf(h), headsOf(ours), describe())
}

// A bomb is refused without being inflated into memory.
func TestInflationIsBounded(t *testing.T) {
	bomb := deflateZeros(t, 256<<20)
	require.Less(t, len(bomb), 1<<20)
	data := append([]byte{0, 0}, 1, 0x3d) // no actors, no heads, one column: message, deflated
	data = appendUvarint(data, uint64(len(bomb)))
	data = append(append(data, 0), bomb...)
	require.Nil(t, requireHarmless(t, crdt.SealChunk(0, data)))
	_, err := crdt.ParseDocument(crdt.SealChunk(0, data))
	require.ErrorContains(t, err, "inflate to more than")
}

// Numbers that announce much are refused before anything is allocated for them.
func TestAnnouncedNumbersAreBounded(t *testing.T) {
	runOf := func(n uint64, v byte) []byte { return append(appendSvarint(nil, int64(n)), v) }
	for _, n := range []uint64{1 << 20, 1<<20 + 1, 1 << 21, 1<<21 + 1, 1 << 31, 1 << 40, 1 << 62} {
		for k := range 16 {
			d := crdt.DocumentDraft{Actors: []crdt.ActorID{"a"}, ChangeCols: make([][]byte, 9), OpCols: make([][]byte, 16)}
			d.OpCols[k] = runOf(n, 1)
			require.Nil(t, requireHarmless(t, d.Chunk()))
			d.OpCols[8] = runOf(n, 1)
			require.Nil(t, requireHarmless(t, d.Chunk()))
			if k < 9 {
				d.ChangeCols[k] = runOf(n, 1)
				require.Nil(t, requireHarmless(t, d.Chunk()))
				d.ChangeCols[0] = runOf(n, 0)
				require.Nil(t, requireHarmless(t, d.Chunk()))
			}
		}
	}
}

// A message that is written once for many changes is in each of them.
func TestRepeatedMessagesAreBounded(t *testing.T) {
	const n, length = 20_000, 100_000
	run := func(v ...byte) []byte { return append(appendSvarint(nil, n), v...) }
	d := crdt.DocumentDraft{Actors: []crdt.ActorID{"a"}, ChangeCols: make([][]byte, 9), OpCols: make([][]byte, 16)}
	d.ChangeCols[0], d.ChangeCols[1], d.ChangeCols[2], d.ChangeCols[5] = run(0), run(1), run(0), run(0)
	d.FixHeads()
	require.Len(t, requireHarmless(t, d.Chunk()), n, "without messages")
	d.ChangeCols[4] = append(run(appendUvarint(nil, length)...), make([]byte, length)...)
	require.Nil(t, requireHarmless(t, d.Chunk()))
	_, err := crdt.ParseDocument(d.Chunk())
	require.ErrorContains(t, err, "much longer than the document")
}
