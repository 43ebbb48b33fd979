package transport_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// logged makes frames of sets as a session does: in positions, several sets a frame,
// some of them passed over, some too large for one frame.
func logged(rng *rand.Rand, sets []transport.Set) (frames []*transport.Changes) {
	at := crdt.Cursor{Epoch: 77, LSN: 5}
	for len(sets) > 0 {
		n := min(1+rng.IntN(8), len(sets))
		f := &transport.Changes{From: at, Sets: sets[:n:n]}
		for _, m := range membersOf(f) {
			at = after(at, m)
		}
		if rng.IntN(4) == 0 { // what is not for the peer
			at.LSN += 3
			at.Chain[0]++
		}
		f.Through, sets = at, sets[n:]
		switch rng.IntN(6) {
		case 0:
			frames = append(frames, parts(f)...)
			continue
		case 1:
			frames = append(frames, f, &transport.Changes{From: at, Through: at, End: true})
			continue
		}
		frames = append(frames, f)
	}
	return frames
}

func membersOf(f *transport.Changes) (all []transport.Member) {
	for _, s := range f.Sets {
		all = append(all, s.Members...)
	}
	return all
}

func after(at crdt.Cursor, m transport.Member) crdt.Cursor {
	at.LSN++
	at.Chain = at.Chain.Next(crdt.Key{Collection: m.Collection, ID: m.ID}, sha256.Sum256(m.Data[8:]))
	return at
}

func parts(f *transport.Changes) (all []*transport.Changes) {
	members := membersOf(f)
	for i := range members {
		all = append(all, &transport.Changes{From: f.From, Through: f.Through, Part: uint64(i), More: i < len(members)-1,
			Sets: []transport.Set{{Members: members[i : i+1]}}})
	}
	return all
}

func packSets(t testing.TB, records int) []transport.Set {
	sets := catchUp(t, records)
	for i := range sets {
		m := &sets[i].Members[0]
		m.Collection += strconv.Itoa(i % records % 70)
		if i%records%9 == 0 {
			m.ID = strings.Repeat(m.ID, 60)
		}
		if i%5 == 4 {
			sets[i].Members = append(sets[i].Members, sets[i-1].Members[0])
		}
	}
	return sets
}

// requireFrame holds an unpacked frame against what was packed. Through is not known
// before the last part of a set.
func requireFrame(t testing.TB, want, got *transport.Changes) {
	if want.More {
		got.Through = want.Through
	}
	require.Equal(t, want, got)
}

func noFind(crdt.Key, []byte) (h crdt.Hash, ok bool) { return h, false }

// findIn finds any change of the sets.
func findIn(sets []transport.Set) transport.FindFunc {
	held := map[string]crdt.Hash{}
	for _, s := range sets {
		for _, m := range s.Members {
			h := crdt.Hash(sha256.Sum256(m.Data[8:]))
			held[m.Collection+"/"+m.ID+string(h[:4])] = h
		}
	}
	return func(k crdt.Key, prefix []byte) (crdt.Hash, bool) {
		h, ok := held[k.String()+string(prefix)]
		return h, ok
	}
}

func TestPackedFramesComeOutAsTheyWere(t *testing.T) {
	sets := packSets(t, 300)
	find := findIn(sets)
	for _, room := range []int{0, 1 << 14} { // for 300 records
		rng := rand.New(rand.NewPCG(21, 0))
		p := transport.NewPacker(transport.NewPackRoom(room))
		var u transport.Unpacker
		codec := transport.NewCodec()
		packed, plain := 0, 0
		for i, f := range logged(rng, sets) {
			if i%50 == 49 {
				p.Rest()
			}
			message, err := codec.Encode(p.Pack(f))
			require.NoError(t, err)
			packed += len(message)
			sent, err := codec.Decode(message)
			require.NoError(t, err)
			got, err := u.Unpack(sent.(*transport.Changes), find)
			require.NoError(t, err)
			requireFrame(t, f, got)
			message, err = codec.Encode(f)
			require.NoError(t, err)
			plain += len(message)
		}
		t.Logf("room for %d records: %d bytes packed, %d plain", room, packed, plain)
		require.Less(t, packed, plain*2/3)
		p.Close()
	}
}

