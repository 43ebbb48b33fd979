package compactor

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

var (
	// ErrTooLarge: the core would take more memory than it may.
	ErrTooLarge = errors.New("the history is too large for the compactor")
	// ErrNoCore: this program was built without the core.
	ErrNoCore = errors.New("compaction needs Automerge's core, which there is for Linux and macOS on amd64 and arm64 only")
)

// DefaultBudget is how much memory the core may take until it is collected, in
// bytes as Estimate counts them.
const DefaultBudget = 256 << 20

// What the core takes in memory, in bytes. Measured, see doc.go.
const (
	perOp     = 800
	perChange = 2000
	perByte   = 2
)

// Estimate returns about how many bytes of memory the core takes for a history:
// rather more than less.
func Estimate(changes []*crdt.Change) int64 {
	n := int64(0)
	for _, c := range changes {
		n += perChange + perOp*int64(len(c.Ops())) + perByte*int64(len(c.Raw()))
	}
	return n
}

// Compactor counts what the core was made to take. It is not safe for concurrent
// use.
type Compactor struct {
	max    int64 // for one history
	budget int64
	spent  int64 // since the last collection
}

// New returns a compactor that refuses histories beyond max, and has the
// collector run whenever budget is spent; both in bytes as Estimate counts, 0
// means DefaultBudget for budget and no bound for max.
func New(max, budget int64) *Compactor {
	if budget <= 0 {
		budget = DefaultBudget
	}
	return &Compactor{max: max, budget: budget}
}

// Document is a history as one chunk.
type Document struct {
	Chunk []byte
	Order []uint32 // of the changes given, indexes into what crdt.ParseDocument gives; nil: the same
}

// Compact returns the history as a document chunk, made by the core and read
// again both by the core and by package crdt. The changes have to be a whole
// history in an order that crdt.History.Add takes, that is, validated: the core
// ends the process on some others.
func (k *Compactor) Compact(changes []*crdt.Change, heads crdt.Heads) (*Document, error) {
	need := Estimate(changes)
	if k.max > 0 && need > k.max {
		return nil, fmt.Errorf("%d changes need about %d MiB in Automerge's core, at most %d are given: %w",
			len(changes), need>>20, k.max>>20, ErrTooLarge)
	}
	size := 0
	for _, c := range changes {
		size += len(c.Raw())
	}
	raw := make([]byte, 0, size)
	for _, c := range changes {
		raw = append(raw, c.Raw()...)
	}
	k.spend(need)
	chunk, err := save(raw)
	if err != nil {
		return nil, err
	}
	k.spend(need)
	if err := load(chunk, heads); err != nil {
		return nil, err
	}
	order, err := verify(chunk, changes)
	if err != nil {
		return nil, err
	}
	return &Document{chunk, order}, nil
}

// spend makes room for what is about to be taken. The collector does not see the
// core's memory, which finalizers free, so it has to be told.
func (k *Compactor) spend(n int64) {
	if k.spent += n; k.spent > k.budget && k.spent > n {
		k.spent = n
		k.collect()
	}
}

// Close gives back what the core still holds.
func (k *Compactor) Close() {
	if k.spent > 0 {
		k.spent = 0
		k.collect()
	}
}

// collect runs the collector, and waits until the finalizers of what it found
// have run. They run one after the other in the order they were found, and what
// one collection found in no certain one; so all of the first are done when the
// last of the second is.
func (k *Compactor) collect() {
	for range 2 {
		done := make(chan struct{})
		runtime.SetFinalizer(&struct{ *int }{new(int)}, func(any) { close(done) })
		runtime.GC()
		<-done
	}
}

// verify reads the document by package crdt, which has to give the very same
// changes, and returns in what order.
func verify(chunk []byte, changes []*crdt.Change) (order []uint32, err error) {
	parsed, err := crdt.ParseDocument(chunk)
	if err != nil {
		return nil, fmt.Errorf("read the compacted document: %w", err)
	}
	if len(parsed) != len(changes) {
		return nil, fmt.Errorf("the compacted document has %d changes, not %d", len(parsed), len(changes))
	}
	at := make(map[crdt.Hash]uint32, len(parsed))
	same := true
	for i, c := range parsed {
		at[c.Hash()] = uint32(i)
		same = same && c.Hash() == changes[i].Hash()
	}
	order = make([]uint32, len(changes))
	for i, c := range changes {
		n, ok := at[c.Hash()]
		if !ok || !slices.Equal(parsed[n].Raw(), c.Raw()) {
			return nil, fmt.Errorf("the compacted document lacks the change %s", c.Hash())
		}
		order[i] = n
	}
	if same {
		return nil, nil
	}
	return order, nil
}
