package crdt_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// model is a sequence as a plain slice.
type model struct {
	all    []crdt.Element
	hidden map[crdt.Element]bool
}

func (m *model) insert(ref, e crdt.Element) {
	i := slices.Index(m.all, ref) + 1
	for i < len(m.all) && less(e, m.all[i]) {
		i++
	}
	m.all = slices.Insert(m.all, i, e)
}

// less orders by counter, then by actor; the test's actors ascend by index.
func less(a, b crdt.Element) bool {
	return a.Counter < b.Counter || a.Counter == b.Counter && a.Actor < b.Actor
}

func (m *model) visible() []crdt.Element {
	return slices.DeleteFunc(slices.Clone(m.all), func(e crdt.Element) bool { return m.hidden[e] })
}

// TestSequence holds the tree against a slice: random references, counters that
// run backwards as well as forwards, hidden elements.
func TestSequence(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			s := crdt.NewSequence("a", "b", "c")
			m := &model{hidden: map[crdt.Element]bool{}}
			used := map[crdt.Element]bool{}
			n := 200 + rng.IntN(3000)
			for i := range n {
				e := crdt.Element{Counter: 1 + rng.Uint32N(uint32(2*n)), Actor: rng.Uint32N(3)}
				if seed%3 == 0 {
					e.Counter = uint32(n - i)
				}
				if used[e] {
					continue
				}
				used[e] = true
				var ref crdt.Element
				if len(m.all) > 0 && rng.IntN(20) > 0 {
					ref = m.all[max(0, len(m.all)-1-rng.IntN(1+rng.IntN(len(m.all))))]
				}
				m.hidden[e] = rng.IntN(3) == 0
				s.Insert(ref, e, !m.hidden[e])
				m.insert(ref, e)
				if old := m.all[rng.IntN(len(m.all))]; rng.IntN(4) == 0 {
					m.hidden[old] = !m.hidden[old]
					s.SetVisible(old, !m.hidden[old])
				}
			}
			require.True(t, s.Check())
			require.Equal(t, m.all, s.Elements())
			visible := m.visible()
			require.Equal(t, len(visible), s.Len())
			for i, e := range visible {
				require.Equal(t, e, s.At(i))
			}
			for range 1000 {
				i, k := rng.IntN(len(m.all)), rng.IntN(len(m.all))
				require.Equal(t, i < k, s.Before(m.all[i], m.all[k]))
			}
		})
	}
}

// TestSequenceHostileOrder inserts many elements at the head in the order that
// makes each skip all before it. Element by element that would be 2*10^10 steps.
func TestSequenceHostileOrder(t *testing.T) {
	const n = 200_000
	start := time.Now()
	s := crdt.NewSequence("a")
	for i := range uint32(n) {
		s.Insert(crdt.Element{}, crdt.Element{Counter: n - i}, true)
	}
	require.Less(t, time.Since(start), 5*time.Second)
	require.Equal(t, crdt.Element{Counter: n}, s.At(0))
	require.Equal(t, crdt.Element{Counter: 1}, s.At(n-1))
}
