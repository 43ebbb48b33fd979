package replica

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
	"sync"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// digests holds the trees of a replica, one for each set of records that somebody
// compares. It is safe for concurrent use.
type digests struct {
	mu    sync.Mutex // guards what follows
	trees []*digestTree
}

const (
	maxTrees    = 4  // kept; the one used last stays longest
	leafItems   = 16 // records of a leaf, about
	maxLeafBits = 24
)

// digestTree is the prints of a set of records by their places. It has one level:
// 1 << bits leaves, which add up to any print above them. It is made by one scan
// and then follows the log: a record that changed has its leaf read again. So the
// way of a commit is none the longer, and what other processes commit is seen too.
type digestTree struct {
	of      *carry
	bits    uint8
	leaves  []digestLeaf
	records int
	lsn     crdt.LSN // how far the log was followed
	view    int64    // likewise of view changes
}

type digestLeaf struct {
	rids  []uint32 // of what was in the leaf once; some may not be in the set
	count uint32
	sum   printSum
}

// printSum adds up hashes of items modulo 2^256. Sums of parts make the sum of
// the whole, in any order; exclusive-or, which does so too, would let anybody who
// can add records solve for ones that cancel out.
type printSum [4]uint64

func (s *printSum) add(o *printSum) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
}

// print is what is compared: a hash of the sum and of how many items it has.
func (s *printSum) print(count int) (p transport.Print) {
	var b [40]byte
	for i, w := range s {
		binary.LittleEndian.PutUint64(b[8*i:], w)
	}
	binary.LittleEndian.PutUint64(b[32:], uint64(count))
	h := sha256.Sum256(b[:])
	copy(p[:], h[:])
	return p
}

// placed is an item in its place.
type placed struct {
	transport.Item
	key crdt.Key
	rid int64
	sum printSum
}

func placeOf(k crdt.Key) uint64 {
	h := sha256.Sum256(appendKey(make([]byte, 0, 128), k))
	return binary.BigEndian.Uint64(h[:])
}

func appendKey(b []byte, k crdt.Key) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(k.Collection))), k.Collection...)
	return append(binary.AppendUvarint(b, uint64(len(k.ID))), k.ID...)
}

