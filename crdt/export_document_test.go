package crdt

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
