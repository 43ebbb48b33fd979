package crdt

import (
	"crypto/sha256"
	"slices"
	"unicode/utf8"
	"unsafe"
)

// Bounds of what is read at once: one document chunk, or all chunks of a file
// together. A file of a kilobyte may hold a million operations, so they bound
// the memory, about 250 bytes an operation and 450 a change. Nothing is
// allocated by announced numbers before what announces them was counted.
const (
	MaxDocumentOps     = 1 << 21  // operations, deletions included
	MaxDocumentChanges = 1 << 20  // changes, and actors
	maxInflate         = 48 << 20 // bytes by which columns may be longer inflated than the chunk is

	// The encoded changes may have this many bytes, and as many more as the columns
	// have: a column can say a long message once for a million changes.
	maxEncoded       = 16 << 20
	encodedPerChange = 512
)

// document is a document chunk on its way to changes. References in it name
// actors by their index in the document, which is ascending by actor bytes.
type document struct {
	f       *failure
	actors  []ActorID
	heads   []Hash
	unknown int // columns
	size    int // bytes of columns, inflated

	changeCols [docChangeColumnCount][]byte
	opCols     [docOpColumnCount][]byte

	changes   []Change // in the document's order: each follows its dependencies
	authors   []uint32 // of the changes
	maxOps    []uint32
	byAuthor  []uint32 // indexes of changes, by author and sequence number
	depCounts []uint32
	deps      []uint32 // indexes of changes
	ops       []Op     // of all changes, one after another
}

// ParseDocument reads one document chunk (type 0), which is what Automerge's save
// writes: all operations of a history in columns, without the changes' hashes.
// It makes the changes again, encodes them, and holds their hashes against the
// document's heads, which names every change that leads to them. The result is in
// an order that History.Add takes; each change is as ParseChange would have it,
// and shares memory with the others, but none with chunk. Errors are
// *InvalidError. Source: Automerge binary format, "document chunk".
func ParseDocument(chunk []byte) ([]*Change, error) {
	return parseDocument(chunk, MaxDocumentOps, MaxDocumentChanges)
}

func parseDocument(chunk []byte, maxOps, maxChanges int) ([]*Change, error) {
	data, err := openDocument(chunk)
	if err != nil {
		return nil, err
	}
	d := &document{f: &failure{}}
	d.read(data)
	d.readChanges(maxChanges)
	d.readOps(maxOps)
	d.encode()
	d.checkHeads()
	if d.f.err != nil {
		return nil, d.f.err
	}
	changes := make([]*Change, len(d.changes))
	maxOp, gap := uint64(0), false
	for i := range d.changes {
		c := &d.changes[i]
		gap = gap || c.startOp > maxOp+1
		changes[i], maxOp = c, max(maxOp, c.MaxOp())
	}
	if gap {
		changes = inOrder(changes)
	}
	return changes, nil
}

// openDocument checks the container and returns the data in it.
func openDocument(chunk []byte) ([]byte, error) {
	head, n, err := chunkHeader(chunk)
	if err != nil {
		return nil, err
	}
	if extra := len(chunk) - head - n; extra > 0 {
		return nil, invalid(CodeChunk, "%d bytes follow the chunk", extra)
	}
	if t := chunk[chunkTypeAt]; t != chunkDocument {
		return nil, invalid(CodeChunk, "a chunk of type %d, not a document", t)
	}
	hash := sha256.Sum256(chunk[chunkTypeAt:])
	if string(hash[:4]) != string(chunk[4:8]) {
		return nil, invalid(CodeChunk, "the checksum does not fit the content")
	}
	return chunk[head:], nil
}

// read takes the document apart: actors, heads, columns.
func (d *document) read(data []byte) {
	r := reader{b: data, f: d.f}
	d.readActors(&r)
	n := r.uleb("head count")
	if n > uint64(len(r.b)/len(Hash{})) {
		r.fail("heads: truncated")
		return
	}
	b := r.bytes(n*uint64(len(Hash{})), "heads")
	if n > 0 {
		d.heads = slices.Clone(unsafe.Slice((*Hash)(b), n))
	}
	changeList := readColumnList(&r)
	opList := readColumnList(&r)
	budget := len(data) + maxInflate
	d.split(&r, changeList, docChangeSpecs[:], d.changeCols[:], &budget)
	d.split(&r, opList, docOpSpecs[:], d.opCols[:], &budget)
	if len(r.b) == 0 {
		return // written before heads had indexes
	}
	for range d.heads {
		r.uleb("head index")
	}
	if len(r.b) > 0 {
		r.fail("bytes follow the document's columns")
	}
}

func (d *document) readActors(r *reader) {
	n := r.uleb("actor count")
	if n > uint64(len(r.b)) || n > MaxDocumentChanges {
		r.fail("actors: truncated, or too many")
		return
	}
	d.actors = make([]ActorID, n)
	for i := range d.actors {
		a := ActorID(string(r.actor())) // not the caller's memory
		if d.actors[i] = a; i > 0 && a <= d.actors[i-1] {
			r.f.set(CodeActors, "the document's actors do not ascend")
		}
		if r.f.err != nil {
			return
		}
	}
}

