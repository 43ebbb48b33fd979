package sim_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlanText(t *testing.T) {
	for _, text := range []string{"17/60:3,9-12,59", "1/5:0-4", "9/60:", "18446744073709551615/2:1"} {
		p, err := parsePlan(text)
		require.NoError(t, err)
		require.Equal(t, text, p.String())
	}
	require.Equal(t, "4/60:0-59", wholePlan(4, 60).String())
	for _, text := range []string{"", "17", "17/60", "17/0:", "17/60:60", "17/60:5,3", "17/60:4-3", "17/60:x", "x/60:1"} {
		_, err := parsePlan(text)
		require.Error(t, err, text)
	}
}

// A failure that needs three steps of 60 is brought down to these.
func TestShrink(t *testing.T) {
	need, tries := []int{7, 30, 31}, 0
	fails := func(p plan) bool {
		tries++
		for _, i := range need {
			if !slices.Contains(p.steps, i) {
				return false
			}
		}
		return true
	}
	require.Equal(t, need, shrink(wholePlan(1, 60), 200, fails).steps)
	require.Less(t, tries, 60)
	require.Len(t, shrink(wholePlan(1, 60), 1, fails).steps, 60, "the first half is needed, and there is one try")
	require.Empty(t, shrink(wholePlan(1, 60), 200, func(plan) bool { return true }).steps)
}
