package crdt

import "fmt"

// Load returns the history that a file of chunks holds, see ParseChunks. Errors
// are those of ParseChunks and of History.Add; a file without a change that
// others depend on is a *ParkError.
func Load(b []byte) (*History, error) {
	changes, err := ParseChunks(b)
	if err != nil {
		return nil, err
	}
	h := NewHistory()
	h.nodes = make([]node, 0, len(changes)) // growing would take twice the memory
	for i, c := range changes {
		if _, err := h.Add(c); err != nil {
			return nil, fmt.Errorf("change %d of %d, %s: %w", i+1, len(changes), c.hash, err)
		}
	}
	return h, nil
}
