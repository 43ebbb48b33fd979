package sim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
)

// plan is what is to be simulated: all of a seed's schedule, or some of its steps. A
// step draws what it does from a source of its own, so it is the same step whichever
// others are left out.
type plan struct {
	seed  uint64
	of    int   // how many steps the whole schedule has
	steps []int // those that are taken, ascending
	loose bool  // frames arrive when they may, and steps begin while others are under way
}

func wholePlan(seed uint64, steps int) plan {
	p := plan{seed: seed, of: steps, loose: *looseFlag}
	for i := range steps {
		p.steps = append(p.steps, i)
	}
	return p
}

// source returns what a part of the run draws from: a step by its number, all else by a
// name below 0.
func (p plan) source(part int) *rand.Rand {
	return rand.New(rand.NewPCG(p.seed, uint64(int64(part))))
}

// Sources that are no step's.
const (
	drawShape = -1 - iota
	drawEnd
	drawStick
	drawNames
)

// crashAt is the step that is a crash whatever is drawn: each schedule has one.
func (p plan) crashAt() int { return p.source(drawShape).IntN(p.of) }

// String is what -sim.replay takes: seed, steps of the schedule, and those taken, as
// 17/60:3,9-12.
func (p plan) String() string {
	var parts []string
	for i := 0; i < len(p.steps); {
		j := i
		for j+1 < len(p.steps) && p.steps[j+1] == p.steps[j]+1 {
			j++
		}
		if part := strconv.Itoa(p.steps[i]); j > i {
			parts = append(parts, part+"-"+strconv.Itoa(p.steps[j]))
		} else {
			parts = append(parts, part)
		}
		i = j + 1
	}
	return fmt.Sprintf("%d/%d:%s", p.seed, p.of, strings.Join(parts, ","))
}

// parsePlan reads what String wrote, or the first such line of a file.
func parsePlan(s string) (plan, error) {
	if text, err := os.ReadFile(s); err == nil {
		s, _, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	}
	p := plan{loose: *looseFlag}
	bad := fmt.Errorf("plan %q: want SEED/STEPS:LIST, as 17/60:3,9-12", s)
	head, list, ok := strings.Cut(s, ":")
	if _, err := fmt.Sscanf(head, "%d/%d", &p.seed, &p.of); err != nil || !ok || p.of < 1 {
		return p, bad
	}
	for _, part := range strings.Split(list, ",") {
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		i, err1 := strconv.Atoi(from)
		j, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || i < 0 || j < i || j >= p.of {
			return p, bad
		}
		for ; i <= j; i++ {
			p.steps = append(p.steps, i)
		}
	}
	if !slices.IsSorted(p.steps) {
		return p, bad
	}
	return p, nil
}

// without returns the plan less some of its steps, from the i-th to before the j-th.
func (p plan) without(i, j int) plan {
	p.steps = slices.Delete(slices.Clone(p.steps), i, j)
	return p
}

// shrink leaves out steps as long as the plan still fails, halves first, then quarters,
// down to single ones (Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing
// Input", 2002), with at most so many tries.
func shrink(p plan, tries int, fails func(plan) bool) plan {
	for size := (len(p.steps) + 1) / 2; size > 0; {
		dropped := false
		for i := 0; i < len(p.steps) && tries > 0; {
			tries--
			if less := p.without(i, min(i+size, len(p.steps))); fails(less) {
				p, dropped = less, true
			} else {
				i += size
			}
		}
		if size == 1 && !dropped || tries == 0 {
			return p
		}
		size = max(size/2, 1)
	}
	return p
}