// A frame in answer to a Need has no place in the log and disturbs none.
func TestPackedLooseFrames(t *testing.T) {
	p := transport.NewPacker(transport.NewPackRoom(100))
	var u transport.Unpacker
	sets := packSets(t, 50)
	find := findIn(sets)
	for i, f := range logged(rand.New(rand.NewPCG(22, 0)), sets) {
		if f.Part > 0 || f.More || f.End {
			continue
		}
		if i%3 == 0 {
			f.Loose, f.From, f.Through = uint64(i)+1, crdt.Cursor{}, crdt.Cursor{}
		}
		got, err := u.Unpack(p.Pack(f), find)
		require.NoError(t, err)
		requireFrame(t, f, got)
	}
}

// Whoever could not unpack a loose frame, since it lacks what that takes for known, can
// once it was asked for again: also if nothing with a position was packed before.
func TestPackedLooseFramesAgain(t *testing.T) {
	p := transport.NewPacker(transport.NewPackRoom(100))
	var u transport.Unpacker
	sets := packSets(t, 50)
	last := sets[len(sets)-1]
	f := &transport.Changes{Loose: 1, Sets: []transport.Set{last}}
	_, err := u.Unpack(p.Pack(f), noFind)
	require.ErrorIs(t, err, transport.ErrLost)
	p.Again()
	got, err := u.Unpack(p.Pack(f), noFind)
	require.NoError(t, err)
	requireFrame(t, f, got)
}

// A change may build on one of its own frame that is no head any more: the other side
// has not stored it yet, and finds it there.
func TestPackedBranchesOfOneFrame(t *testing.T) {
	base, ours, theirs := branched(t)
	for name, sets := range map[string][]transport.Set{
		"in sets of their own": {{Members: []transport.Member{base}}, {Members: []transport.Member{ours}}, {Members: []transport.Member{theirs}}},
		"in one set":           {{Members: []transport.Member{base, ours, theirs}}},
	} {
		p := transport.NewPacker(transport.NewPackRoom(0))
		var u transport.Unpacker
		f := &transport.Changes{Loose: 1, Sets: sets}
		got, err := u.Unpack(p.Pack(f), noFind)
		require.NoError(t, err, name)
		requireFrame(t, f, got)
	}
}

// branched returns a change of a record, and two that build on it.
func branched(t *testing.T) (base, ours, theirs transport.Member) {
	write := func(h *crdt.History, replica byte) transport.Member {
		e := h.Begin(crdt.ReplicaID{replica}.Actor([8]byte{1}), 1, nil)
		require.NoError(t, e.Put(nil, map[string]any{"by": int64(replica)}, crdt.Merge))
		c, err := e.Commit("")
		require.NoError(t, err)
		return transport.Member{Collection: "notes", ID: "1", Data: c.Raw()}
	}
	h, other := crdt.NewHistory(), crdt.NewHistory()
	base = write(h, 1)
	c, err := crdt.ParseChange(base.Data)
	require.NoError(t, err)
	_, err = other.Add(c)
	require.NoError(t, err)
	return base, write(h, 2), write(other, 3)
}

