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
		if i == 0 {
			continue
		}
		replica.Plant(i)
		seed := *firstFlag
		found := simulation(t, seed, *stepsFlag)
		for ; found == nil && seed < *firstFlag+seedsToFind-1; seed++ {
			found = simulation(t, seed+1, *stepsFlag)
		}
		if found == nil {
			t.Errorf("not found within %d seeds: %s", seedsToFind, name)
			continue
		}
		first, _, _ := strings.Cut(found.Error(), "\n")
		t.Logf("%-35s seeds: %3d  %s", name, seed-*firstFlag+1, first)
		replica.Plant(0)
		if err := simulation(t, seed, *stepsFlag); err != nil {
			t.Errorf("found without the planted bug: %v", err)
		}
	}
}
