package crdt

import "math"

// null stands for a null among the numbers of a column; no column holds it.
const null = math.MinInt64

// appendRuns appends n values, nulls among them, run-length encoded in the one
// way that Automerge's encoder does it: two equal values are a run already, what
// stands alone is a literal, and nulls only are nothing at all. at(i) returns the
// i-th value and whether it is not null; put appends one value.
func appendRuns[T comparable](dst []byte, n int, at func(int) (T, bool), put func([]byte, T) []byte) []byte {
	if n == 1 { // most changes have one operation
		if v, ok := at(0); ok {
			dst = put(append(dst, 0x7f), v)
		}
		return dst
	}
	start := len(dst)
	valued := false
	for i := 0; i < n; {
		v, ok := at(i)
		run := runLength(i, n, at)
		switch {
		case !ok:
			dst = appendUleb(append(dst, 0), uint64(run))
		case run > 1:
			dst = put(appendSleb(dst, int64(run)), v)
		default:
			run = literalLength(i, n, at)
			dst = appendSleb(dst, -int64(run))
			for k := range run {
				v, _ := at(i + k)
				dst = put(dst, v)
			}
		}
		valued = valued || ok
		i += run
	}
	if !valued {
		return dst[:start]
	}
	return dst
}

// runLength counts the values from i on that equal the one at i.
func runLength[T comparable](i, n int, at func(int) (T, bool)) int {
	first, ok := at(i)
	k := i + 1
	for ; k < n; k++ {
		if v, o := at(k); v != first || o != ok {
			break
		}
	}
	return k - i
}

// literalLength counts the values from i on, up to a null or one that is
// repeated.
func literalLength[T comparable](i, n int, at func(int) (T, bool)) int {
	last, _ := at(i)
	k := i + 1
	for ; k < n; k++ {
		v, ok := at(k)
		if !ok {
			break
		}
		if v == last {
			return k - 1 - i
		}
		last = v
	}
	return k - i
}

// appendNumbers appends a column of unsigned numbers.
func appendNumbers(dst []byte, column []int64) []byte {
	return appendRuns(dst, len(column),
		func(i int) (int64, bool) { return column[i], column[i] != null },
		appendNumber)
}

func appendNumber(dst []byte, v int64) []byte { return appendUleb(dst, uint64(v)) }

// appendDeltas appends a column of numbers as differences, each to the one
// before it that is not null. It overwrites column with them.
func appendDeltas(dst []byte, column []int64) []byte {
	var before int64
	for i, v := range column {
		if v != null {
			column[i], before = v-before, v
		}
	}
	return appendRuns(dst, len(column),
		func(i int) (int64, bool) { return column[i], column[i] != null },
		appendSleb)
}

// appendBools appends the lengths of alternating runs, false first.
func appendBools(dst []byte, n int, at func(int) bool) []byte {
	value, run := false, 0
	for i := range n {
		if at(i) != value {
			dst = appendUleb(dst, uint64(run))
			value, run = !value, 0
		}
		run++
	}
	return appendUleb(dst, uint64(run))
}
