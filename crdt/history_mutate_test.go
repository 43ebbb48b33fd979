package crdt_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// TestMutantsPoisonNothing alters changes, their bytes or their fields, and adds
// them to the history that the unaltered change was made on. What History.Add
// takes the core has to load, show alike, save, and load again. GODWIT_MUTANTS
// sets how many there are.
func TestMutantsPoisonNothing(t *testing.T) {
	mutants := 4000
	if testing.Short() {
		mutants = 600
	}
	if n, err := strconv.Atoi(os.Getenv("GODWIT_MUTANTS")); err == nil {
		mutants = n
	}
	seed := uint64(1)
	if n, err := strconv.Atoi(os.Getenv("GODWIT_SEED")); err == nil {
		seed = uint64(n)
	}
	rng := seeded(t, seed)
	var docs [][]*crdt.Change
	js := vectors(t)
	for _, file := range sortedKeys(js) {
		docs = append(docs, parseAll(t, js[file]))
	}
	parsed, taken := 0, 0
	for i := 0; i < mutants; {
		doc := docs[rng.IntN(len(docs))]
		if rng.IntN(2) == 0 {
			doc = nil
			for _, c := range coreHistory(t, rng, 4+rng.IntN(12)) {
				doc = append(doc, parseAll(t, [][]byte{c.Save()})...)
			}
		}
		order := shuffled(rng, doc)
		at := rng.IntN(len(order))
		prefix := order[:at]
		h := replay(t, prefix)
		for range 40 {
			i++
			m := mutant(rng, order[at], prefix)
			if m == nil {
				continue
			}
			parsed++
			if added, err := h.Add(m); err != nil || !added {
				continue
			}
			taken++
			requireCoreTakes(t, h, prefix, m)
			h = replay(t, prefix)
		}
	}
	t.Logf("%d mutants, %d parse, %d taken", mutants, parsed, taken)
	require.Greater(t, taken, mutants/20)
}

func parseAll(t testing.TB, chunks [][]byte) (changes []*crdt.Change) {
	for _, chunk := range chunks {
		c, err := crdt.ParseChange(chunk)
		require.NoError(t, err)
		changes = append(changes, c)
	}
	return changes
}

func replay(t testing.TB, changes []*crdt.Change) *crdt.History {
	h := crdt.NewHistory()
	for _, c := range changes {
		_, err := h.Add(c)
		require.NoError(t, err)
	}
	return h
}

// requireCoreTakes checks that the core holds the same after the same changes,
// and still does after a save.
func requireCoreTakes(t testing.TB, h *crdt.History, prefix []*crdt.Change, m *crdt.Change) {
	recordHistory(t, append(slices.Clone(prefix), m), h)
	if os.Getenv("GODWIT_MUTANT_FILE") != "" { // what killed the process is in there
		var raw []byte
		for _, c := range append(slices.Clone(prefix), m) {
			raw = append(raw, c.Raw()...)
		}
		require.NoError(t, os.WriteFile(os.Getenv("GODWIT_MUTANT_FILE"), raw, 0o600))
	}
	var raw bytes.Buffer
	for _, c := range prefix {
		raw.Write(c.Raw())
	}
	doc := automerge.New()
	require.NoError(t, doc.LoadIncremental(raw.Bytes()))
	describe := func() string { return fmt.Sprintf("mutant %x\n%+v", m.Raw(), m.Ops()) }
	require.NoError(t, doc.LoadIncremental(m.Raw()), describe())
	require.Equal(t, coreHeads(doc), headsOf(h), describe())
	require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil), describe())
	again, err := automerge.Load(doc.Save())
	require.NoError(t, err, describe())
	require.Equal(t, coreHeads(again), headsOf(h), describe())
	require.Equal(t, coreJSON(t, again), jsonOf(t, h, nil), describe())
}

// mutant alters a change; nil if what comes out is not a change at all.
func mutant(rng *rand.Rand, c *crdt.Change, held []*crdt.Change) *crdt.Change {
	var m *crdt.Change
	var err error
	if rng.IntN(2) == 0 {
		data := unseal(c.Raw())
		m, err = crdt.ParseChange(seal(mutate(rng, data, data)))
	} else {
		m, err = crdt.Build(mutateFields(rng, c, held))
	}
	if err != nil {
		return nil
	}
	return m
}

// fields is a change whose references name actors by their ID.
type fields struct {
	rng    *rand.Rand
	draft  crdt.Draft
	actors []crdt.ActorID // what refs index while the draft is altered
	ops    int            // counters up to this exist, about
}

