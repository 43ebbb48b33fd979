package sim_test

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var (
	seedFlag   = flag.Uint64("sim.seed", 0, "replay this seed only")
	seedsFlag  = flag.Int("sim.seeds", 0, "run this many seeds instead of the usual number")
	firstFlag  = flag.Uint64("sim.first", 1, "the first of the seeds")
	stepsFlag  = flag.Int("sim.steps", 60, "steps of a schedule")
	replayFlag = flag.String("sim.replay", "", "replay these steps only, as 17/60:3,9-12, or a file that begins with such a line")
	looseFlag  = flag.Bool("sim.loose", raceEnabled, "let frames and steps overlap, so that a seed does not come again exactly")
	shrinkFlag = flag.Int("sim.shrink", 150, "runs that may be spent to shorten the schedule of the first failure")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(1600) // the runs are short and hold little
	debug.SetMemoryLimit(512 << 20)
	goleak.VerifyTestMain(m)
}

// usualSeeds are run where nothing else is said.
const usualSeeds = 320

func TestSimulation(t *testing.T) {
	if *replayFlag != "" || *seedFlag != 0 {
		p := wholePlan(*seedFlag, *stepsFlag)
		if *replayFlag != "" {
			var err error
			p, err = parsePlan(*replayFlag)
			require.NoError(t, err)
		}
		w, err := simulate(t, p, nil)
		if err != nil {
			t.Error(report(t, p, err, true))
		} else {
			t.Logf("trace:\n%s", w.traceText())
		}
		return
	}
	seeds := usualSeeds
	switch {
	case *seedsFlag > 0:
		seeds = *seedsFlag
	case testing.Short() || raceEnabled:
		seeds = 50
	}
	var sum tally
	t.Run("seeds", func(t *testing.T) {
		for i := range seeds {
			p := wholePlan(*firstFlag+uint64(i), *stepsFlag)
			t.Run(fmt.Sprint(p.seed), func(t *testing.T) {
				t.Parallel()
				w, err := simulate(t, p, nil)
				if err != nil {
					t.Error(report(t, p, err, sum.firstFailure()))
				}
				sum.add(w)
			})
		}
	})
	sum.check(t, seeds)
}

// simulate runs a plan in a bubble of its own, where time passes when all wait, and
// returns the first thing that went wrong.
func simulate(t *testing.T, p plan, rec *recording) (w *world, err error) {
	_, err = blanks() // outside of the bubble
	require.NoError(t, err)
	dir, remove := tempDir(t)
	defer remove()
	outside := newOutside()
	defer outside.close()
	synctest.Test(t, func(*testing.T) {
		w = newWorld(p, dir, outside, rec)
		defer w.close()
		err = w.run()
	})
	return w, err
}

// report says how to replay a failure, and with which of its steps only if it may take the
// time to find that out.
func report(t *testing.T, p plan, err error, shorten bool) string {
	text := fmt.Sprintf("seed %d: %v\nreplay: go test ./replica/internal/sim -run 'TestSimulation$' -sim.replay %v\n", p.seed, err, p)
	if !shorten {
		return text
	}
	short := shortened(t, p, err)
	w, again := simulate(t, short, nil)
	if again == nil {
		return text + "it did not fail again"
	}
	return text + fmt.Sprintf("shortened: -sim.replay %v\nwhich gives %v\ntrace:\n%s", short, again, w.traceText())
}

// shortened is the plan less what the failure does not need.
func shortened(t *testing.T, p plan, err error) plan {
	return shrink(p, *shrinkFlag, func(less plan) bool {
		_, e := simulate(t, less, nil)
		return sameFailure(err, e)
	})
}

// tempDir returns a folder in memory where there is one: the simulation is about
// the order of things, and a kill loses nothing of what the system holds.
func tempDir(t *testing.T) (dir string, remove func()) {
	dir, err := os.MkdirTemp("/dev/shm", "godwit-sim-")
	if err != nil {
		return t.TempDir(), func() {}
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}
