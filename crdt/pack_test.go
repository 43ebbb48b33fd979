package crdt_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// bothEnds packs changes and unpacks them again at the other end of a session.
type bothEnds struct {
	there, here             crdt.PackTables
	recordThere, recordHere map[string]*crdt.PackRecord
	held                    []crdt.Hash
}

func newEnds() *bothEnds {
	return &bothEnds{recordThere: map[string]*crdt.PackRecord{}, recordHere: map[string]*crdt.PackRecord{}}
}

// carry returns the length of the packed form, which has to give the chunk again.
func (e *bothEnds) carry(t testing.TB, id string, chunk []byte, mode crdt.PackMode) int {
	if e.recordThere[id] == nil {
		e.recordThere[id], e.recordHere[id] = &crdt.PackRecord{}, &crdt.PackRecord{}
	}
	packed, hash := e.there.Pack([]byte("before"), chunk, e.recordThere[id], mode)
	packed = append(packed, "behind"...)
	got, rest, gotHash, err := e.here.Unpack(packed[6:], e.recordHere[id], len(chunk), e.find)
	require.NoError(t, err)
	require.Equal(t, "behind", string(rest))
	require.True(t, bytes.Equal(chunk, got), "%x\nbecame\n%x", chunk, got)
	require.Equal(t, hash, gotHash)
	if c, err := crdt.ParseChange(chunk); err == nil && bytes.Equal(c.Raw(), chunk) {
		require.Equal(t, c.Hash(), hash)
	}
	e.held = append(e.held, hash)
	return len(packed) - 12
}

func (e *bothEnds) find(prefix []byte) (h crdt.Hash, ok bool) {
	i := slices.IndexFunc(e.held, func(h crdt.Hash) bool { return bytes.HasPrefix(h[:], prefix) })
	if i < 0 {
		return h, false
	}
	return e.held[i], true
}

var packModes = []crdt.PackMode{crdt.PackShort, crdt.PackFull, crdt.PackWhole}

// Whatever Automerge writes comes out as it went in, in any order and mode.
func TestPackedChangesComeOutAsTheyWere(t *testing.T) {
	rng := seeded(t, 11)
	packed, raw := 0, 0
	e := newEnds()
	for file, chunks := range vectors(t) {
		for _, chunk := range chunks {
			if chunk[8] != 1 {
				continue
			}
			packed += e.carry(t, file, chunk, crdt.PackShort)
			raw += len(chunk)
		}
		for range len(chunks) {
			e.carry(t, file, chunks[rng.IntN(len(chunks))], packModes[rng.IntN(3)])
		}
	}
	require.Less(t, packed, raw*8/10, "of %d bytes", raw)
	for range 20 {
		for _, core := range coreHistory(t, rng, 30) {
			e.carry(t, "core", core.Save(), packModes[rng.IntN(3)])
		}
	}
}

// Several replicas edit a record at once, and what each makes is carried, by chance
// late: deletions, counters, lists, marks, maps in maps, settled conflicts.
func TestPackedHistoriesComeOutAsTheyWere(t *testing.T) {
	rng := seeded(t, 12)
	for range 20 {
		e := newEnds()
		var all []*crdt.History
		for range 3 {
			all = append(all, crdt.NewHistory())
		}
		for step := range 60 {
			h := all[rng.IntN(len(all))]
			actor := crdt.ActorID(strings.Repeat(string(rune('a'+rng.IntN(4))), 16))
			if slices.IndexFunc(all, func(o *crdt.History) bool { return o != h && o.Clock()[actor] > h.Clock()[actor] }) >= 0 {
				continue // it would reuse a sequence number
			}
			edit := h.Begin(actor, int64(1e12+step*7), nil)
			require.NoError(t, randomEdit(rng, h, edit))
			c, err := edit.Commit([]string{"", "", "why"}[rng.IntN(3)])
			require.NoError(t, err)
			if c != nil {
				e.carry(t, "r", c.Raw(), crdt.PackMode(rng.IntN(2)))
			}
			if from := all[rng.IntN(len(all))]; from != h && rng.IntN(3) == 0 {
				pullAll(t, h, from)
			}
		}
	}
}