// place computes what stands for a record: where, and which.
func place(it *persist.Item) placed {
	b := appendKey(make([]byte, 0, 256), it.Key)
	at := sha256.Sum256(b)
	h := sha256.Sum256(append(b, it.Heads...))
	p := placed{key: it.Key, rid: it.RID}
	p.Place, p.Heads = binary.BigEndian.Uint64(at[:]), max(binary.BigEndian.Uint64(h[:]), 1)
	for i := range p.sum {
		p.sum[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	return p
}

// headsPrint is Item.Heads of a record; 0 if there is none, or nothing of it.
func headsPrint(rec *persist.Record) uint64 {
	if rec == nil || len(rec.Heads) == 0 {
		return 0
	}
	it := persist.Item{Key: rec.Key}
	for _, h := range rec.Heads {
		it.Heads = append(it.Heads, h[:]...)
	}
	p := place(&it)
	return p.Heads
}

// digest lets fn look at the tree of what the carry covers, as of a snapshot.
func (r *Replica) digest(ctx context.Context, of *carry, fn func(*digestView) error) error {
	err := r.store.Read(ctx, func(rd *persist.Reader) error {
		r.digests.mu.Lock()
		defer r.digests.mu.Unlock()
		t, err := r.digests.tree(r, rd, of)
		if err != nil {
			return err
		}
		return fn(&digestView{r: r, rd: rd, t: t})
	})
	return translate(err)
}

// forget has all trees built anew.
func (d *digests) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trees = nil
}

// tree returns the tree as of the reader's snapshot. The caller holds mu.
func (d *digests) tree(r *Replica, rd *persist.Reader, of *carry) (t *digestTree, err error) {
	at := slices.IndexFunc(d.trees, func(t *digestTree) bool { return t.of.hash() == of.hash() })
	if at >= 0 {
		t = d.trees[at]
		d.trees = slices.Delete(d.trees, at, at+1)
		fits, err := t.follow(r, rd)
		if err != nil {
			return nil, err // it is built anew next time
		}
		if !fits {
			t = nil
		}
	}
	if t == nil {
		if t, err = buildTree(r, rd, of); err != nil {
			return nil, err
		}
	}
	d.trees = append(d.trees, t)
	if len(d.trees) > maxTrees {
		d.trees = slices.Delete(d.trees, 0, 1)
	}
	return t, nil
}

func buildTree(r *Replica, rd *persist.Reader, of *carry) (*digestTree, error) {
	t := &digestTree{of: of, lsn: rd.Head().LSN}
	var err error
	if t.view, err = rd.LastView(); err != nil {
		return nil, err
	}
	var items []placed // for a part of the records: how many it has is not known before
	whole := len(of.scopes) == 0 && !of.none
	if whole {
		most, err := rd.LastRID()
		if err != nil {
			return nil, err
		}
		t.size(int(most))
	}
	for it, err := range of.items(rd) {
		if err != nil {
			return nil, err
		}
		in, err := of.has(r, rd, &it)
		if err != nil {
			return nil, err
		}
		if p := place(&it); !in {
			continue
		} else if whole {
			t.put(p)
		} else {
			items = append(items, p)
		}
	}
	if !whole {
		t.size(len(items))
		for _, p := range items {
			t.put(p)
		}
	}
	return t, nil
}

func (t *digestTree) size(items int) {
	t.bits = uint8(min(bits.Len(uint(items/leafItems)), maxLeafBits))
	t.leaves = make([]digestLeaf, 1<<t.bits)
}

func (t *digestTree) leaf(place uint64) *digestLeaf { return &t.leaves[place>>(64-t.bits)] }

func (t *digestTree) put(p placed) {
	l := t.leaf(p.Place)
	l.rids = append(l.rids, uint32(p.rid))
	l.count++
	l.sum.add(&p.sum)
	t.records++
}

// follow takes in what was committed since; false if making the tree anew is less
// work, or it has outgrown its leaves.
func (t *digestTree) follow(r *Replica, rd *persist.Reader) (fits bool, err error) {
	view, err := rd.LastView()
	if err != nil || view != t.view && t.of.where {
		return false, err
	}
	touched := map[int64]bool{}
	if view-t.view > persist.MaxViews {
		return false, nil
	}
	// What is withdrawn, or wanted back, changes heads without a row of the log.
	for _, rids := range []iter.Seq2[int64, error]{rd.Touched(t.lsn), rd.Viewed(t.view)} {
		for rid, err := range rids {
			if err != nil {
				return false, err
			}
			if touched[rid] = true; len(touched) > len(t.leaves)/4+1000 {
				return false, nil
			}
		}
	}
	stale := map[*digestLeaf]bool{}
	for p, err := range rd.PurgedSince(t.lsn) { // so does this, and their names may be gone
		if err != nil {
			return false, err
		}
		stale[t.leaf(p.Place)] = true
	}
	for rid := range touched {
		if bug(bugStalePrint) && rid%4 == 0 {
			continue
		}
		if err := t.touch(rd, rid, stale); err != nil {
			return false, err
		}
	}
	t.lsn, t.view = rd.Head().LSN, view
	for l := range stale {
		if err := t.reread(r, rd, l); err != nil {
			return false, err
		}
	}
	return t.records <= 64*leafItems*len(t.leaves), nil
}

// touch notes that the record's leaf is to be read again.
func (t *digestTree) touch(rd *persist.Reader, rid int64, stale map[*digestLeaf]bool) error {
	it, ok, err := rd.ItemAt(rid)
	if err != nil || !ok || !t.of.covers(it.Key) {
		return err
	}
	l := t.leaf(placeOf(it.Key))
	if !slices.Contains(l.rids, uint32(rid)) {
		l.rids = append(l.rids, uint32(rid))
	}
	stale[l] = true
	return nil
}

func (t *digestTree) reread(r *Replica, rd *persist.Reader, l *digestLeaf) error {
	t.records -= int(l.count)
	l.count, l.sum = 0, printSum{}
	for _, rid := range l.rids {
		it, ok, err := rd.ItemAt(int64(rid))
		if err == nil && ok {
			ok, err = t.of.has(r, rd, &it)
		}
		if err != nil {
			return err
		}
		if ok {
			p := place(&it)
			l.count++
			l.sum.add(&p.sum)
		}
	}
	t.records += int(l.count)
	return nil
}

// digestView is a tree and the file, as of one moment. Neither may be used after
// the function that it was handed to.
type digestView struct {
	r  *Replica
	rd *persist.Reader
	t  *digestTree

	read map[uint64][]placed // of leaves that were read, the items by place
}

// part is all places that begin with some bits.
type part struct {
	bits   uint8
	prefix uint64
}

// child returns the i-th of the 1 << fan equal parts of it.
func (p part) child(fan uint8, i int) part {
	b := p.bits + fan
	return part{b, p.prefix | uint64(i)<<(64-b)}
}

func (p part) has(place uint64) bool { return place>>(64-p.bits) == p.prefix>>(64-p.bits) }

// span returns the leaves that the part is made of, or lies in.
func (t *digestTree) span(p part) []digestLeaf {
	from := p.prefix >> (64 - t.bits)
	n := uint64(1)
	if p.bits < t.bits {
		n = 1 << (t.bits - p.bits)
	}
	return t.leaves[from : from+n]
}

// count returns how many items the part has; for one within a leaf, at most so many.
func (v *digestView) count(p part) (n int) {
	for i, leaves := 0, v.t.span(p); i < len(leaves); i++ {
		n += int(leaves[i].count)
	}
	return n
}

// print returns the print of the part.
func (v *digestView) print(p part) (transport.Print, error) {
	if p.bits <= v.t.bits {
		var sum printSum
		n := 0
		for i, leaves := 0, v.t.span(p); i < len(leaves); i++ {
			sum.add(&leaves[i].sum)
			n += int(leaves[i].count)
		}
		return sum.print(n), nil
	}
	items, err := v.items(p)
	return printOf(items), err
}

func printOf(items []placed) transport.Print {
	var sum printSum
	for i := range items {
		sum.add(&items[i].sum)
	}
	return sum.print(len(items))
}

// prints returns those of the 1 << fan equal parts of p.
func (v *digestView) prints(p part, fan uint8) ([]transport.Print, error) {
	all := make([]transport.Print, 1<<fan)
	if p.bits+fan > v.t.bits {
		items, err := v.items(p)
		if err != nil {
			return nil, err
		}
		for i := range all {
			c, n := p.child(fan, i), 0
			for n < len(items) && c.has(items[n].Place) {
				n++
			}
			all[i], items = printOf(items[:n]), items[n:]
		}
		return all, nil
	}
	for i := range all {
		var err error
		if all[i], err = v.print(p.child(fan, i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// items reads those of the part, by place.
func (v *digestView) items(p part) (all []placed, err error) {
	first := p.prefix >> (64 - v.t.bits)
	for i := range uint64(len(v.t.span(p))) {
		leaf, err := v.leaf(first + i)
		if err != nil {
			return nil, err
		}
		from, _ := slices.BinarySearchFunc(leaf, p.prefix, func(it placed, at uint64) int { return cmp.Compare(it.Place, at) })
		to := from
		for to < len(leaf) && p.has(leaf[to].Place) {
			to++
		}
		if all == nil {
			all = leaf[from:to:to]
		} else {
			all = append(all, leaf[from:to]...)
		}
	}
	return all, nil
}

// keepLeaves is of how many leaves a view keeps the items.
const keepLeaves = 1024

// leaf reads the items of a leaf, by place.
func (v *digestView) leaf(i uint64) ([]placed, error) {
	if all, ok := v.read[i]; ok {
		return all, nil
	}
	var all []placed
	for _, rid := range v.t.leaves[i].rids {
		it, ok, err := v.rd.ItemAt(int64(rid))
		if err == nil && ok {
			ok, err = v.t.of.has(v.r, v.rd, &it)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, place(&it))
		}
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Heads, b.Heads))
	})
	if v.read == nil || len(v.read) >= keepLeaves {
		v.read = map[uint64][]placed{}
	}
	v.read[i] = all
	return all, nil
}
