package crdt

// Reencode encodes the fields of a parsed change anew.
func Reencode(c *Change) ([]byte, Hash, error) {
	again := *c
	again.raw, again.hash = nil, Hash{}
	err := again.encode()
	return again.raw, again.hash, err
}
