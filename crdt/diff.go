package crdt

import "slices"

// maxDistance bounds how many insertions and deletions diff looks for; its work
// is that times the length, its memory that squared.
const maxDistance = 400

// splice replaces del items at a of the old list by ins items at b of the new
// one.
type splice struct{ a, del, b, ins int }

// diff returns the splices, ascending, that turn a into b: the fewest insertions
// and deletions (Myers 1986, "An O(ND) difference algorithm"), or, if that takes
// more than maxDistance, one splice of all between the common ends.
func diff[T comparable](a, b []T) []splice {
	pre := 0
	for pre < len(a) && pre < len(b) && a[pre] == b[pre] {
		pre++
	}
	a, b = a[pre:], b[pre:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	script := []splice{{0, len(a), 0, len(b)}}
	if len(a) > 0 && len(b) > 0 {
		if s, ok := myers(a, b); ok {
			script = s
		}
	}
	for i := range script {
		script[i].a += pre
		script[i].b += pre
	}
	return script
}

// myers finds the furthest reaching path on each diagonal k = x-y for 0, 1, 2 ...
// edits, and then goes back the way it came.
func myers[T comparable](a, b []T) ([]splice, bool) {
	limit := min(maxDistance, len(a)+len(b))
	v := make([]int, 2*limit+3) // by diagonal, shifted by limit+1
	at := limit + 1
	var trace [][]int
	for d := 0; d <= limit; d++ {
		trace = append(trace, slices.Clone(v[at-d:at+d+1]))
		for k := -d; k <= d; k += 2 {
			x := v[at+k-1] + 1
			if k == -d || k != d && v[at+k-1] < v[at+k+1] {
				x = v[at+k+1]
			}
			y := x - k
			for x < len(a) && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			v[at+k] = x
			if x >= len(a) && y >= len(b) {
				return backtrack(trace, len(a), len(b)), true
			}
		}
	}
	return nil, false
}

func backtrack(trace [][]int, x, y int) []splice {
	var script []splice
	for d := len(trace) - 1; d > 0; d-- {
		v := trace[d] // as it was before step d; diagonals -d..d
		k := x - y
		left, right := -1, -1
		if k > -d {
			left = v[d+k-1]
		}
		if k < d {
			right = v[d+k+1]
		}
		s := splice{}
		if k == -d || k != d && left < right {
			x, y = right, right-k-1
			s = splice{a: x, b: y, ins: 1}
		} else {
			x, y = left, left-k+1
			s = splice{a: x, b: y, del: 1}
		}
		script = prepend(script, s)
	}
	slices.Reverse(script)
	return script
}

// prepend adds an earlier splice to a script in reverse, joining neighbours.
func prepend(script []splice, s splice) []splice {
	if n := len(script); n > 0 {
		if p := &script[n-1]; s.a+s.del == p.a && s.b+s.ins == p.b {
			*p = splice{a: s.a, del: s.del + p.del, b: s.b, ins: s.ins + p.ins}
			return script
		}
	}
	return append(script, s)
}
