package persist

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
)

// appendHeads writes heads as their 32 bytes each, in ascending order.
func appendHeads(b []byte, heads crdt.Heads) []byte {
	for _, h := range heads {
		b = append(b, h[:]...)
	}
	return b
}

// parseHeads reads what appendHeads wrote; heads that do not ascend are
// refused.
func parseHeads(b []byte) (crdt.Heads, error) {
	const size = len(crdt.Hash{})
	if len(b)%size != 0 {
		return nil, fmt.Errorf("heads of %d bytes: %w", len(b), ErrDamaged)
	}
	heads := make(crdt.Heads, len(b)/size)
	for i := range heads {
		heads[i] = crdt.Hash(b[i*size:])
		if i > 0 && heads[i-1].Compare(heads[i]) >= 0 {
			return nil, fmt.Errorf("heads do not ascend: %w", ErrDamaged)
		}
	}
	return heads, nil
}

// appendClock writes for each actor, in ascending order: uvarint length, its
// bytes, uvarint sequence number. An incarnation of ours takes 18 bytes.
func appendClock(b []byte, clock crdt.Clock) []byte {
	type entry struct {
		actor crdt.ActorID
		seq   uint64
	}
	var few [8]entry // most records: sorted without an allocation
	entries := few[:0]
	for a, s := range clock {
		entries = append(entries, entry{a, s})
	}
	slices.SortFunc(entries, func(x, y entry) int { return cmp.Compare(x.actor, y.actor) })
	for _, e := range entries {
		b = binary.AppendUvarint(b, uint64(len(e.actor)))
		b = append(b, e.actor...)
		b = binary.AppendUvarint(b, e.seq)
	}
	return b
}

// parseClock reads what appendClock wrote; actors that do not ascend, are too
// long, or have the sequence number 0, are refused.
func parseClock(b []byte) (crdt.Clock, error) {
	clock := make(crdt.Clock, len(b)/18)
	var last crdt.ActorID
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > crdt.MaxActorLen || size > uint64(len(b)-n) {
			return nil, fmt.Errorf("clock with an actor of impossible length: %w", ErrDamaged)
		}
		actor := crdt.ActorID(b[n : n+int(size)])
		b = b[n+int(size):]
		seq, n := binary.Uvarint(b)
		if n <= 0 || seq == 0 {
			return nil, fmt.Errorf("clock with an impossible sequence number: %w", ErrDamaged)
		}
		b = b[n:]
		if len(clock) > 0 && actor <= last {
			return nil, fmt.Errorf("clock does not ascend: %w", ErrDamaged)
		}
		clock[actor], last = seq, actor
	}
	return clock, nil
}
