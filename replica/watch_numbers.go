package replica

import (
	"iter"
	"maps"
	"math/bits"
)

// numbers is a set of numbers that mostly lie close together.
type numbers map[int64]uint64

func (s numbers) has(n int64) bool { return s[n>>6]&(1<<(n&63)) != 0 }

func (s numbers) set(n int64, in bool) {
	if in {
		s[n>>6] |= 1 << (n & 63)
	} else if word, ok := s[n>>6]; ok {
		s[n>>6] = word &^ (1 << (n & 63))
	}
}

// without returns the numbers of s that are not in some.
func (s numbers) without(some []int64) numbers {
	rest := maps.Clone(s)
	for _, n := range some {
		rest.set(n, false)
	}
	return rest
}

func (s numbers) all() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for high, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(high<<6 + int64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}
