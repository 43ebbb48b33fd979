package crdt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// JavaScript's Automerge 3.5 reads an author from a change's extra bytes and
// panics ("assertion failed: change.seq() == 1") unless the change is its actor's
// first: a mutant with such bytes made a record that it could not load.
func TestExtraBytesNameAnAuthorOnlyInAFirstChange(t *testing.T) {
	for _, test := range []struct {
		extra  []byte
		author bool
	}{
		{nil, false},
		{[]byte{0}, false},
		{[]byte{1}, false},
		{[]byte{1, 0}, true},
		{[]byte{1, 1}, false},
		{[]byte{1, 1, 9}, true},
		{[]byte{1, 1, 9, 7}, true},
		{[]byte{1, 2, 9}, false},
		{[]byte{2, 1, 9, 1, 1, 8}, false},
		{[]byte{0x81, 0, 1, 9}, true},
		{[]byte{1, 0x81, 0, 9}, true},
		{[]byte{0x81, 0x80}, false},
		{[]byte("anything"), false},
	} {
		for seq := uint64(1); seq <= 3; seq++ {
			c, err := crdt.Build(crdt.Draft{Actors: []crdt.ActorID{"actor"}, Seq: seq, StartOp: seq, Ops: []crdt.Op{set("k", crdt.Int(1))}})
			require.NoError(t, err)
			_, err = crdt.ParseChange(seal(append(append([]byte(nil), unseal(c.Raw())...), test.extra...)))
			if seq == 1 || !test.author {
				require.NoError(t, err, "%x", test.extra)
				continue
			}
			var invalid *crdt.InvalidError
			require.ErrorAs(t, err, &invalid, "%x", test.extra)
			require.Equal(t, crdt.CodeActors, invalid.Code)
		}
	}
}
