package crdt

import "crypto/sha256"

// Fields returns all that a change consists of, for comparison.
func Fields(c *Change) any {
	f := *c
	f.extra = append([]byte{}, c.extra...)
	f.deps = append([]Hash{}, c.deps...)
	f.ops = append([]Op{}, c.ops...)
	for i := range f.ops {
		f.ops[i].Pred = append([]Ref{}, f.ops[i].Pred...)
	}
	return f
}

// DocumentDraft is a document taken apart: what a test wants to alter.
type DocumentDraft struct {
	Actors     []ActorID
	Heads      []Hash
	ChangeCols [][]byte
	OpCols     [][]byte
}

// OpenDocument takes a document apart.
func OpenDocument(chunk []byte) (*DocumentDraft, error) {
	data, err := openDocument(chunk)
	if err != nil {
		return nil, err
	}
	d := &document{f: &failure{}}
	if d.read(data); d.f.err != nil {
		return nil, d.f.err
	}
	return &DocumentDraft{d.actors, d.heads, d.changeCols[:], d.opCols[:]}, nil
}

// Chunk puts it together again, without compression and indexes of heads.
func (d *DocumentDraft) Chunk() []byte {
	data := appendUleb(nil, uint64(len(d.Actors)))
	for _, a := range d.Actors {
		data = appendLengthed(data, string(a))
	}
	data = appendUleb(data, uint64(len(d.Heads)))
	for _, h := range d.Heads {
		data = append(data, h[:]...)
	}
	list := func(specs []uint64, cols [][]byte) {
		n := 0
		for _, c := range cols {
			n += int(b2u(len(c) > 0))
		}
		data = appendUleb(data, uint64(n))
		for i, c := range cols {
			if len(c) > 0 {
				data = appendUleb(appendUleb(data, specs[i]), uint64(len(c)))
			}
		}
	}
	list(docChangeSpecs[:], d.ChangeCols)
	list(docOpSpecs[:], d.OpCols)
	for _, c := range append(append([][]byte{}, d.ChangeCols...), d.OpCols...) {
		data = append(data, c...)
	}
	return SealChunk(chunkDocument, data)
}

// FixHeads makes the heads those that the changes hash to, if they can be read
// that far.
func (d *DocumentDraft) FixHeads() {
	x := &document{f: &failure{}, actors: d.Actors}
	copy(x.changeCols[:], d.ChangeCols)
	copy(x.opCols[:], d.OpCols)
	for _, c := range append(append([][]byte{}, d.ChangeCols...), d.OpCols...) {
		x.size += len(c)
	}
	x.readChanges(MaxDocumentChanges)
	x.readOps(MaxDocumentOps)
	x.encode()
	if x.f.err == nil {
		d.Heads = x.tips()
	}
}

// SealChunk puts data into a chunk with the right length and checksum.
func SealChunk(kind byte, data []byte) []byte {
	b := append([]byte(chunkMagic+"\x00\x00\x00\x00"), kind)
	b = append(appendUleb(b, uint64(len(data))), data...)
	sum := sha256.Sum256(b[chunkTypeAt:])
	copy(b[4:8], sum[:])
	return b
}