// readChanges reads the columns that have a row for each change.
func (d *document) readChanges(limit int) {
	if d.f.err != nil {
		return
	}
	cols := &d.changeCols
	n, _, ok := countRows(cols[docActor], false, limit)
	if !ok || !sameRows(n, true, cols[docSeq], cols[docMaxOp]) {
		d.f.set(CodeSize, "the document's columns of changes are malformed, or more than %d", limit)
		return
	}
	_, deps, ok := countRows(cols[docDepCount], false, n)
	if !ok || !sameRows(deps, true, cols[docDep]) || deps > 4*MaxDocumentChanges {
		d.f.set(CodeSize, "the document's dependencies are malformed, or too many")
		return
	}
	d.changes = make([]Change, n)
	d.authors, d.maxOps = make([]uint32, n), make([]uint32, n)
	d.depCounts, d.deps = make([]uint32, n), make([]uint32, 0, deps)
	rows := changeRows{
		actor:    docNumbers{in: cols[docActor]},
		seq:      docNumbers{in: cols[docSeq], delta: true},
		maxOp:    docNumbers{in: cols[docMaxOp], delta: true},
		time:     docNumbers{in: cols[docTime], delta: true},
		message:  docTexts{in: slices.Clone(cols[docMessage])},
		depCount: docNumbers{in: cols[docDepCount]},
		dep:      docNumbers{in: cols[docDep], delta: true},
		extra:    docNumbers{in: cols[docExtraMeta]},
		bytes:    slices.Clone(cols[docExtra]),
	}
	seqs := make([]uint32, len(d.actors))
	for i := range d.changes {
		if d.readChange(&rows, i, seqs); d.f.err != nil {
			return
		}
	}
	d.groupByAuthor(seqs)
	if !rows.end() {
		d.f.set(CodeEncoding, "the document's columns of changes are malformed")
	}
}

// changeRows are the columns of changes, read side by side.
type changeRows struct {
	actor, seq, maxOp, time docNumbers
	message                 docTexts
	depCount, dep, extra    docNumbers
	bytes                   []byte
}

func (r *changeRows) end() bool {
	return r.actor.end() && r.seq.end() && r.maxOp.end() && r.time.end() && r.message.end() &&
		r.depCount.end() && r.dep.end() && r.extra.end() && len(r.bytes) == 0
}

// readChange reads the i-th change, but for its operations.
func (d *document) readChange(r *changeRows, i int, seqs []uint32) {
	c, f := &d.changes[i], d.f
	actor, _ := r.actor.next()
	seq, _ := r.seq.next()
	maxOp, _ := r.maxOp.next()
	c.time, _ = r.time.next()
	c.message, _ = r.message.next()
	if uint64(actor) >= uint64(len(d.actors)) {
		f.set(CodeActors, "actor index %d, there are %d", actor, len(d.actors))
		return
	}
	seqs[actor]++
	switch {
	case seq != int64(seqs[actor]):
		f.set(CodeSequence, "sequence %d of %s follows %d", seq, d.actors[actor], seqs[actor]-1)
	case maxOp < 0 || maxOp >= MaxCounter:
		f.set(CodeSequence, "max op %d", maxOp)
	case (i == 0 || c.message != d.changes[i-1].message) && !utf8.ValidString(c.message):
		f.set(CodeEncoding, "message: invalid UTF-8")
	}
	c.seq, d.authors[i], d.maxOps[i] = uint64(seq), uint32(actor), uint32(maxOp)
	d.readDeps(r, i)
	meta, _ := r.extra.next()
	n := uint64(meta) >> 4
	if kind := Kind(meta & 15); n > uint64(len(r.bytes)) || (n > 0 && kind != KindBytes) {
		f.set(CodeEncoding, "extra bytes are truncated, or no bytes")
		return
	}
	c.extra, r.bytes = r.bytes[:n:n], r.bytes[n:]
}

func (d *document) readDeps(r *changeRows, i int) {
	n, _ := r.depCount.next()
	if n > MaxDeps || int(n) > cap(d.deps)-len(d.deps) {
		d.f.set(CodeSize, "%d dependencies, at most %d are taken", n, MaxDeps)
		return
	}
	d.depCounts[i] = uint32(n)
	for range n {
		at, ok := r.dep.next()
		if !ok || at < 0 || at >= int64(i) {
			d.f.set(CodeReference, "a change does not follow its dependencies")
			return
		}
		d.deps = append(d.deps, uint32(at))
	}
}

// groupByAuthor makes byAuthor: a counting sort. counts are the changes of each
// author; they become where the author's changes end in it.
func (d *document) groupByAuthor(counts []uint32) {
	d.byAuthor = make([]uint32, len(d.changes))
	sum := uint32(0)
	for a, n := range counts {
		counts[a] = sum
		sum += n
	}
	for i, a := range d.authors {
		d.byAuthor[counts[a]] = uint32(i)
		counts[a]++
	}
}

// checkHeads: the changes that no other depends on are the heads. Every other
// change is in the past of one, and in its hash.
func (d *document) checkHeads() {
	if d.f.err != nil {
		return
	}
	slices.SortFunc(d.heads, Hash.Compare)
	switch {
	case slices.Equal(d.tips(), d.heads):
	case d.unknown > 0:
		d.f.set(CodeEncoding, "the changes do not hash to the document's heads; it has %d columns of unknown kinds", d.unknown)
	default:
		d.f.set(CodeEncoding, "the changes do not hash to the document's heads")
	}
}

// tips returns the hashes of the changes that no other depends on, ascending.
func (d *document) tips() (hashes []Hash) {
	led := make([]bool, len(d.changes))
	for _, i := range d.deps {
		led[i] = true
	}
	for i := range d.changes {
		if !led[i] {
			hashes = append(hashes, d.changes[i].hash)
		}
	}
	slices.SortFunc(hashes, Hash.Compare)
	return hashes
}
