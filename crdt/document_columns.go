package crdt

import (
	"bytes"
	"compress/flate"
	"io"
	"math"
)

// Columns of a document's changes and operations, with their specifications. The
// operations have the columns of changes, with an ID of their own and successors
// in place of predecessors.
const (
	docActor = iota
	docSeq
	docMaxOp
	docTime
	docMessage
	docDepCount
	docDep
	docExtraMeta
	docExtra
	docChangeColumnCount
)

var docChangeSpecs = [docChangeColumnCount]uint64{0x01, 0x03, 0x13, 0x23, 0x35, 0x40, 0x43, 0x56, 0x57}

const (
	docObjActor = iota
	docObjCounter
	docElemActor
	docElemCounter
	docKey
	docIDActor
	docIDCounter
	docInsert
	docAction
	docValueMeta
	docValue
	docSuccCount
	docSuccActor
	docSuccCounter
	docExpand
	docMarkName
	docOpColumnCount
)

var docOpSpecs = [docOpColumnCount]uint64{
	0x01, 0x02, 0x11, 0x13, 0x15, 0x21, 0x23, 0x34, 0x42, 0x56, 0x57, 0x80, 0x81, 0x83, 0x94, 0xa5,
}

// maxColumns bounds a document's list of columns. There are 16 kinds.
const maxColumns = 64

// listedColumn is an entry of a list of columns.
type listedColumn struct{ spec, size uint64 }

func readColumnList(r *reader) []listedColumn {
	n := r.uleb("column count")
	if n > maxColumns {
		r.fail("more columns than there are kinds")
		return nil
	}
	list := make([]listedColumn, n)
	for i := range list {
		list[i] = listedColumn{r.uleb("column specification"), r.uleb("column length")}
		if i > 0 && list[i].spec&^deflatedColumn <= list[i-1].spec&^deflatedColumn {
			r.fail("columns do not ascend")
			return nil
		}
	}
	return list
}

// split takes the listed columns off r and puts them, inflated, where their
// specification says. Those of unknown kinds are skipped: no change of the
// document has such columns, or the heads would not come out.
func (d *document) split(r *reader, list []listedColumn, specs []uint64, cols [][]byte, budget *int) {
	for _, c := range list {
		b := r.bytes(c.size, "column")
		if d.f.err != nil {
			return
		}
		i := 0
		for i < len(specs) && specs[i] != c.spec&^deflatedColumn {
			i++
		}
		if i == len(specs) {
			d.unknown++
			continue
		}
		if c.spec&deflatedColumn != 0 {
			b = d.inflate(b, budget)
		}
		cols[i] = b
		d.size += len(b)
	}
}

// inflate returns a column's content. What is large it counts before it keeps it,
// so a bomb takes a little time and no memory.
func (d *document) inflate(b []byte, budget *int) []byte {
	const large = 1 << 20
	limit := min(large, *budget+1)
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), int64(limit)))
	n := int64(len(out))
	if err == nil && len(out) == limit {
		n, err = io.Copy(io.Discard, io.LimitReader(flate.NewReader(bytes.NewReader(b)), int64(*budget)+1))
	}
	if err != nil {
		d.f.set(CodeEncoding, "inflate a column: %v", err)
		return nil
	}
	if n > int64(*budget) {
		d.f.set(CodeSize, "the columns inflate to more than %d bytes beyond the chunk's size", maxInflate)
		return nil
	}
	*budget -= int(n)
	if n > int64(len(out)) {
		out = make([]byte, n)
		_, _ = io.ReadFull(flate.NewReader(bytes.NewReader(b)), out)
	}
	return out
}

// The readers below take a column in any encoding: what a document says is held
// against its heads' hashes, and how it says it is stored nowhere. Past its end a
// column is null. Malformed content is reported by end.

// docRuns reads the run headers of a column.
type docRuns struct {
	left int
	kind runKind
	bad  bool
	done bool // past the end
}

// head reads the next run's header off in; read is whether a value follows.
func (r *docRuns) head(in []byte) (rest []byte, read bool) {
	if len(in) == 0 {
		r.kind, r.left, r.done = runNulls, math.MaxInt, true
		return nil, false
	}
	n, size := readSleb(in)
	in = in[size:]
	switch {
	case size == 0 || n < -math.MaxInt32:
		return r.fail()
	case n > 0:
		r.kind, r.left = runRepeat, int(n)
		return in, true
	case n < 0:
		r.kind, r.left = runLiteral, int(-n)
		return in, false
	}
	nulls, size := readUleb(in)
	if size == 0 || nulls == 0 || nulls > math.MaxInt32 {
		return r.fail()
	}
	r.kind, r.left = runNulls, int(nulls)
	return in[size:], false
}

