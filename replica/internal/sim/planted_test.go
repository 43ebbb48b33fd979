//go:build plantedbugs

package sim_test

import (
	"strings"
	"testing"

	"github.com/godwitdb/godwit/replica"
)

// seedsToFind is within how many seeds each planted bug has to be found.
const seedsToFind = 100

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
		found := simulation(t, seed, *stepsFlag)
		if found == nil {
			continue
		}
		first, _, _ := strings.Cut(found.Error(), "\n")
		t.Logf("seeds: %3d  %s", seed-*firstFlag+1, first)
		replica.Plant(0)
		if err := simulation(t, seed, *stepsFlag); err != nil {
			t.Errorf("found without the planted bug: %v", err)
		}
		return
	}
	t.Errorf("not found within %d seeds", seedsToFind)
}
