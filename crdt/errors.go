package crdt

import "fmt"

// Codes of InvalidError: what is wrong with a refused change. They are stored,
// sent to peers and shown to people; their text does not change.
const (
	CodeChunk     = "chunk"     // the container: magic, type, length, checksum, compression
	CodeSize      = "size"      // a bound of change.go is exceeded
	CodeEncoding  = "encoding"  // malformed, or not the one encoding that Automerge writes
	CodeActors    = "actors"    // the actor table is not the author and exactly those referred to
	CodeOperation = "operation" // an operation that no Automerge writes
	CodeValue     = "value"     // a value of an unknown type or a wrong form
	CodeReference = "reference" // it names an object, element or predecessor that cannot be
	CodeSequence  = "sequence"  // sequence number or start op do not continue the author's
)

// InvalidError says why a change is refused for good: it is wrong on its own,
// or it contradicts the history it names. Another copy of the same bytes will be
// refused again.
type InvalidError struct {
	Code   string // one of the Code constants
	Detail string // for people
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid change: %s: %s", e.Code, e.Detail)
}

// ParkError says that a change cannot be judged yet. It is to be kept and
// offered again when more of its record is there.
type ParkError struct {
	Missing []Hash // dependencies that are not held
	Gap     bool   // its first operation lies beyond the record's last one plus 1
}

func (e *ParkError) Error() string {
	if e.Gap {
		return "change waits: its operation counter lies beyond the record's"
	}
	if len(e.Missing) == 0 {
		return "change waits for a dependency"
	}
	return fmt.Sprintf("change waits for %d missing dependencies, first %s", len(e.Missing), e.Missing[0])
}

// ForkError says that an actor has used a sequence number twice. Both changes
// may be good by themselves; no history can hold both.
type ForkError struct {
	Actor     ActorID
	Seq       uint64
	Have, Got Hash
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("forked: actor %s has two changes with sequence %d: %s is held, %s came", e.Actor, e.Seq, e.Have, e.Got)
}

func invalid(code, format string, args ...any) *InvalidError {
	return &InvalidError{Code: code, Detail: fmt.Sprintf(format, args...)}
}