func mutateFields(rng *rand.Rand, c *crdt.Change, held []*crdt.Change) crdt.Draft {
	f := fields{rng: rng, actors: slices.Clone(c.Actors()), ops: int(c.MaxOp()) + 2}
	f.draft = crdt.Draft{Seq: c.Seq(), StartOp: c.StartOp(), Deps: slices.Clone(c.Deps()), Time: c.Time()}
	for _, o := range c.Ops() {
		o.Pred = slices.Clone(o.Pred)
		f.draft.Ops = append(f.draft.Ops, o)
	}
	for _, x := range held {
		if !slices.Contains(f.actors, x.Actor()) {
			f.actors = append(f.actors, x.Actor())
		}
	}
	for range 1 + rng.IntN(2) {
		f.alter(held)
	}
	return f.finish()
}

func (f *fields) ref() crdt.Ref {
	return crdt.Ref{Actor: f.rng.Uint32N(uint32(len(f.actors))), Counter: f.rng.Uint32N(uint32(f.ops))}
}

func (f *fields) alter(held []*crdt.Change) {
	rng, d := f.rng, &f.draft
	switch rng.IntN(16) {
	case 0:
		d.Seq += uint64(rng.IntN(3)) - 1
		return
	case 1:
		d.StartOp += uint64(rng.IntN(5)) - 2
		return
	case 2:
		if len(d.Deps) > 0 {
			d.Deps = slices.Delete(d.Deps, 0, 1)
		}
		return
	case 3:
		if len(held) > 0 {
			d.Deps = append(d.Deps, held[rng.IntN(len(held))].Hash())
		}
		return
	}
	if len(d.Ops) == 0 {
		d.Ops = append(d.Ops, crdt.Op{InMap: true, Action: crdt.Set})
	}
	at := rng.IntN(len(d.Ops))
	o := &d.Ops[at]
	switch rng.IntN(12) {
	case 0:
		o.Obj = f.ref()
	case 1:
		o.Elem = f.ref()
	case 2:
		o.Pred = append(o.Pred, f.ref())
	case 3:
		o.Pred = nil
	case 4:
		o.Action = crdt.Action(rng.IntN(8))
	case 5:
		o.Insert = !o.Insert
	case 6:
		o.Key = []string{"a", "b", "name", ""}[rng.IntN(4)]
	case 7:
		o.Value = []crdt.Value{crdt.Null(), crdt.Int(3), crdt.CounterOf(1), crdt.String("two"), crdt.Timestamp(1)}[rng.IntN(5)]
	case 8:
		o.InMap = !o.InMap
	case 9:
		d.Ops = slices.Insert(d.Ops, rng.IntN(len(d.Ops)+1), *o)
	case 10:
		d.Ops = slices.Delete(d.Ops, at, at+1)
	case 11:
		for _, r := range []*crdt.Ref{&o.Obj, &o.Elem} {
			if r.Counter > 0 {
				r.Counter += rng.Uint32N(3) - 1
			}
		}
	}
}

// finish gives the draft the actor table and the orders that a change must have,
// so that it gets past the parser.
func (f *fields) finish() crdt.Draft {
	d := &f.draft
	used := map[crdt.ActorID]bool{}
	each := func(visit func(*crdt.Ref)) {
		for i := range d.Ops {
			o := &d.Ops[i]
			if o.InMap {
				o.Elem = crdt.Ref{}
			} else {
				o.Key = ""
			}
			visit(&o.Obj)
			visit(&o.Elem)
			for k := range o.Pred {
				visit(&o.Pred[k])
			}
		}
	}
	each(func(r *crdt.Ref) {
		if r.Counter == 0 {
			*r = crdt.Ref{}
		}
		used[f.actors[r.Actor]] = true
	})
	delete(used, f.actors[0])
	d.Actors = []crdt.ActorID{f.actors[0]}
	for a := range used {
		d.Actors = append(d.Actors, a)
	}
	slices.Sort(d.Actors[1:])
	each(func(r *crdt.Ref) { r.Actor = uint32(slices.Index(d.Actors, f.actors[r.Actor])) })
	for i := range d.Ops {
		slices.SortFunc(d.Ops[i].Pred, func(a, b crdt.Ref) int {
			if a.Counter != b.Counter {
				return int(a.Counter) - int(b.Counter)
			}
			return slices.Compare([]byte(d.Actors[a.Actor]), []byte(d.Actors[b.Actor]))
		})
	}
	slices.SortFunc(d.Deps, crdt.Hash.Compare)
	return *d
}
