package crdt

// Reencode encodes the fields of a parsed change anew.
func Reencode(c *Change) ([]byte, Hash, error) {
	again := *c
	again.raw, again.hash = nil, Hash{}
	err := again.encode()
	return again.raw, again.hash, err
}

// EncodeOps encodes a change of these operations, without any check of them.
func EncodeOps(actors []ActorID, startOp uint64, ops ...Op) ([]byte, error) {
	c := &Change{actors: actors, seq: 1, startOp: startOp, ops: ops}
	err := c.encode()
	return c.raw, err
}
