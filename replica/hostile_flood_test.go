package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// waiting returns n changes of any size that wait for what never comes.
func waiting(n int, ops uint64) (chunks [][]byte) {
	for i := range n {
		d := draft{author: crdt.ActorID(fmt.Sprintf("w%07d", i)), deps: []crdt.Hash{{1}}, seq: 1, start: 1, time: 1e12}
		chunks = append(chunks, seal(inflating(&d, ops)))
	}
	return chunks
}

// inflating is a change whose columns are one run each: a few dozen bytes for
// any number of operations, which set one key to null.
func inflating(d *draft, ops uint64) []byte {
	var e encoder
	run := func(value string) []byte { return []byte(e.sleb(int64(ops)) + value) }
	if ops == 1 {
		d.ops = []draftOp{{inMap: true, key: "k", action: crdt.Set}}
		return e.data(d, nil)
	}
	return e.data(d, func([]column) []column {
		return []column{{0x15, run(e.lengthed("k"))}, {0x34, []byte(e.uleb(ops))}, {0x42, run(e.uleb(1))}, {0x56, run(e.uleb(0))}, {0x70, run(e.uleb(0))}}
	})
}

func TestFloodOfParkedSets(t *testing.T) {
	v := newVictim(t)
	p := dialRaw(t, v.net.Link("evil", "hub"))
	p.shakeEvil()
	const extra = 100
	var sets []transport.Set
	for i, chunk := range waiting(persist.MaxParkedSets+extra, 1) {
		sets = append(sets, single(fmt.Sprint("parked", i%7), chunk))
	}
	codes := map[string]int{}
	for len(sets) > 0 {
		n := min(1000, len(sets))
		for code, k := range p.offer(sets[:n]...) {
			codes[code] += k
		}
		sets = sets[n:]
	}
	require.Equal(t, map[string]int{"parked": persist.MaxParkedSets, "full": extra}, codes)
	st, err := v.r.Status(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, persist.MaxParkedSets, st.Parked)
	require.EqualValues(t, extra, st.Quarantined)
	x := v.honest.push(member("late", v.chain[9]))
	require.Equal(t, "parked", x[0].Code, "another peer has room of its own")
	v.requireUnharmed()
	require.Equal(t, map[string]int{}, p.offer(single("evil", v.chain[0].Raw())), "the session goes on")
}

func TestFloodOfRefusedChanges(t *testing.T) {
	v := newVictim(t)
	p := dialRaw(t, v.net.Link("evil", "hub"))
	p.shakeEvil()
	var sets []transport.Set
	for i := range persist.MaxQuarantined + 500 {
		damaged := bytes.Clone(v.chain[0].Raw())
		damaged[len(damaged)-1] ^= 1
		sets = append(sets, single(fmt.Sprint("bad", i), damaged))
	}
	require.Equal(t, map[string]int{crdt.CodeChunk: len(sets)}, p.offer(sets...))
	st, err := v.r.Status(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, persist.MaxQuarantined, st.Quarantined)
	v.requireUnharmed()
	require.Equal(t, map[string]int{}, p.offer(single("evil", v.chain[0].Raw())), "the session goes on")
}

// A few dozen bytes that stand for a million operations are held one at a time.
func TestChangesThatInflate(t *testing.T) {
	v := newVictim(t)
	p := dialRaw(t, v.net.Link("evil", "hub"))
	p.shakeEvil()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var sets []transport.Set
	for i, chunk := range waiting(12, crdt.MaxOps) {
		require.Less(t, len(chunk), 200)
		sets = append(sets, single(fmt.Sprint("huge", i), chunk))
	}
	require.Equal(t, map[string]int{"parked": 12}, p.offer(sets...))
	several := transport.Set{}
	for _, chunk := range waiting(3, crdt.MaxOps/2) {
		several.Members = append(several.Members, transport.Member{Collection: "notes", ID: "several", Data: chunk})
	}
	require.Equal(t, map[string]int{transport.CodeTooLarge: 1}, p.offer(several))
	d := draft{author: "beyond", seq: 1, start: 1}
	require.Equal(t, map[string]int{crdt.CodeEncoding: 1}, p.offer(single("beyond", seal(inflating(&d, crdt.MaxOps+1)))))
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapSys)-int64(before.HeapSys), int64(800<<20), "12 of them at once would be 1.4 GB")
	t.Logf("the heap grew by %d MiB", (int64(after.HeapSys)-int64(before.HeapSys))>>20)
	v.requireUnharmed()
}

// Changes that wait for what never comes are not parsed again whenever their
// record changes: this many would take minutes, within one transaction.
func TestFloodOfParkedSetsHoldsNobodyUp(t *testing.T) {
	v := newVictim(t)
	p := dialRaw(t, v.net.Link("evil", "hub"))
	p.shakeEvil()
	for what, alter := range map[string]func(*draft){
		"dependency": func(d *draft) {},
		"gap":        func(d *draft) { d.deps, d.start = nil, 1<<20 },
	} {
		var sets []transport.Set
		for i := range 1000 {
			d := draft{author: crdt.ActorID(fmt.Sprintf("%s%04d", what, i)), deps: []crdt.Hash{{1}}, seq: 1, start: 1}
			alter(&d)
			sets = append(sets, single(what, seal(inflating(&d, 4000))))
		}
		require.Equal(t, map[string]int{"parked": len(sets)}, p.offer(sets...))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for what := range map[string]bool{"dependency": true, "gap": true} {
		for _, c := range v.chain[:3] {
			require.Equal(t, map[string]int{}, p.offer(single(what, c.Raw())))
		}
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "parsing them again takes 3 GB")
	v.before = contents(t, v.r)
	v.requireUnharmed()
}
