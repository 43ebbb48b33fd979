package sqlitefile

import (
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"iter"
	"math"
)

// Kinds of pages that hold rows.
const (
	tableLeaf  byte = 13
	indexLeaf  byte = 10
	indexInner byte = 2
)

// Row is what may be a row of a table, or an entry of an index.
type Row struct {
	Place
	Table  bool  // of a table that has rowids
	ID     int64 // the rowid
	Old    bool  // of a version of its page that is not the newest, or behind the end of its cells
	Values []driver.Value
}

var errNoRow = errors.New("no row")

// Rows yields all that may be rows, those of the newest versions of pages first. Each
// page is read as whatever kind it could be: a kind is a byte like others, and may be
// damaged. Rows are valid until the next.
func (f *File) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for n := uint32(1); n <= f.pages; n++ {
			if !f.pageRows(n, f.newest[n], false, yield) {
				return
			}
		}
		for n := uint32(1); n <= f.pages; n++ {
			if f.newest[n] > 0 && int64(n-1)*int64(f.size) < f.bytes && !f.pageRows(n, 0, true, yield) {
				return
			}
		}
		for i := len(f.frames) - 1; i >= 0; i-- {
			if fr := f.frames[i]; f.newest[fr.page] != fr.at && !f.pageRows(fr.page, fr.at, true, yield) {
				return
			}
		}
	}
}

// pageRows yields the rows of one version of a page; false when the loop is over.
func (f *File) pageRows(n uint32, wal int64, old bool, yield func(Row, error) bool) bool {
	for _, kind := range []byte{tableLeaf, indexLeaf, indexInner} {
		page, err := f.load(n, wal)
		if err != nil {
			return yield(Row{}, err)
		}
		head := headOf(n)
		first := head + 8
		if kind == indexInner {
			first += 4
		}
		count := int(binary.BigEndian.Uint16(page[head+3:]))
		for i := 0; i < maxPageCells && first+2*i+2 <= f.usable; i++ {
			at := int(binary.BigEndian.Uint16(page[first+2*i:]))
			if at < first+2*i+2 || at >= f.usable {
				break
			}
			place := Place{page: n, wal: wal, cell: uint16(at), kind: kind}
			row, err := f.Row(place)
			if errors.Is(err, errNoRow) {
				continue
			}
			row.Old = old || i >= count
			if !yield(row, err) || err != nil {
				return false
			}
			if page, err = f.load(n, wal); err != nil {
				return yield(Row{}, err)
			}
		}
	}
	return true
}

func headOf(page uint32) int {
	if page == 1 {
		return headerSize
	}
	return 0
}

// Row reads a row again, where Rows has found one.
func (f *File) Row(p Place) (Row, error) {
	page, err := f.load(p.page, p.wal)
	if err != nil {
		return Row{}, err
	}
	cell := page[p.cell:f.usable]
	if p.kind == indexInner {
		if len(cell) < 4 {
			return Row{}, errNoRow
		}
		cell = cell[4:]
	}
	row := Row{Place: p, Table: p.kind == tableLeaf}
	size, n := varint(cell)
	if n == 0 || size < 2 || size > f.bytes {
		return Row{}, errNoRow
	}
	cell = cell[n:]
	if row.Table {
		if row.ID, n = varint(cell); n == 0 {
			return Row{}, errNoRow
		}
		cell = cell[n:]
	}
	payload, err := f.payload(cell, int(size), row.Table)
	if err != nil {
		return Row{}, err
	}
	if row.Values = values(payload); row.Values == nil {
		return Row{}, errNoRow
	}
	return row, nil
}

// payload gathers a cell's content, of which what does not fit is in other pages.
func (f *File) payload(cell []byte, size int, table bool) ([]byte, error) {
	most, least := (f.usable-12)*64/255-23, (f.usable-12)*32/255-23
	if table {
		most = f.usable - 35
	}
	local := size
	if size > most {
		if local = least + (size-least)%(f.usable-overflowBytes); local > most {
			local = least
		}
	}
	if local > len(cell) {
		return nil, errNoRow
	}
	payload := append(make([]byte, 0, local), cell[:local]...)
	if local == size {
		return payload, nil
	}
	if len(cell) < local+4 || !plausible(payload, size) {
		return nil, errNoRow
	}
	next, page := binary.BigEndian.Uint32(cell[local:]), make([]byte, f.size)
	for len(payload) < size {
		if next == 0 || next > f.pages {
			return nil, errNoRow
		}
		if err := f.latest(next, page); err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(page)
		payload = append(payload, page[overflowBytes:overflowBytes+min(size-len(payload), f.usable-overflowBytes)]...)
	}
	return payload, nil
}

// plausible reports whether the beginning of a record could be one of so many bytes:
// before other pages are read for it.
func plausible(payload []byte, size int) bool {
	_, total, ok := types(payload)
	return ok && total == int64(size)
}

// types reads a record's header: the types of its columns, and its length.
func types(b []byte) (all []int64, total int64, ok bool) {
	head, n := varint(b)
	if n == 0 || head < int64(n) || head > int64(len(b)) {
		return nil, 0, false
	}
	total = head
	for rest := b[n:head]; len(rest) > 0; {
		t, n := varint(rest)
		if n == 0 || t < 0 || t == 10 || t == 11 || len(all) == maxColumns {
			return nil, 0, false
		}
		rest = rest[n:]
		all = append(all, t)
		total += lengthOf(t)
		if total < 0 {
			return nil, 0, false
		}
	}
	return all, total, len(all) > 0
}

func lengthOf(t int64) int64 {
	switch {
	case t >= 12:
		return (t - 12) / 2
	case t == 5:
		return 6
	case t == 6 || t == 7:
		return 8
	case t >= 8:
		return 0
	}
	return t
}

// values reads a record; nil if it is none.
func values(b []byte) []driver.Value {
	all, total, ok := types(b)
	if !ok || total != int64(len(b)) {
		return nil
	}
	head, _ := varint(b)
	b = b[head:]
	row := make([]driver.Value, len(all))
	for i, t := range all {
		n := lengthOf(t)
		v := b[:n]
		b = b[n:]
		switch {
		case t == 0:
		case t == 7:
			row[i] = math.Float64frombits(binary.BigEndian.Uint64(v))
		case t < 8:
			row[i] = integer(v)
		case t < 10:
			row[i] = t - 8
		case t%2 == 0:
			row[i] = v
		default:
			row[i] = string(v)
		}
	}
	return row
}

func integer(b []byte) (n int64) {
	if b[0] >= 0x80 {
		n = -1
	}
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	return n
}

// varint reads SQLite's: seven bits a byte, the first ones first, eight in the ninth.
func varint(b []byte) (v int64, n int) {
	for i, c := range b[:min(len(b), 9)] {
		if i == 8 {
			return v<<8 | int64(c), 9
		}
		v = v<<7 | int64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
