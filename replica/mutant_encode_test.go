package replica_test

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/godwitdb/godwit/crdt"
)

// opName is an operation's id; zero for the root, the head or none.
type opName struct {
	actor crdt.ActorID
	ctr   uint32
}

// draftOp is an operation whose references name actors by their ID.
type draftOp struct {
	obj, elem     opName
	key           string
	inMap, insert bool
	action        crdt.Action
	value         crdt.Value
	pred          []opName
	expand        bool
	mark          string
}

// draft is a change as a mutator alters it: the encoder gives it the orders and
// the actor table that a parser insists on.
type draft struct {
	deps    []crdt.Hash
	author  crdt.ActorID
	seq     uint64
	start   uint64
	time    int64
	message string
	extra   []byte
	ops     []draftOp
}

// draftOf takes a change apart.
func draftOf(c *crdt.Change) draft {
	d := draft{deps: slices.Clone(c.Deps()), author: c.Actor(), seq: c.Seq(), start: c.StartOp(), time: c.Time(), message: c.Message()}
	for i := range c.Ops() {
		d.ops = append(d.ops, draftOpOf(c, i))
	}
	return d
}

func draftOpOf(c *crdt.Change, i int) draftOp {
	o := &c.Ops()[i]
	name := func(r crdt.Ref) opName {
		if r.Counter == 0 {
			return opName{}
		}
		return opName{c.Actors()[r.Actor], r.Counter}
	}
	d := draftOp{obj: name(o.Obj), elem: name(o.Elem), key: o.Key, inMap: o.InMap, insert: o.Insert,
		action: o.Action, value: o.Value, expand: o.Expand, mark: o.MarkName}
	for _, p := range o.Pred {
		d.pred = append(d.pred, name(p))
	}
	return d
}

// own names the draft's i-th operation.
func (d *draft) own(i int) opName { return opName{d.author, uint32(d.start) + uint32(i)} }

// encoder writes change data by the format's specification, apart from package
// crdt. If it is sloppy it says the same in other words now and then: longer
// numbers, split runs, columns of nulls, another order.
type encoder struct {
	rng    *rand.Rand
	sloppy bool
}

func (e *encoder) slip(oneIn int) bool { return e.sloppy && e.rng.IntN(oneIn) == 0 }

func (e *encoder) uleb(n uint64) string {
	b := binary.AppendUvarint(nil, n)
	if e.slip(40) {
		b[len(b)-1] |= 0x80
		b = append(b, 0)
	}
	return string(b)
}

func (e *encoder) sleb(n int64) string {
	var b []byte
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return string(append(b, low))
		}
		b = append(b, low|0x80)
	}
}

func (e *encoder) lengthed(s string) string { return e.uleb(uint64(len(s))) + s }

// cell is a value of a column, encoded.
type cell struct {
	null bool
	enc  string
}

func (e *encoder) runs(cells []cell) (out []byte) {
	valued := false
	for i := 0; i < len(cells); {
		n := 1
		for i+n < len(cells) && cells[i+n] == cells[i] {
			n++
		}
		if n > 1 && e.slip(20) {
			n = 1 + e.rng.IntN(n-1)
		}
		switch {
		case cells[i].null:
			out = append(out, "\x00"+e.uleb(uint64(n))...)
		case n > 1:
			out = append(out, e.sleb(int64(n))+cells[i].enc...)
		default:
			for i+n < len(cells) && !cells[i+n].null && (i+n+1 == len(cells) || cells[i+n] != cells[i+n+1]) {
				n++
			}
			out = append(out, e.sleb(-int64(n))...)
			for _, c := range cells[i : i+n] {
				out = append(out, c.enc...)
			}
		}
		valued = valued || !cells[i].null
		i += n
	}
	if !valued && !e.slip(20) {
		return nil
	}
	return out
}

func (e *encoder) bools(values []bool) (out []byte) {
	last, n := false, 0
	for _, v := range values {
		if v != last {
			out = append(out, e.uleb(uint64(n))...)
			last, n = v, 0
		}
		n++
	}
	return append(out, e.uleb(uint64(n))...)
}

// column of a change.
type column struct {
	spec uint64
	data []byte
}

// actors returns the table and the index of each.
func (d *draft) actors() (table []crdt.ActorID, index map[crdt.ActorID]uint64) {
	used := map[crdt.ActorID]bool{}
	for i := range d.ops {
		o := &d.ops[i]
		for _, n := range append([]opName{o.obj, o.elem}, o.pred...) {
			if n.ctr > 0 && n.actor != d.author {
				used[n.actor] = true
			}
		}
	}
	for a := range used {
		table = append(table, a)
	}
	slices.Sort(table)
	table = append([]crdt.ActorID{d.author}, table...)
	index = map[crdt.ActorID]uint64{}
	for i, a := range table {
		index[a] = uint64(i)
	}
	return table, index
}

