package crash_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKillAtEachCall kills a process at the first call that alters the file it makes, or
// brings up to date, then one at the second, and so on until it is done with that: at
// each if more than the usual number of processes are to be killed, else at some.
func TestKillAtEachCall(t *testing.T) {
	rng := random(t)
	step := 1
	if *kills <= usualKills {
		step = 5
	}
	for _, from := range []int{0, 1, newestOld(t)} {
		t.Run(fmt.Sprint("schema ", from), func(t *testing.T) {
			dir := memory(t)
			l := &life{t: t, rng: rng, know: &habits{lines: map[string]int{}, calls: map[string]int{}, killed: map[string]int{}}}
			source := filepath.Join(memory(t), "old.db")
			want := 0
			if from > 0 {
				makeOld(t, source, from)
				want = 20
			}
			for at, up := 1+rng.IntN(step), false; !up; at += step {
				for _, torn := range []bool{false, true} {
					o := &order{Role: "migrate", Path: filepath.Join(dir, fmt.Sprint(at, torn)), At: at, Torn: torn}
					if from > 0 {
						b, err := os.ReadFile(source)
						require.NoError(t, err)
						require.NoError(t, os.WriteFile(o.Path, b, 0o600))
					}
					out := l.run(o)
					require.Empty(t, out.err)
					up = len(out.wrote) > 0
					r := l.open(o)
					requireSound(t, r)
					require.GreaterOrEqual(t, written(t, r)[0], max(want, out.wrote[0]))
					require.NoError(t, r.Close())
					for _, part := range []string{"", "-journal"} {
						require.NoError(t, os.RemoveAll(o.Path+part))
					}
				}
			}
		})
	}
}
