package replica_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	mutants     = flag.Int("mutants", 15_000, "how many mutants TestMutantsHarmNoReplica feeds")
	mutantsSeed = flag.Uint64("mutants.seed", 1, "where it begins: round n has the seed mutants.seed + n")
)

// The campaign runs in a process of its own, because the core ends the process
// when it is fed what it should never have been fed. It is told by these.
const (
	envMutantsChild = "GODWIT_MUTANTS_CHILD" // where to put down what is about to be given to the core
	maxDeaths       = 5
)

// tally is what came of mutants. The child prints one a round.
type tally struct {
	Seed      uint64         // of the round
	Mutants   int            // delivered to the replica
	Accepted  int            // of them, in the log of their record
	Records   int            // held against the core
	Deaths    int            // of the process
	Poisoned  int            // records that fail to load, here or in the core, at once or after a save
	Differing int            // records whose heads or value the core sees differently
	Problems  int            // found by Check
	Codes     map[string]int // exceptions of the acks
	Failures  []string       // what failed, a few
}

func (t *tally) add(o *tally) {
	t.Mutants += o.Mutants
	t.Accepted += o.Accepted
	t.Records += o.Records
	t.Deaths += o.Deaths
	t.Poisoned += o.Poisoned
	t.Differing += o.Differing
	t.Problems += o.Problems
	for code, n := range o.Codes {
		t.Codes[code] += n
	}
	t.Failures = append(t.Failures, o.Failures...)
}

// TestMutantsHarmNoReplica feeds mutants of changes, checksums fixed, through a
// session into replicas. None may end the process or the session, and whatever
// is accepted has to make records that load here and in automerge-go, also after
// the core saved them, and show the same everywhere. The long campaign:
//
//	go test ./replica -run TestMutantsHarmNoReplica -timeout 0 -v -mutants 2000000
//
// To replay a round, pass its seed and -mutants 1. Records get a last edit by an
// actor that is random anyhow; all else repeats.
func TestMutantsHarmNoReplica(t *testing.T) {
	if dump := os.Getenv(envMutantsChild); dump != "" {
		feedMutants(t, dump)
		return
	}
	if testing.Short() {
		t.Skip("one session is fed by one goroutine")
	}
	t.Parallel()
	began := time.Now()
	dump := filepath.Join(t.TempDir(), "dump.changes")
	all := &tally{Seed: *mutantsSeed, Codes: map[string]int{}}
	for seed := *mutantsSeed; all.Mutants < *mutants && all.Deaths < maxDeaths; seed++ {
		last, output := runMutants(t, all, seed, dump)
		seed = last
		if output == "" {
			continue
		}
		all.Deaths++
		keep := filepath.Join(os.TempDir(), fmt.Sprintf("godwit-mutants-%d.changes", seed))
		raw, err := os.ReadFile(dump)
		if err == nil {
			err = os.WriteFile(keep, raw, 0o600)
		}
		all.Failures = append(all.Failures, fmt.Sprintf("seed %d: the process died; the record it was at is in %s (%v)\n%s", seed, keep, err, output))
	}
	t.Logf("%d mutants from seed %d in %.0f s: %d accepted, %d records, %d deaths, %d poisoned, %d differing, %d problems; %v",
		all.Mutants, all.Seed, time.Since(began).Seconds(), all.Accepted, all.Records, all.Deaths, all.Poisoned, all.Differing, all.Problems, all.Codes)
	for _, f := range all.Failures {
		t.Error(f)
	}
	require.Zero(t, all.Deaths+all.Poisoned+all.Differing+all.Problems)
	require.Greater(t, all.Accepted, all.Mutants/20, "the mutants do not get past the surface")
}

// runMutants runs the child from a seed on, and adds what it reports. It
// returns the last seed that was begun, and the end of the output if that one
// was not finished.
func runMutants(t *testing.T, all *tally, seed uint64, dump string) (last uint64, output string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestMutantsHarmNoReplica$", "-test.timeout=0",
		fmt.Sprint("-mutants=", *mutants-all.Mutants), fmt.Sprint("-mutants.seed=", seed))
	cmd.Env = append(os.Environ(), envMutantsChild+"="+dump)
	var tail, panics bytes.Buffer
	cmd.Stderr = &panics
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	last = seed
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line, ok := strings.CutPrefix(lines.Text(), "tally ")
		if !ok {
			tail.WriteString(lines.Text() + "\n")
			continue
		}
		var round tally
		require.NoError(t, json.Unmarshal([]byte(line), &round))
		all.add(&round)
		last = round.Seed + 1
		if round.Seed%50 == 0 {
			t.Logf("seed %d: %d mutants, %d accepted, %d failures", round.Seed, all.Mutants, all.Accepted, len(all.Failures))
		}
	}
	if err := cmd.Wait(); err != nil {
		s := tail.String() + panics.String()
		return last, err.Error() + "\n" + s[max(0, len(s)-4000):]
	}
	return last, ""
}
