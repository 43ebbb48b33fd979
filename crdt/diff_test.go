package crdt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func TestDiff(t *testing.T) {
	rng := seeded(t, 1)
	for range 3000 {
		a, b := make([]int, rng.IntN(12)), make([]int, rng.IntN(12))
		for _, s := range [][]int{a, b} {
			for i := range s {
				s[i] = rng.IntN(3)
			}
		}
		made, distance := crdt.Diff(a, b)
		require.Equal(t, b, append([]int{}, made...), "from %v", a)
		require.Equal(t, len(a)+len(b)-2*longestCommon(a, b), distance, "%v to %v", a, b)
	}
}

func longestCommon(a, b []int) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			up := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(up, row[j])
			}
			diagonal = up
		}
	}
	return row[len(b)]
}

// TestDiffIsBounded: what has little in common is replaced rather than compared
// to the end.
func TestDiffIsBounded(t *testing.T) {
	a, b := make([]int, 100_000), make([]int, 100_000)
	for i := range a {
		a[i], b[i] = i, -i
	}
	b[50_000] = a[50_000]
	made, _ := crdt.Diff(a, b)
	require.Equal(t, b, made)
}