// lossy carries frames with losses, repetitions and changed order, asks for resends as
// a session does, and holds whatever is unpacked against what was packed.
func lossy(t *testing.T, seed uint64, frames []*transport.Changes) (resends int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := transport.NewPacker(transport.NewPackRoom(rng.IntN(600)))
	var u transport.Unpacker
	type sent struct{ packed, was *transport.Changes }
	var wire []sent
	again := func(at int) int {
		require.Less(t, resends, 100*len(frames), "no progress")
		p.Again()
		resends++
		return at - int(frames[at].Part) // a set goes as a whole
	}
	for next, at := 0, 0; at < len(frames); {
		for ; next < len(frames) && len(wire) < 6; next++ {
			s := sent{p.Pack(frames[next]), frames[next]}
			switch n := rng.IntN(60); {
			case n == 0:
				continue
			case n == 1:
				wire = append(wire, s)
			case n == 2 && len(wire) > 0:
				wire = slices.Insert(wire, rng.IntN(len(wire)), s)
				continue
			}
			wire = append(wire, s)
		}
		if len(wire) == 0 { // the last ones were lost: the sender's timer
			next = again(at)
			at = next
			continue
		}
		s := wire[0]
		wire = wire[1:]
		got, err := u.Unpack(s.packed, noFind)
		switch {
		case errors.Is(err, transport.ErrLost):
			next = again(at)
			at = next
		case err != nil:
			require.NoError(t, err, "seed %d", seed)
		case got != nil:
			requireFrame(t, s.was, got)
			if s.was == frames[at] {
				at++
			}
		}
	}
	return resends
}

func TestPackedFramesGetLost(t *testing.T) {
	seeds, resends := 200, 0
	if n, err := strconv.Atoi(os.Getenv("GODWIT_SEEDS")); err == nil {
		seeds = n
	}
	frames := logged(rand.New(rand.NewPCG(23, 0)), packSets(t, 60))
	for seed := range seeds {
		resends += lossy(t, uint64(seed), frames)
	}
	t.Logf("%d resends in %d runs, seeds from 0", resends, seeds)
	require.Greater(t, resends, seeds)
}

// Mutants of packed frames, at any place of a stream: no panic, no memory without
// bound, and never a chunk other than the check says.
func TestPackedMutants(t *testing.T) {
	mutants := 5_000
	if n, err := strconv.Atoi(os.Getenv("GODWIT_MUTANTS")); err == nil {
		mutants = n
	}
	const seed = 24
	rng := rand.New(rand.NewPCG(seed, 0))
	sets := packSets(t, 60)
	find, frames := findIn(sets), logged(rng, sets)
	taken := 0
	for done := 0; done < mutants; {
		p := transport.NewPacker(transport.NewPackRoom(1000))
		var u transport.Unpacker
		for _, f := range frames {
			packed := p.Pack(f)
			mutant := &transport.Changes{Packed: mutatePacked(rng, packed.Packed)}
			got, err := requireUnpacks(t, &u, mutant, find)
			if done++; got != nil {
				taken++
			}
			if err != nil || got == nil || rng.IntN(4) == 0 {
				p.Again() // as a session would
				continue
			}
		}
	}
	t.Logf("seed %d: %d mutants, %d taken", seed, mutants, taken)
	require.NotZero(t, taken)
}

func mutatePacked(rng *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + rng.IntN(3) {
		i := rng.IntN(len(b))
		if rng.IntN(3) == 0 {
			i = min(i, 40)
		}
		switch rng.IntN(6) {
		case 0:
			b[i] ^= 1 << rng.IntN(8)
		case 1:
			b[i] = byte(rng.Uint32())
		case 2:
			b = slices.Insert(b, i, byte(rng.Uint32()))
		case 3:
			b = slices.Delete(b, i, min(len(b), i+1+rng.IntN(3)))
		case 4:
			b = slices.Insert(b, i, 0xff, 0xff, 0xff, 0xff, 0x0f)
		case 5:
			b[i] = 0x7f
		}
		if len(b) == 0 {
			return []byte{0}
		}
	}
	return b
}

