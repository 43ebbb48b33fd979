package crdt

// Bounds of one change. What exceeds them is refused before anything is
// allocated for it.
const (
	MaxChangeSize = 8 << 20 // bytes of a chunk, header included, inflated
	MaxOps        = 1 << 20 // operations of one change
	MaxActors     = 1 << 12 // actors that one change refers to
	MaxDeps       = 1 << 12 // dependencies of one change
	MaxCounter    = 1 << 31 // op counters are below this
	MaxTime       = 1 << 53 // |time| is below this
)

// Change is one Automerge change: parsed, validated on its own, canonical
// (encoding it again gives Raw) and immutable. Only ParseChange and
// History.Edit make one.
type Change struct {
	raw     []byte // the whole chunk, type 1 (never deflated)
	hash    Hash
	deps    []Hash    // ascending
	actors  []ActorID // author first, then the others referred to, ascending
	seq     uint64
	startOp uint64
	time    int64
	message string
	ops     []Op
	extra   []byte
}

// Raw returns the chunk, uncompressed. The caller must not modify it.
func (c *Change) Raw() []byte { return c.raw }

// Hash returns the change's name.
func (c *Change) Hash() Hash { return c.hash }

// Deps returns the changes it was made on, ascending. Not to be modified.
func (c *Change) Deps() []Hash { return c.deps }

// Actor returns the author.
func (c *Change) Actor() ActorID { return c.actors[0] }

// Actors returns the table that operations refer to by index: the author
// first, then the others, ascending. Not to be modified.
func (c *Change) Actors() []ActorID { return c.actors }

// Seq returns the author's sequence number, from 1.
func (c *Change) Seq() uint64 { return c.seq }

// StartOp returns the counter of the first operation.
func (c *Change) StartOp() uint64 { return c.startOp }

// MaxOp returns the counter of the last operation; StartOp-1 without any.
func (c *Change) MaxOp() uint64 { return c.startOp + uint64(len(c.ops)) - 1 }

// Time returns the author's clock in milliseconds since 1970. What is stored
// below 1e11 is taken for seconds, as JavaScript writes it.
func (c *Change) Time() int64 {
	if c.time > -1e11 && c.time < 1e11 {
		return c.time * 1000
	}
	return c.time
}

// Message returns the commit message, "" for none.
func (c *Change) Message() string { return c.message }

// Ops returns the operations. Not to be modified.
func (c *Change) Ops() []Op { return c.ops }

// Ref names an operation within a change: an index into Actors and a counter.
// The zero Ref is the root object, the head of a list, or none.
type Ref struct {
	Actor   uint32
	Counter uint32
}

// Action is what an operation does.
type Action uint8

// Actions, with the numbers of the binary format.
const (
	MakeMap   Action = 0
	Set       Action = 1
	MakeList  Action = 2
	Del       Action = 3
	MakeText  Action = 4
	Increment Action = 5
	MakeTable Action = 6 // refused
	Mark      Action = 7
)

// Op is one operation of a change; its ID is StartOp plus its index.
type Op struct {
	Obj      Ref    // the object it edits; zero for the root
	Elem     Ref    // in a sequence: the element, or for an insert the one before (zero: the head)
	Key      string // in a map
	InMap    bool   // Key counts, not Elem
	Insert   bool
	Action   Action
	Expand   bool   // of a mark
	MarkName string // of a mark's begin; "" ends one
	Value    Value
	Pred     []Ref // ascending by counter, then actor bytes
}
