package crdt_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// randomHistory lets three sites edit apart and merge, with both implementations,
// and returns one that holds everything.
func randomHistory(t testing.TB, rng *rand.Rand, steps int) *site {
	sites := []*site{newSite(t, rng, 0), newSite(t, rng, 1), newSite(t, rng, 2)}
	for i := range steps {
		s := sites[rng.IntN(len(sites))]
		switch rng.IntN(6) {
		case 0:
			s.pull(sites[rng.IntN(len(sites))])
		case 1:
			s.resolve()
		case 2:
			s.authorCore(i)
		default:
			s.authorHere()
		}
	}
	sites[0].pull(sites[1])
	sites[0].pull(sites[2])
	return sites[0]
}

func changesOf(h *crdt.History) []*crdt.Change { return slices.Collect(h.Changes()) }

// TestAtEveryPrefix: the record as of a prefix's heads is the history that was
// built from that prefix.
func TestAtEveryPrefix(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := randomHistory(t, seeded(t, seed), 40)
			prefix := crdt.NewHistory()
			for i := -1; i < s.h.Len(); i++ {
				if i >= 0 {
					_, err := prefix.Add(changesOf(s.h)[i])
					require.NoError(t, err)
				}
				at, err := s.h.At(prefix.Heads())
				require.NoError(t, err)
				require.Equal(t, prefix.Heads(), at.Heads())
				require.Equal(t, prefix.Clock(), at.Clock())
				require.Equal(t, prefix.Len(), at.Len())
				for _, v := range s.views {
					require.Equal(t, jsonOf(t, prefix, v), jsonOf(t, at, v))
					requireAlike(t, prefix.Conflicts(v), at.Conflicts(v))
				}
			}
		})
	}
}

// TestHeadsAt: as of a time there is what was made by then on top of what was
// made by then.
func TestHeadsAt(t *testing.T) {
	s := randomHistory(t, seeded(t, 1), 60)
	for ms := int64(2e12) - 1; ms <= 2e12+101; ms++ {
		at, err := s.h.At(s.h.HeadsAt(ms))
		require.NoError(t, err)
		for c := range s.h.Changes() {
			want := c.Time() <= ms
			for _, d := range c.Deps() {
				want = want && at.Has(d)
			}
			require.Equal(t, want, at.Has(c.Hash()))
		}
	}
	require.Empty(t, s.h.HeadsAt(0))
	require.Equal(t, s.h.Heads(), s.h.HeadsAt(3e12))
}

func TestAtUnknown(t *testing.T) {
	h := crdt.NewHistory()
	_, err := h.At(crdt.Heads{{1}})
	require.ErrorIs(t, err, crdt.ErrUnknownChange)
	require.ErrorContains(t, err, "no such change in the record's history: 0100")
	_, err = h.Diff(nil, crdt.Heads{{1}}, nil)
	require.ErrorIs(t, err, crdt.ErrUnknownChange)
	at, err := h.At(nil)
	require.NoError(t, err)
	require.False(t, at.Exists())
}

// TestDiffApplies: what differs between any two points in time leads from the one
// value to the other; and what a change does, noted while it is added, is what
// differs between before and after.
func TestDiffApplies(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			s := randomHistory(t, rng, 40)
			indexed, err := crdt.Policy{Default: "lww", Fields: []crdt.FieldPolicy{
				{Field: "*[1]", Resolver: "fww"}, {Field: "a[0].*", Resolver: "remote"}, {Field: "*[*][0]", Resolver: "local"},
			}}.View(s.id)
			require.NoError(t, err)
			s.views = append(s.views, indexed)
			points := []crdt.Heads{nil}
			for _, v := range s.views {
				h := crdt.NewHistory()
				for c := range s.h.Changes() {
					from, before := h.Heads(), h.Value(v)
					diffs, err := h.AddDiff(c, v)
					require.NoError(t, err)
					points = append(points, h.Heads())
					requireLeads(t, before, diffs, h.Value(v))
					want, err := s.h.Diff(from, h.Heads(), v)
					require.NoError(t, err)
					requireAlike(t, want, diffs)
				}
			}
			for range 40 {
				from, to := points[rng.IntN(len(points))], points[rng.IntN(len(points))]
				v := s.views[rng.IntN(len(s.views))]
				diffs, err := s.h.Diff(from, to, v)
				require.NoError(t, err)
				requireLeads(t, valueThen(t, s.h, from, v), diffs, valueThen(t, s.h, to, v))
			}
		})
	}
}

func valueThen(t testing.TB, h *crdt.History, heads crdt.Heads, v *crdt.View) map[string]any {
	at, err := h.At(heads)
	require.NoError(t, err)
	return at.Value(v)
}

func requireLeads(t testing.TB, from map[string]any, diffs []crdt.Difference, to map[string]any) {
	got, err := crdt.Patch(from, diffs)
	require.NoError(t, err)
	requireAlike(t, to, got)
	require.Equal(t, len(diffs) == 0, dump(from) == dump(to), "no differences between equal values")
}

// requireAlike compares types and values, with NaN equal to itself.
func requireAlike(t testing.TB, want, got any) {
	t.Helper()
	require.Equal(t, dump(want), dump(got))
}

func dump(v any) string { return fmt.Sprintf("%#v", v) }
