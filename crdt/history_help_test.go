package crdt_test

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// shuffled returns the changes in a random order in which each follows its
// dependencies.
func shuffled(rng *rand.Rand, changes []*crdt.Change) []*crdt.Change {
	held := map[crdt.Hash]bool{}
	rest := append([]*crdt.Change(nil), changes...)
	var out []*crdt.Change
	for len(rest) > 0 {
		i := rng.IntN(len(rest))
		ready := true
		for _, d := range rest[i].Deps() {
			ready = ready && held[d]
		}
		// What begins beyond all that is held would be parked.
		ready = ready && rest[i].StartOp() <= maxOp(out)+1
		if !ready {
			continue
		}
		held[rest[i].Hash()] = true
		out = append(out, rest[i])
		rest = append(rest[:i], rest[i+1:]...)
	}
	return out
}

func maxOp(changes []*crdt.Change) (m uint64) {
	for _, c := range changes {
		m = max(m, c.MaxOp())
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