// requireUnpacks unpacks what may be anything, and holds what comes out against the
// check that came with it.
func requireUnpacks(t testing.TB, u *transport.Unpacker, f *transport.Changes, find transport.FindFunc) (*transport.Changes, error) {
	var before, behind runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := u.Unpack(f, find)
	runtime.ReadMemStats(&behind)
	require.LessOrEqual(t, behind.TotalAlloc-before.TotalAlloc, uint64(32<<20), "%x", f.Packed)
	if err != nil {
		known := errors.Is(err, transport.ErrMalformed) || errors.Is(err, transport.ErrTooLarge) || errors.Is(err, transport.ErrLost)
		require.True(t, known, "%v", err)
		require.Nil(t, got)
		return nil, err
	}
	if got == nil || got.Part > 0 { // the check of a part goes on from those before
		return got, nil
	}
	at := got.From
	for _, m := range membersOf(got) {
		require.Greater(t, len(m.Data), 8, "%x", f.Packed)
		at = after(at, m)
	}
	require.Equal(t, f.Packed[3:11], at.Chain[:8], "%x", f.Packed)
	return got, nil
}

// FuzzUnpack takes two frames, so that the second one meets tables of the first.
func FuzzUnpack(f *testing.F) {
	sets := packSets(f, 10)
	for _, seed := range packedPairs(f) {
		f.Add(seed[0], seed[1])
	}
	find := findIn(sets)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var u transport.Unpacker
		for _, b := range [][]byte{first, second} {
			if len(b) > 0 {
				_, _ = requireUnpacks(t, &u, &transport.Changes{Packed: b}, find)
			}
		}
	})
}

func packedPairs(t testing.TB) (pairs [][2][]byte) {
	frames := logged(rand.New(rand.NewPCG(25, 0)), packSets(t, 10))
	for i := 0; i+1 < len(frames); i += 2 {
		p := transport.NewPacker(transport.NewPackRoom(0))
		pairs = append(pairs, [2][]byte{p.Pack(frames[i]).Packed, p.Pack(frames[i+1]).Packed})
	}
	return pairs
}

// TestWritePackedCorpus makes the committed corpus of FuzzUnpack.
func TestWritePackedCorpus(t *testing.T) {
	if !*writeCorpus {
		t.Skip("only with -write-corpus")
	}
	require.NoError(t, os.MkdirAll("testdata/fuzz/FuzzUnpack", 0o755))
	for i, pair := range packedPairs(t) {
		text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n[]byte(%q)\n", pair[0], pair[1])
		require.NoError(t, os.WriteFile(fmt.Sprintf("testdata/fuzz/FuzzUnpack/frames-%02d", i), []byte(text), 0o644))
	}
}

func TestPackedFramesInOrderOnly(t *testing.T) {
	frames := logged(rand.New(rand.NewPCG(26, 0)), catchUp(t, 4))
	p := transport.NewPacker(transport.NewPackRoom(0))
	var packed []*transport.Changes
	for _, f := range frames {
		packed = append(packed, p.Pack(f))
	}
	require.GreaterOrEqual(t, len(packed), 3)
	var u transport.Unpacker
	unpack := func(f *transport.Changes) (bool, error) {
		got, err := u.Unpack(f, noFind)
		return got != nil, err
	}
	got, err := unpack(packed[0])
	require.True(t, got)
	require.NoError(t, err)
	got, err = unpack(packed[0]) // again
	require.False(t, got)
	require.NoError(t, err)
	_, err = unpack(packed[2]) // too early
	require.ErrorIs(t, err, transport.ErrLost)
	got, err = unpack(packed[1]) // too late; it is known that a resend was asked for
	require.False(t, got)
	require.NoError(t, err)
	p.Again()
	got, err = unpack(p.Pack(frames[1]))
	require.True(t, got)
	require.NoError(t, err)
}

// With more records in turns than the table holds, dependencies are sent whole: of
// those that were dropped the other side may not have committed the last change yet.
func TestPackedTableTooSmall(t *testing.T) {
	p := transport.NewPacker(transport.NewPackRoom(0))
	var u transport.Unpacker
	for i, f := range logged(rand.New(rand.NewPCG(27, 0)), catchUp(t, 300)) {
		_, err := u.Unpack(p.Pack(f), noFind)
		require.NoError(t, err, "frame %d", i)
	}
}
