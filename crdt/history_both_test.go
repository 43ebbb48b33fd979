package crdt_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// site is one replica of a record, held by both implementations: each change is
// authored by one of them and taken in by the other.
type site struct {
	t     testing.TB
	rng   *rand.Rand
	id    crdt.ReplicaID
	actor crdt.ActorID
	h     *crdt.History
	doc   *automerge.Doc
	views []*crdt.View
}

func newSite(t testing.TB, rng *rand.Rand, i int) *site {
	s := &site{t: t, rng: rng, h: crdt.NewHistory(), doc: automerge.New()}
	s.id = crdt.ReplicaID{byte(rng.Uint32()), 7: byte(i)}
	s.actor = s.id.Actor([8]byte{0: byte(rng.Uint32())})
	require.NoError(t, s.doc.SetActorID(s.id.Actor([8]byte{0: byte(rng.Uint32()), 7: 1}).String()))
	for _, name := range crdt.Resolvers() {
		v, err := crdt.Policy{Default: name}.View(s.id)
		require.NoError(t, err)
		s.views = append(s.views, v)
	}
	return s
}

// check compares what both implementations hold.
func (s *site) check() {
	require.Equal(s.t, coreHeads(s.doc), headsOf(s.h))
	require.Equal(s.t, coreJSON(s.t, s.doc), jsonOf(s.t, s.h, nil))
}

func (s *site) authorCore(i int) {
	for range 1 + s.rng.IntN(3) {
		coreEdit(s.t, s.rng, s.doc.Root(), 0)
	}
	at := time.UnixMilli(2e12 + s.rng.Int64N(100))
	hash, err := s.doc.Commit(fmt.Sprint("core ", i), automerge.CommitOptions{Time: &at, AllowEmpty: true})
	require.NoError(s.t, err)
	change, err := s.doc.Change(hash)
	require.NoError(s.t, err)
	parsed, err := crdt.ParseChange(change.Save())
	require.NoError(s.t, err)
	added, err := s.h.Add(parsed)
	require.NoError(s.t, err)
	require.True(s.t, added)
}

func (s *site) authorHere() {
	view := s.views[s.rng.IntN(len(s.views))]
	e := s.h.Begin(s.actor, 2e12+s.rng.Int64N(100), view)
	for range 1 + s.rng.IntN(3) {
		s.edit(e, view)
	}
	c, err := e.Commit(fmt.Sprint("here ", s.rng.IntN(3)))
	require.NoError(s.t, err)
	if c == nil {
		return
	}
	again, err := crdt.ParseChange(c.Raw())
	require.NoError(s.t, err, "what is authored has to be canonical")
	require.Equal(s.t, c.Ops(), again.Ops())
	require.Equal(s.t, c.Actors(), again.Actors())
	require.NoError(s.t, s.doc.LoadIncremental(c.Raw()))
}

// edit makes one random edit at a random place.
func (s *site) edit(e *crdt.Edit, view *crdt.View) {
	t, rng := s.t, s.rng
	path, v := s.randomPlace(view)
	mode := crdt.PutMode(rng.IntN(2))
	switch x := v.(type) {
	case crdt.Text:
		n := len([]rune(x))
		at := rng.IntN(n + 1)
		insert := []string{"", "x", "aaaa", "hé€𝄞", "lorem ipsum"}[rng.IntN(5)]
		if rng.IntN(3) == 0 {
			s.put(e, view, path, insert+string(x)+insert, mode)
			return
		}
		require.NoError(t, e.Splice(path, at, rng.IntN(min(3, n-at)+1), insert))
		return
	case []any:
		switch rng.IntN(3) {
		case 0:
			require.NoError(t, e.Insert(path, rng.IntN(len(x)+1), hereValue(rng, 2), hereValue(rng, 1)))
			return
		case 1:
			y := append([]any{hereValue(rng, 3)}, x...)
			rng.Shuffle(len(y), func(i, j int) { y[i], y[j] = y[j], y[i] })
			s.put(e, view, path, y[:rng.IntN(len(y)+1)], mode)
			return
		}
	case crdt.Counter:
		if rng.IntN(2) == 0 {
			require.NoError(t, e.Increment(path, rng.Int64N(9)-4))
			return
		}
		s.put(e, view, path, rng.Int64N(5), mode)
		return
	case map[string]any:
		key := []string{"a", "b", "c", "name", "ключ", "$text", "long key with blanks"}[rng.IntN(7)]
		s.put(e, view, append(path, crdt.Step{Key: key}), hereValue(rng, len(path)), mode)
		return
	}
	if len(path) == 0 {
		return
	}
	if rng.IntN(3) == 0 {
		require.NoError(t, e.Delete(path))
		return
	}
	s.put(e, view, path, hereValue(rng, len(path)), mode)
}

// put checks that a replaced value is shown as it was given.
func (s *site) put(e *crdt.Edit, view *crdt.View, p crdt.Path, v any, mode crdt.PutMode) {
	require.NoError(s.t, e.Put(p, v, mode))
	want, err := crdt.AppendJSON(nil, v)
	if err != nil || mode == crdt.Merge {
		return // a struct, or a mixture
	}
	got, err := crdt.AppendJSON(nil, valueAt(s.h.Value(view), p))
	require.NoError(s.t, err)
	require.Equal(s.t, string(want), string(got), "%s", p)
}

