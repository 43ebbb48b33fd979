package crdt

import (
	"math"
	"unicode/utf8"
	"unsafe"
)

// The readers below take a column only in the form that the encoder writes: a
// value that follows an equal one must be in its run, a run has two values or
// more, neighbouring runs of one kind are one. So whatever they accept, the
// encoder gives back byte for byte, and no second encoding is needed to know.

// failure keeps the first thing found wrong with a change. Readers go on with
// zeros after it; whoever loops looks at it once a round.
type failure struct{ err *InvalidError }

func (f *failure) set(code, format string, args ...any) {
	if f.err == nil {
		f.err = invalid(code, format, args...)
	}
}

func (f *failure) column(col int, what string) {
	f.set(CodeEncoding, "column %s: %s", columnNames[col], what)
}

type runKind uint8

const (
	runNone runKind = iota
	runNulls
	runRepeat
	runLiteral
)

// runs reads the run headers of a run-length encoded column.
type runs struct {
	in     []byte
	left   int // values left in the current run
	kind   runKind
	fresh  bool // the repeated value is not read yet
	joined bool // the value before the next one is not null, so they must differ
	valued bool // some value is not null
	col    int
	f      *failure
}

// open starts a column that has a value for each operation.
func (r *runs) open(cols *[columnCount][]byte, col int, f *failure) {
	r.in, r.col, r.f = cols[col], col, f
}

// openNullable starts a column that is nulls throughout when it is absent.
func (r *runs) openNullable(cols *[columnCount][]byte, col int, f *failure) {
	r.open(cols, col, f)
	if len(r.in) == 0 {
		r.kind, r.left, r.valued = runNulls, math.MaxInt, true
	}
}

// head reads the next run's header.
func (r *runs) head() bool {
	n, size := readSleb(r.in)
	if size == 0 {
		return r.fail("too few values, or a malformed run length")
	}
	r.in = r.in[size:]
	before := r.kind
	r.joined = before == runRepeat || before == runLiteral
	switch {
	case n == 0:
		count, size := readUleb(r.in)
		if size == 0 || count == 0 || count > MaxOps || before == runNulls {
			return r.fail("malformed run of nulls")
		}
		r.in, r.kind, r.left = r.in[size:], runNulls, int(count)
	case n == 1 || n > MaxOps:
		return r.fail("malformed run")
	case n > 1:
		r.kind, r.left, r.fresh, r.valued = runRepeat, int(n), true, true
	case n < -MaxOps || before == runLiteral:
		return r.fail("malformed literals")
	default:
		r.kind, r.left, r.valued = runLiteral, int(-n), true
	}
	return true
}

// step goes to the next value: is it there, and does it have to be read?
func (r *runs) step() (ok, read bool) {
	if r.left == 0 && !r.head() {
		return false, false
	}
	r.left--
	switch r.kind {
	case runNulls:
		return false, false
	case runRepeat:
		read, r.fresh = r.fresh, false
		return true, read
	}
	return true, true
}

// end checks that nothing is left.
func (r *runs) end() {
	absent := r.left > MaxOps
	if !absent && (r.left > 0 || len(r.in) > 0) {
		r.fail("too many values")
	}
	if !r.valued {
		r.fail("nothing but nulls")
	}
}

func (r *runs) fail(what string) bool {
	r.f.column(r.col, what)
	r.in, r.kind, r.left = nil, runNulls, math.MaxInt
	return false
}

// numbers reads a column of unsigned numbers, or of deltas: each the difference
// to the number before it that is not null.
type numbers struct {
	runs
	delta bool
	value int64 // as it stands in the column
	sum   int64 // of deltas
}

// next returns the next number; null has ok false.
func (c *numbers) next() (n int64, ok bool) {
	ok, read := c.step()
	if !ok {
		return 0, false
	}
	if read && !c.read() {
		return 0, false
	}
	if !c.delta {
		return c.value, true
	}
	if c.sum += c.value; uint64(c.sum) >= MaxCounter {
		return 0, c.fail("a counter out of range")
	}
	return c.sum, true
}

