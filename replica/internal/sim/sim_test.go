package sim_test

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "replay this seed only")
	seedsFlag = flag.Int("sim.seeds", 0, "run this many seeds instead of the usual number")
	firstFlag = flag.Uint64("sim.first", 1, "the first of the seeds")
	stepsFlag = flag.Int("sim.steps", 60, "steps of a schedule")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // the runs are short and hold little
	goleak.VerifyTestMain(m)
}

func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		simulate(t, *seedFlag)
		return
	}
	seeds := 250
	switch {
	case *seedsFlag > 0:
		seeds = *seedsFlag
	case testing.Short() || raceEnabled:
		seeds = 50
	}
	for i := range seeds {
		seed := *firstFlag + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, seed)
		})
	}
}

// simulate runs a seed and reports what it finds.
func simulate(t *testing.T, seed uint64) {
	if err := simulation(t, seed, *stepsFlag); err != nil {
		t.Error(err)
	}
}

// simulation runs a seed in a bubble of its own, where time passes when all
// wait, and returns the first thing that went wrong, with the trace.
func simulation(t *testing.T, seed uint64, steps int) (err error) {
	dir := tempDir(t)
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, dir)
		defer w.close()
		if found := w.run(steps); found != nil {
			err = fmt.Errorf("seed %d: %w\nreplay: go test ./replica/internal/sim -run 'TestSimulation$' -sim.seed=%d -sim.steps=%d\ntrace:\n%s",
				seed, found, seed, steps, w.traceText())
		}
	})
	return err
}

// tempDir returns a folder in memory where there is one: the simulation is about
// the order of things, and a kill loses nothing of what the system holds.
func tempDir(t *testing.T) string {
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "godwit-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