// putBack checks that putting what was got changes nothing.
func (s *site) putBack() {
	for _, view := range s.views {
		got, err := crdt.ParseJSON([]byte(jsonOf(s.t, s.h, view)))
		require.NoError(s.t, err)
		for _, v := range []any{got, s.h.Value(view)} {
			e := s.h.Begin(s.actor, 2e12, view)
			require.NoError(s.t, e.Put(nil, v, crdt.Replace))
			c, err := e.Commit("")
			require.NoError(s.t, err)
			require.Nil(s.t, c)
		}
	}
}

func valueAt(v any, p crdt.Path) any {
	for _, s := range p {
		if s.InList {
			v = v.([]any)[s.Index]
		} else {
			v = v.(map[string]any)[s.Key]
		}
	}
	return v
}

// randomPlace walks down from the root in a view; every place exists.
func (s *site) randomPlace(view *crdt.View) (crdt.Path, any) {
	var path crdt.Path
	var v any = s.h.Value(view)
	for s.rng.IntN(4) > 0 {
		var step crdt.Step
		switch x := v.(type) {
		case map[string]any:
			keys := sortedKeys(x)
			if len(keys) == 0 {
				return path, v
			}
			step.Key = keys[s.rng.IntN(len(keys))]
			v = x[step.Key]
		case []any:
			if len(x) == 0 {
				return path, v
			}
			step = crdt.Step{Index: s.rng.IntN(len(x)), InList: true}
			v = x[step.Index]
		default:
			return path, v
		}
		path = append(path, step)
	}
	return path, v
}

func hereValue(rng *rand.Rand, depth int) any {
	if depth < 3 {
		switch rng.IntN(8) {
		case 0:
			return map[string]any{"a": hereScalar(rng), "z": hereValue(rng, depth+1)}
		case 1:
			return []any{hereScalar(rng), hereScalar(rng), hereValue(rng, depth+1)}
		case 2:
			return crdt.Text([]string{"", "text", "hé€𝄞"}[rng.IntN(3)])
		case 3:
			return struct {
				Name string `json:"name"`
				Tags []int
				None *int `json:",omitempty"`
			}{"struct", []int{1, 2}, nil}
		}
	}
	return hereScalar(rng)
}

func hereScalar(rng *rand.Rand) any {
	switch rng.IntN(6) {
	case 0:
		return crdt.Counter(rng.Int64N(50) - 10)
	default:
		return coreScalar(rng)
	}
}

// resolve settles a random conflict, if there is one.
func (s *site) resolve() {
	v := s.views[s.rng.IntN(len(s.views))]
	conflicts := s.h.Conflicts(v)
	require.Len(s.t, conflicts, s.h.ConflictCount(v))
	if len(conflicts) == 0 {
		return
	}
	c := conflicts[s.rng.IntN(len(conflicts))]
	pick := c.Candidates[s.rng.IntN(len(c.Candidates))]
	e := s.h.Begin(s.actor, 2e12, v)
	require.NoError(s.t, e.Resolve(c.Path, pick.Op))
	change, err := e.Commit("")
	require.NoError(s.t, err)
	require.NotNil(s.t, change)
	require.NoError(s.t, s.doc.LoadIncremental(change.Raw()))
	for _, left := range s.h.Conflicts(v) {
		for _, candidate := range left.Candidates { // elements that a view hides share a path
			require.False(s.t, slices.Equal(c.Path, left.Path) && candidate.Op == pick.Op)
		}
	}
}

// pull takes in what another site holds, in a random order.
func (s *site) pull(from *site) {
	var missing []*crdt.Change
	for c := range from.h.Changes() {
		if !s.h.Has(c.Hash()) {
			missing = append(missing, c)
		}
	}
	for len(missing) > 0 {
		i := s.rng.IntN(len(missing))
		added, err := s.h.Add(missing[i])
		var park *crdt.ParkError
		if err != nil {
			require.ErrorAs(s.t, err, &park)
			continue
		}
		require.True(s.t, added)
		require.NoError(s.t, s.doc.LoadIncremental(missing[i].Raw()))
		missing = append(missing[:i], missing[i+1:]...)
		s.check()
	}
}

// reload checks that the core can save what it holds and load it again.
func (s *site) reload() {
	again, err := automerge.Load(s.doc.Save())
	require.NoError(s.t, err)
	require.Equal(s.t, coreHeads(s.doc), coreHeads(again))
	require.Equal(s.t, jsonOf(s.t, s.h, nil), coreJSON(s.t, again))
	var raw []byte
	for c := range s.h.Changes() {
		raw = append(raw, c.Raw()...)
	}
	whole := automerge.New()
	require.NoError(s.t, whole.LoadIncremental(raw))
	require.Equal(s.t, coreHeads(s.doc), coreHeads(whole))
}

// TestBothAuthor has sites edit concurrently with both implementations and merge
// at random, and compares them after every change.
func TestBothAuthor(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			sites := []*site{newSite(t, rng, 0), newSite(t, rng, 1), newSite(t, rng, 2)}
			for i := range 60 {
				s := sites[rng.IntN(len(sites))]
				switch rng.IntN(6) {
				case 0:
					s.pull(sites[rng.IntN(len(sites))])
				case 1:
					s.resolve()
				case 2, 3:
					s.authorCore(i)
				default:
					s.authorHere()
				}
				s.check()
				s.putBack()
			}
			for range 2 {
				for _, s := range sites {
					for _, from := range sites {
						s.pull(from)
					}
				}
			}
			for _, s := range sites {
				s.reload()
				require.Equal(t, sites[0].h.Heads(), s.h.Heads())
				for _, v := range sites[0].views {
					require.Equal(t, jsonOf(t, sites[0].h, v), jsonOf(t, s.h, v))
				}
			}
		})
	}
}
