package persist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// A change that was withdrawn and has come back behind is a change of its record again.
func TestWithdrawnAndBack(t *testing.T) {
	s := open(t, tempPath(t), nil)
	interleaved(t, s)
	two, four := hashOf(numbered(2)), hashOf(numbered(4))
	withdrawn := func() (all []crdt.Hash) {
		read(t, s, func(r *persist.Reader) { all = gather(t, r.WithdrawnOf(2)) })
		return all
	}
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Withdraw(2, map[crdt.Hash]bool{two: true, four: true}))
	})
	require.ElementsMatch(t, []crdt.Hash{two, four}, withdrawn())
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Append(&persist.LogRow{Set: crdt.SetID{8}, RID: 2, Key: key("2"), Hash: two, Data: numbered(2)}))
		rec, err := tx.Record(key("2"))
		require.NoError(t, err)
		rec.LSN = tx.Head().LSN
		require.NoError(t, tx.PutRecord(rec))
	})
	require.Equal(t, []crdt.Hash{four}, withdrawn())
}

// What a record shares sets with, as far as nobody was shown it.
func TestBeside(t *testing.T) {
	s := open(t, tempPath(t), nil)
	commit(t, s, func(tx *persist.Tx) {
		recs := make([]persist.Record, 4)
		for i := range recs {
			recs[i].Key = key(string(rune('1' + i)))
			require.NoError(t, tx.PutRecord(&recs[i]))
		}
		for i, r := range []struct {
			set byte
			rid int64
		}{{1, 1}, {1, 2}, {1, 3}, {2, 2}, {3, 4}, {4, 1}} {
			row := &persist.LogRow{Set: crdt.SetID{r.set}, RID: r.rid, Key: recs[r.rid-1].Key, Hash: crdt.Hash{byte(i + 1)}, Data: []byte{1}}
			if r.rid == 4 {
				row.Source = 7
			}
			require.NoError(t, tx.Append(row))
			recs[r.rid-1].LSN = row.LSN
		}
		for i := range recs {
			require.NoError(t, tx.PutRecord(&recs[i]))
		}
	})
	for _, tt := range []struct {
		rid   int64
		upTo  crdt.LSN
		want  []int64
		shown bool
	}{
		{1, 0, []int64{2}, false},
		{2, 0, []int64{1, 3}, false},
		{3, 0, []int64{2}, false},
		{4, 0, nil, true}, // a peer's
		{1, 1, nil, true},
		{2, 1, []int64{1, 3}, false},
		{1, 5, nil, true},
		{1, 6, nil, true},
	} {
		read(t, s, func(r *persist.Reader) {
			got, shown, err := r.Beside(tt.rid, tt.upTo)
			require.NoError(t, err)
			require.Equal(t, tt.shown, shown, "%+v", tt)
			require.ElementsMatch(t, tt.want, got, "%+v", tt)
		})
	}
}

// Of the log of a file from before this was written down, all counts as shown.
func TestWhatAnOlderFileHasShown(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	interleaved(t, s)
	read(t, s, func(r *persist.Reader) {
		upTo, going, err := r.Shown("connected")
		require.NoError(t, err)
		require.Zero(t, upTo)
		require.False(t, going)
	})
	require.NoError(t, s.Close())
	raw(t, path, "DROP TABLE purged; DROP TABLE unseen; ALTER TABLE meta DROP COLUMN shown; ALTER TABLE meta DROP COLUMN unsynced; ALTER TABLE peers DROP COLUMN carried; PRAGMA user_version = 7")
	s = open(t, path, nil)
	read(t, s, func(r *persist.Reader) {
		upTo, _, err := r.Shown("connected")
		require.NoError(t, err)
		require.EqualValues(t, 7, upTo)
	})
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.PutPeer(&persist.Peer{State: "connected"}))
		_, going, err := tx.Shown("connected")
		require.NoError(t, err)
		require.True(t, going)
	})
}