func randomEdit(rng *rand.Rand, h *crdt.History, e *crdt.Edit) error {
	field := crdt.Path{{Key: []string{"name", "count", "a rather long name of a field", ""}[rng.IntN(4)]}}
	switch rng.IntN(7) {
	case 0:
		return e.Put(field, nil, crdt.Merge)
	case 1:
		return e.Put(field, int64(rng.Uint64()>>rng.IntN(64)), crdt.Merge)
	case 2:
		return e.Put(crdt.Path{{Key: "hits"}}, crdt.Counter(rng.IntN(5)), crdt.Merge)
	case 3:
		return e.Put(crdt.Path{{Key: "m"}}, map[string]any{"x": float64(rng.IntN(9)), "y": "z"}, crdt.Merge)
	case 4:
		return e.Put(crdt.Path{{Key: "l"}}, []any{int64(1), "two", rng.IntN(2) == 0}, crdt.Merge)
	case 5:
		return e.Put(crdt.Path{{Key: "t"}}, crdt.Text(strings.Repeat("so ", rng.IntN(9))), crdt.Merge)
	}
	if _, ok := h.Value(nil)["name"]; ok {
		return e.Delete(crdt.Path{{Key: "name"}})
	}
	return e.Put(crdt.Path{{Key: "name"}}, []byte{0, 255}, crdt.Merge)
}

// One field of a record that both ends know.
func TestPackedUpdateIsSmall(t *testing.T) {
	e, h := newEnds(), crdt.NewHistory()
	actor := crdt.ActorID("0123456789abcdef")
	size := 0
	for i := range 300 {
		edit := h.Begin(actor, 1.7e12+int64(i)*10, nil)
		require.NoError(t, edit.Put(crdt.Path{{Key: "count"}}, int64(1000+i), crdt.Merge))
		c, err := edit.Commit("")
		require.NoError(t, err)
		size = e.carry(t, "r", c.Raw(), crdt.PackShort)
	}
	require.LessOrEqual(t, size, 8)
}

// More actors and names than a table holds.
func TestPackedNamesGoRound(t *testing.T) {
	rng := seeded(t, 13)
	e := newEnds()
	for i := range 2000 {
		h := crdt.NewHistory()
		actor := crdt.ActorID(strings.Repeat(string(rune(rng.IntN(400))), 1+rng.IntN(60)))
		edit := h.Begin(actor[:min(len(actor), crdt.MaxActorLen)], int64(i), nil)
		require.NoError(t, edit.Put(crdt.Path{{Key: strings.Repeat("k", rng.IntN(300))}}, "v", crdt.Merge))
		c, err := edit.Commit("")
		require.NoError(t, err)
		e.carry(t, "r", c.Raw(), crdt.PackShort)
	}
}

// FuzzUnpack: any bytes, any state: no panic, and no chunk beyond the limit or with
// another hash than its own.
func FuzzUnpack(f *testing.F) {
	for _, seed := range packedSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) { unpackAll(t, b) })
}

// packedSeeds are streams of packed changes as Pack writes them.
func packedSeeds(t testing.TB) (seeds [][]byte) {
	for _, chunks := range vectors(t) {
		var tables crdt.PackTables
		var record crdt.PackRecord
		var b []byte
		for i, chunk := range chunks {
			b, _ = tables.Pack(b, chunk, &record, packModes[min(i%8, 2)%2])
			if len(b) > 1000 {
				break
			}
		}
		seeds = append(seeds, b)
	}
	return seeds
}

// unpackAll unpacks changes until one fails, and returns how many there were.
func unpackAll(t testing.TB, b []byte) (n int) {
	const limit = 1 << 16
	var tables crdt.PackTables
	var record crdt.PackRecord
	find := func(prefix []byte) (h crdt.Hash, ok bool) { return h, prefix[0]%2 == 0 }
	for len(b) > 0 {
		chunk, rest, hash, err := tables.Unpack(b, &record, limit, find)
		if err != nil {
			var invalid *crdt.InvalidError
			require.ErrorAs(t, err, &invalid)
			return n
		}
		require.LessOrEqual(t, len(chunk), limit)
		require.Less(t, len(rest), len(b))
		if c, err := crdt.ParseChange(chunk); err == nil && bytes.Equal(c.Raw(), chunk) {
			require.Equal(t, c.Hash(), hash)
		}
		b, n = rest, n+1
	}
	return n
}

func TestUnpackIsBounded(t *testing.T) {
	for _, mode := range packModes {
		h := crdt.NewHistory()
		edit := h.Begin("0123456789abcdef", 1, nil)
		require.NoError(t, edit.Put(crdt.Path{{Key: "text"}}, strings.Repeat("x", 500), crdt.Merge))
		c, err := edit.Commit("")
		require.NoError(t, err)
		for over := range 2 {
			var there, here crdt.PackTables
			packed, _ := there.Pack(nil, c.Raw(), &crdt.PackRecord{}, mode)
			_, _, _, err = here.Unpack(packed, &crdt.PackRecord{}, len(c.Raw())-over, nil)
			if over == 0 {
				require.NoError(t, err)
				continue
			}
			var invalid *crdt.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, crdt.CodeSize, invalid.Code)
		}
	}
}