func (r *docRuns) fail() ([]byte, bool) {
	r.kind, r.left, r.bad = runNulls, math.MaxInt, true
	return nil, false
}

// docNumbers reads numbers, or with delta differences.
type docNumbers struct {
	docRuns
	in    []byte
	delta bool
	value int64
	sum   int64
}

// next returns the next number; null has ok false.
func (c *docNumbers) next() (n int64, ok bool) {
	if c.left == 0 {
		var read bool
		if c.in, read = c.head(c.in); read {
			c.read()
		}
	}
	c.left--
	switch c.kind {
	case runNulls:
		return 0, false
	case runLiteral:
		c.read()
	}
	if !c.delta {
		return c.value, true
	}
	c.sum += c.value
	return c.sum, true
}

func (c *docNumbers) read() {
	var size int
	if c.delta {
		c.value, size = readSleb(c.in)
	} else {
		var u uint64
		if u, size = readUleb(c.in); u > math.MaxInt64 {
			size = 0
		}
		c.value = int64(u)
	}
	if size == 0 {
		c.value = 0
		c.in, _ = c.fail()
		return
	}
	c.in = c.in[size:]
}

// end reports whether the column was well-formed and is used up.
func (c *docNumbers) end() bool { return !c.bad && (c.done || c.left == 0 && len(c.in) == 0) }

// docTexts reads strings, which share the column's memory.
type docTexts struct {
	docRuns
	in    []byte
	value string
}

// next returns the next string; null has ok false.
func (c *docTexts) next() (s string, ok bool) {
	if c.left == 0 {
		var read bool
		if c.in, read = c.head(c.in); read {
			c.read()
		}
	}
	c.left--
	switch c.kind {
	case runNulls:
		return "", false
	case runLiteral:
		c.read()
	}
	return c.value, true
}

func (c *docTexts) read() {
	n, size := readUleb(c.in)
	if size == 0 || n > uint64(len(c.in)-size) {
		c.value = ""
		c.in, _ = c.fail()
		return
	}
	c.value, c.in = view(c.in[size:size+int(n)]), c.in[size+int(n):]
}

func (c *docTexts) end() bool { return !c.bad && (c.done || c.left == 0 && len(c.in) == 0) }

// docBools reads booleans: lengths of alternating runs, false first.
type docBools struct {
	in    []byte
	left  int
	value bool
	begun bool
	bad   bool
	done  bool
}

func (c *docBools) next() bool {
	for c.left == 0 {
		if len(c.in) == 0 {
			c.left, c.value, c.done = math.MaxInt, false, true
			break
		}
		n, size := readUleb(c.in)
		if size == 0 || n > math.MaxInt32 || (n == 0 && c.begun) {
			c.in, c.left, c.value, c.bad = nil, math.MaxInt, false, true
			break
		}
		c.value = c.begun && !c.value
		c.in, c.left, c.begun = c.in[size:], int(n), true
	}
	c.left--
	return c.value
}

func (c *docBools) end() bool { return !c.bad && (c.done || c.left == 0 && len(c.in) == 0) }

// countRows returns how many rows a column of numbers has and what they add up
// to, differences apart, without allocating; ok is false when it is malformed or
// has too many.
func countRows(in []byte, delta bool, limit int) (count, sum int, ok bool) {
	r := docNumbers{in: in, delta: delta}
	for {
		var read bool
		if r.in, read = r.head(r.in); r.done {
			return count, sum, true
		}
		if count += r.left; r.bad || count > limit {
			return 0, 0, false
		}
		values, each := 0, 1
		switch {
		case read:
			values, each = 1, r.left
		case r.kind == runLiteral:
			values = r.left
		}
		for range values {
			r.read()
			if r.bad || !delta && r.value > 1<<31 {
				return 0, 0, false
			}
			if !delta {
				sum += each * int(r.value)
			}
		}
	}
}

// sameRows reports whether all columns, of differences or not, have n rows.
func sameRows(n int, delta bool, columns ...[]byte) bool {
	for _, c := range columns {
		if k, _, ok := countRows(c, delta, n); !ok || k != n {
			return false
		}
	}
	return true
}
