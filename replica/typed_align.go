package replica

import (
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// maxAlignCells bounds the table by which two lists are aligned exactly. Beyond it,
// equal elements are lined up by their number of occurrence.
const maxAlignCells = 1 << 20

// alignLists returns for each element of after the index of the one of before that
// it is, -1 if it is new. Elements with an identity are those with the same one;
// others are the same if they are equal, and, between two such, those that stand in
// the same place: they were edited.
func alignLists(elem *codec, before, after []any) []int {
	byID := elem != nil && elem.identity != "" && hasIdentity(elem, before) && hasIdentity(elem, after)
	a, b := listKeys(elem, byID, before), listKeys(elem, byID, after)
	from := make([]int, len(b))
	for j := range from {
		from[j] = -1
	}
	used := make([]bool, len(a))
	match := func(i, j int) { from[j], used[i] = i, true }
	alignKeys(a, b, match)
	alignMoved(a, b, from, used)
	if !byID {
		alignEdited(from, used)
	}
	return from
}

// hasIdentity reports whether all elements have an identity of their own.
func hasIdentity(elem *codec, list []any) bool {
	seen := make(map[string]bool, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		id, there := m[elem.identity]
		if !ok || !there || id == nil || id == "" {
			return false
		}
		key := treeKey(id)
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

func listKeys(elem *codec, byID bool, list []any) []string {
	keys := make([]string, len(list))
	for i, v := range list {
		if byID {
			v = v.(map[string]any)[elem.identity]
		}
		keys[i] = treeKey(v)
	}
	return keys
}

// treeKey tells trees apart. What has no JSON is refused when it is written.
func treeKey(v any) string {
	b, _ := crdt.AppendJSON(nil, v)
	return string(b)
}

// alignKeys matches what can stay where it is: a longest common subsequence.
func alignKeys(a, b []string, match func(i, j int)) {
	pre := 0
	for pre < len(a) && pre < len(b) && a[pre] == b[pre] {
		match(pre, pre)
		pre++
	}
	for len(a) > pre && len(b) > pre && a[len(a)-1] == b[len(b)-1] {
		match(len(a)-1, len(b)-1)
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	a, b = a[pre:], b[pre:]
	if len(a) == 0 || len(b) == 0 || len(a) > maxAlignCells/len(b) {
		return
	}
	width := len(b) + 1
	best := make([]int32, (len(a)+1)*width) // of what is behind i and j
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				best[i*width+j] = best[(i+1)*width+j+1] + 1
			} else {
				best[i*width+j] = max(best[(i+1)*width+j], best[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			match(pre+i, pre+j)
			i, j = i+1, j+1
		case best[(i+1)*width+j] >= best[i*width+j+1]:
			i++
		default:
			j++
		}
	}
}

// alignMoved matches equal elements that are in another place now.
func alignMoved(a, b []string, from []int, used []bool) {
	free := map[string][]int{}
	for i, key := range a {
		if !used[i] {
			free[key] = append(free[key], i)
		}
	}
	for j, key := range b {
		if at := free[key]; from[j] < 0 && len(at) > 0 {
			from[j], used[at[0]], free[key] = at[0], true, at[1:]
		}
	}
}

// alignEdited matches, in each gap between elements that stay, what is left on both
// sides, in order.
func alignEdited(from []int, used []bool) {
	stays := ascending(from)
	i := 0
	for j := range from {
		switch {
		case stays[j]:
			i = from[j] + 1
		case from[j] < 0:
			end := len(used)
			for k := j + 1; k < len(from); k++ {
				if stays[k] {
					end = from[k]
					break
				}
			}
			for i < end && used[i] {
				i++
			}
			if i < end {
				from[j], used[i] = i, true
				i++
			}
		}
	}
}

// ascending marks the elements of a longest run of old indices that ascends: they
// stay, the others move.
func ascending(from []int) []bool {
	stays := make([]bool, len(from))
	prev := make([]int, len(from))
	var tails []int // the element that ends the best run of each length
	for j, i := range from {
		if i < 0 {
			continue
		}
		n, _ := slices.BinarySearchFunc(tails, i, func(t, i int) int { return from[t] - i })
		if prev[j] = -1; n > 0 {
			prev[j] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, j)
		} else {
			tails[n] = j
		}
	}
	if len(tails) == 0 {
		return stays
	}
	for j := tails[len(tails)-1]; j >= 0; j = prev[j] {
		stays[j] = true
	}
	return stays
}
