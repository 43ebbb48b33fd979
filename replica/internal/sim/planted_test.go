//go:build plantedbugs

package sim_test

import (
	"strings"
	"testing"

	"github.com/godwitdb/godwit/replica"
)

// seedsToFind is within how many seeds each planted bug has to be found.
const seedsToFind = 100

// TestPlantedBugs proves the simulation: each bug is found.
func TestPlantedBugs(t *testing.T) {
	defer replica.Plant(0)
	for i, name := range replica.Plants() {
		if i == 0 {
			continue
		}
		replica.Plant(i)
		var found error
		for seed := *firstFlag; found == nil && seed < *firstFlag+seedsToFind; seed++ {
			if found = simulation(t, seed, *stepsFlag); found != nil {
				first, _, _ := strings.Cut(found.Error(), "\n")
				t.Logf("%-35s seeds: %3d  %s", name, seed-*firstFlag+1, first)
			}
		}
		if found == nil {
			t.Errorf("not found within %d seeds: %s", seedsToFind, name)
		}
	}
}