// columns encodes the operations.
func (e *encoder) columns(d *draft, index map[crdt.ActorID]uint64) (cols []column) {
	var cells [256][]cell
	null := cell{null: true}
	put := func(spec uint64, c cell) { cells[spec] = append(cells[spec], c) }
	number := func(spec, n uint64) { put(spec, cell{enc: e.uleb(n)}) }
	var last [256]int64
	delta := func(spec uint64, n int64) {
		put(spec, cell{enc: e.sleb(n - last[spec])})
		last[spec] = n
	}
	var inserts, expands []bool
	var values []byte
	expanded := false
	for i := range d.ops {
		o := &d.ops[i]
		if o.obj.ctr == 0 {
			put(0x01, null)
			put(0x02, null)
		} else {
			number(0x01, index[o.obj.actor])
			number(0x02, uint64(o.obj.ctr))
		}
		if o.inMap {
			put(0x11, null)
			put(0x13, null)
			put(0x15, cell{enc: e.lengthed(o.key)})
		} else {
			if o.elem.ctr == 0 {
				put(0x11, null)
			} else {
				number(0x11, index[o.elem.actor])
			}
			delta(0x13, int64(o.elem.ctr))
			put(0x15, null)
		}
		number(0x42, uint64(o.action))
		value := e.value(o.value)
		number(0x56, uint64(len(value))<<4|uint64(o.value.Kind()))
		values = append(values, value...)
		number(0x70, uint64(len(o.pred)))
		if !e.slip(30) {
			slices.SortFunc(o.pred, func(a, b opName) int {
				return cmp.Or(cmp.Compare(a.ctr, b.ctr), cmp.Compare(a.actor, b.actor))
			})
		}
		for _, p := range o.pred {
			number(0x71, index[p.actor])
			delta(0x73, int64(p.ctr))
		}
		if o.mark == "" {
			put(0xa5, null)
		} else {
			put(0xa5, cell{enc: e.lengthed(o.mark)})
		}
		inserts, expands = append(inserts, o.insert), append(expands, o.expand)
		expanded = expanded || o.expand
	}
	for _, spec := range []uint64{0x01, 0x02, 0x11, 0x13, 0x15, 0x34, 0x42, 0x56, 0x57, 0x70, 0x71, 0x73, 0x94, 0xa5} {
		data := e.runs(cells[spec])
		switch {
		case spec == 0x34 && len(d.ops) > 0:
			data = e.bools(inserts)
		case spec == 0x57:
			data = values
		case spec == 0x94 && (expanded || e.slip(40)):
			data = e.bools(expands)
		}
		if len(data) > 0 {
			cols = append(cols, column{spec, data})
		}
	}
	return cols
}

func (e *encoder) value(v crdt.Value) string {
	switch v.Kind() {
	case crdt.KindUint:
		return e.uleb(v.Uint())
	case crdt.KindInt, crdt.KindCounter, crdt.KindTime:
		return e.sleb(v.Int())
	case crdt.KindFloat:
		return string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v.Float())))
	}
	return v.Str()
}

// data encodes the draft; alter, unless nil, may change its columns before they
// are put together.
func (e *encoder) data(d *draft, alter func([]column) []column) []byte {
	table, index := d.actors()
	if e.slip(40) {
		table = append(table, "zz")
	}
	cols := e.columns(d, index)
	if alter != nil {
		cols = alter(cols)
	}
	if !e.slip(40) {
		slices.SortFunc(d.deps, crdt.Hash.Compare)
	}
	var b bytes.Buffer
	b.WriteString(e.uleb(uint64(len(d.deps))))
	for _, h := range d.deps {
		b.Write(h[:])
	}
	b.WriteString(e.lengthed(string(d.author)) + e.uleb(d.seq) + e.uleb(d.start) + e.sleb(d.time) + e.lengthed(d.message))
	b.WriteString(e.uleb(uint64(len(table) - 1)))
	for _, a := range table[1:] {
		b.WriteString(e.lengthed(string(a)))
	}
	b.WriteString(e.uleb(uint64(len(cols))))
	for _, c := range cols {
		b.WriteString(e.uleb(c.spec) + e.uleb(uint64(len(c.data))))
	}
	for _, c := range cols {
		b.Write(c.data)
	}
	b.Write(d.extra)
	return b.Bytes()
}

// seal puts a change's data into a chunk with the right length and checksum.
func seal(data []byte) []byte {
	b := append([]byte("\x85\x6f\x4a\x83\x00\x00\x00\x00\x01"), binary.AppendUvarint(nil, uint64(len(data)))...)
	b = append(b, data...)
	sum := sha256.Sum256(b[8:])
	copy(b[4:], sum[:4])
	return b
}

// unseal returns a plain chunk's data.
func unseal(chunk []byte) []byte {
	n, size := binary.Uvarint(chunk[9:])
	return chunk[9+size:][:n]
}

// deflaters are large and slow to make.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// deflated returns the chunk as type 2, which has the same hash and checksum.
func deflated(chunk []byte) []byte {
	var body bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&body)
	_, _ = w.Write(unseal(chunk))
	_ = w.Close()
	b := append(bytes.Clone(chunk[:8]), 2)
	b = binary.AppendUvarint(b, uint64(body.Len()))
	return append(b, body.Bytes()...)
}