func (c *numbers) read() bool {
	var v int64
	var size int
	if c.delta {
		v, size = readSleb(c.in)
		if v <= -MaxCounter || v >= MaxCounter {
			size = 0
		}
	} else {
		var u uint64
		if u, size = readUleb(c.in); u >= 1<<32 {
			size = 0
		}
		v = int64(u)
	}
	if size == 0 {
		return c.fail("malformed or too large a number")
	}
	if c.joined && v == c.value {
		return c.fail("equal values outside of a run")
	}
	c.in, c.value, c.joined = c.in[size:], v, true
	return true
}

// texts reads a column of strings, which alias the column's memory.
type texts struct {
	runs
	value string
}

// next returns the next string; null has ok false.
func (c *texts) next() (s string, ok bool) {
	ok, read := c.step()
	if !ok || (read && !c.read()) {
		return "", false
	}
	return c.value, true
}

func (c *texts) read() bool {
	n, size := readUleb(c.in)
	if size == 0 || n > uint64(len(c.in)-size) {
		return c.fail("malformed string length")
	}
	s := view(c.in[size : size+int(n)])
	if !utf8.ValidString(s) {
		return c.fail("invalid UTF-8")
	}
	if c.joined && s == c.value {
		return c.fail("equal values outside of a run")
	}
	c.in, c.value, c.joined = c.in[size+int(n):], s, true
	return true
}

// bools reads a column of booleans: lengths of alternating runs, false first.
type bools struct {
	in    []byte
	left  int
	value bool
	any   bool // some value is true
	col   int
	f     *failure
}

// open starts a column that has a value for each operation.
func (c *bools) open(cols *[columnCount][]byte, col int, f *failure) {
	c.in, c.col, c.f, c.value = cols[col], col, f, true
	if len(c.in) > 0 && c.in[0] == 0 { // begins with a true
		c.in, c.value = c.in[1:], false
	}
}

// openOptional starts a column that is false throughout when it is absent.
func (c *bools) openOptional(cols *[columnCount][]byte, col int, f *failure) {
	c.open(cols, col, f)
	if len(cols[col]) == 0 { // not c.in: a lone 0 is a malformed run, not an absent column
		c.left, c.value, c.any = math.MaxInt, false, true
	}
}

func (c *bools) next() bool {
	if c.left == 0 {
		n, size := readUleb(c.in)
		if size == 0 || n == 0 || n > MaxOps {
			c.f.column(c.col, "too few values, or a malformed run")
			n = math.MaxInt
		}
		c.in, c.left, c.value = c.in[size:], int(n), !c.value
		c.any = c.any || c.value
	}
	c.left--
	return c.value
}

func (c *bools) end() {
	absent := c.left > MaxOps
	if !absent && (c.left > 0 || len(c.in) > 0) {
		c.f.column(c.col, "too many values")
	}
}

// tally returns how many numbers a column holds and their sum, before anything
// is allocated for them; ok is false when it is malformed or holds too many.
func tally(in []byte) (count, sum int, ok bool) {
	for len(in) > 0 {
		n, size := readSleb(in)
		in = in[size:]
		if size == 0 || n == 0 || n > MaxOps || n < -MaxOps {
			return 0, 0, false
		}
		each, literals := n, int64(1)
		if n < 0 {
			each, literals = 1, -n
		}
		for ; literals > 0; literals-- {
			v, size := readUleb(in)
			if size == 0 || v > MaxChangeSize<<4 {
				return 0, 0, false
			}
			in = in[size:]
			count += int(each)
			sum += int(each) * int(v)
			if count > MaxOps || sum > 1<<50 {
				return 0, 0, false
			}
		}
	}
	return count, sum, true
}

// view returns b as a string that shares its memory, which never changes again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
