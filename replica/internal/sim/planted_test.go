//go:build plantedbugs

package sim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

// seedsToFind is within how many seeds each planted bug has to be found.
const seedsToFind = 60

// TestPlantedBugs proves the simulation: each bug is found, by a seed that finds
// nothing without it.
func TestPlantedBugs(t *testing.T) {
	defer replica.Plant(0)
	for i, name := range replica.Plants() {
		if i > 0 {
			t.Run(name, func(t *testing.T) { testPlanted(t, i) })
		}
	}
}

func testPlanted(t *testing.T, bug int) {
	for seed := *firstFlag; seed < *firstFlag+seedsToFind; seed++ {
		replica.Plant(bug)
		_, found := simulate(t, wholePlan(seed, *stepsFlag), nil)
		if found == nil {
			continue
		}
		first, _, _ := strings.Cut(found.Error(), "\n")
		t.Logf("seeds: %3d  %s", seed-*firstFlag+1, first)
		replica.Plant(0)
		if _, err := simulate(t, wholePlan(seed, *stepsFlag), nil); err != nil {
			t.Errorf("found without the planted bug: %v", err)
		}
		return
	}
	t.Errorf("not found within %d seeds", seedsToFind)
}

// TestShrinkPlanted brings the schedule that finds a planted bug down to a few steps, which
// find it again, and nothing without it.
func TestShrinkPlanted(t *testing.T) {
	bug := slices.Index(replica.Plants(), "let the clock go back")
	require.Positive(t, bug)
	replica.Plant(bug)
	defer replica.Plant(0)
	for seed := *firstFlag; seed < *firstFlag+seedsToFind; seed++ {
		p := wholePlan(seed, *stepsFlag)
		_, found := simulate(t, p, nil)
		if found == nil {
			continue
		}
		short := shortened(t, p, found)
		t.Logf("-sim.replay %v\n%v", short, found)
		require.LessOrEqual(t, len(short.steps), 4, "two updates of a node, and its clock put back between them")
		again, err := parsePlan(short.String())
		require.NoError(t, err)
		w, err := simulate(t, again, nil)
		require.True(t, sameFailure(found, err), "%v and %v", found, err)
		t.Log(w.traceText())
		replica.Plant(0)
		_, err = simulate(t, again, nil)
		require.NoError(t, err)
		return
	}
	t.Fatal("not found")
}
