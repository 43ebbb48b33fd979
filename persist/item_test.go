package persist_test

import (
	"fmt"
	"iter"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// gather makes a list of a sequence; no error may be in it.
func gather[T any](t testing.TB, seq iter.Seq2[T, error]) (all []T) {
	t.Helper()
	for v, err := range seq {
		require.NoError(t, err)
		all = append(all, v)
	}
	return all
}

func TestItems(t *testing.T) {
	s := open(t, tempPath(t), nil)
	keys := []crdt.Key{{Collection: "a", ID: "x"}, key("a"), key("ab"), key("abc"), key("ac"), key("b"), key("ü"), {Collection: "z", ID: "ab"}}
	commit(t, s, func(tx *persist.Tx) {
		for i, k := range keys {
			require.NoError(t, tx.PutRecord(&persist.Record{Key: k, Heads: crdt.Heads{{byte(i)}, {200}}, Deleted: k.ID == "ac"}))
		}
	})
	names := func(seq iter.Seq2[persist.Item, error]) (names []string) {
		for it, err := range seq {
			require.NoError(t, err)
			names = append(names, it.Key.String())
			require.Len(t, it.Heads, 64)
			require.Equal(t, keys[it.Heads[0]], it.Key)
			require.EqualValues(t, 200, it.Heads[32])
		}
		return names
	}
	read(t, s, func(r *persist.Reader) {
		require.Len(t, names(r.Items("", "")), len(keys))
		require.Len(t, names(r.Items("", "a")), len(keys), "a prefix is one of a collection's ids")
		require.Equal(t, []string{"notes/a", "notes/ab", "notes/abc", "notes/ac", "notes/b", "notes/ü"}, names(r.Items("notes", "")))
		require.Equal(t, []string{"notes/ab", "notes/abc"}, names(r.Items("notes", "ab")))
		require.Equal(t, []string{"notes/ü"}, names(r.Items("notes", "\xc3")))
		require.Empty(t, names(r.Items("notes", "aa")))
		require.Empty(t, names(r.Items("notes", "z")))
		require.Empty(t, names(r.Items("note", "")))
		for it := range r.Items("notes", "") { // one that is left, and another within it
			require.Equal(t, []string{"z/ab"}, names(r.Items("z", "ab")))
			at, ok, err := r.ItemAt(it.RID)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, key("a"), at.Key)
			break
		}
		last, err := r.LastRID()
		require.NoError(t, err)
		require.EqualValues(t, len(keys), last)
		for _, rid := range []int64{-1, 0, last + 1, 1<<63 - 1} {
			_, ok, err := r.ItemAt(rid)
			require.NoError(t, err)
			require.False(t, ok, rid)
		}
	})
}

func TestItemsOfAnEmptyFile(t *testing.T) {
	s := open(t, tempPath(t), nil)
	read(t, s, func(r *persist.Reader) {
		require.Empty(t, gather(t, r.Items("", "")))
		require.Empty(t, gather(t, r.Touched(0)))
		require.Empty(t, gather(t, r.Viewed(0)))
		require.Empty(t, gather(t, r.ChangesBack(1)))
		rows, err := r.SetAt(1)
		require.NoError(t, err)
		require.Empty(t, rows)
		last, err := r.LastRID()
		require.NoError(t, err)
		require.Zero(t, last)
	})
}

// interleaved writes change sets over three records: record i has the RID i, and the
// log has a set of three rows, one of one, one of two, one of one.
func interleaved(t testing.TB, s *persist.Store) {
	commit(t, s, func(tx *persist.Tx) {
		var recs [3]persist.Record
		for i := range recs {
			recs[i].Key = key(fmt.Sprint(i + 1))
			require.NoError(t, tx.PutRecord(&recs[i]))
		}
		for i, r := range []struct {
			set byte
			rid int64
		}{{1, 1}, {1, 2}, {1, 1}, {2, 2}, {3, 1}, {3, 3}, {1, 1}} { // the last has the name of the first
			data := numbered(i + 1)
			row := &persist.LogRow{Set: crdt.SetID{r.set}, RID: r.rid, Key: key(fmt.Sprint(r.rid)), Hash: hashOf(data), Data: data, Source: 9}
			require.NoError(t, tx.Append(row))
			recs[r.rid-1].LSN = row.LSN
		}
		for i := range recs {
			require.NoError(t, tx.PutRecord(&recs[i]))
		}
	})
}

// numbered is the n-th of some changes.
func numbered(n int) []byte { return chunk("actor", uint64(n)) }

func lsns(rows []persist.LogRow) (all []crdt.LSN) {
	for _, l := range rows {
		all = append(all, l.LSN)
	}
	return all
}

func TestTouched(t *testing.T) {
	s := open(t, tempPath(t), nil)
	interleaved(t, s)
	read(t, s, func(r *persist.Reader) {
		require.ElementsMatch(t, []int64{1, 2, 1, 2, 1, 3, 1}, gather(t, r.Touched(0)))
		require.ElementsMatch(t, []int64{1, 3, 1}, gather(t, r.Touched(4)))
		require.ElementsMatch(t, []int64{1}, gather(t, r.Touched(6)))
		require.Empty(t, gather(t, r.Touched(7)))
		require.Empty(t, gather(t, r.Touched(1<<63-1)))
	})
}

func TestSetAt(t *testing.T) {
	s := open(t, tempPath(t), nil)
	interleaved(t, s)
	read(t, s, func(r *persist.Reader) {
		for at, want := range map[crdt.LSN][]crdt.LSN{
			1: {1, 2, 3}, 2: {1, 2, 3}, 3: {1, 2, 3}, 4: {4}, 5: {5, 6}, 6: {5, 6}, 7: {7},
			0: nil, -1: nil, 8: nil, 1<<63 - 1: nil,
		} {
			rows, err := r.SetAt(at)
			require.NoError(t, err)
			require.Equal(t, want, lsns(rows), at)
			for _, l := range rows {
				require.Equal(t, numbered(int(l.LSN)), l.Data)
				require.Equal(t, key(fmt.Sprint(l.RID)), l.Key)
			}
		}
	})
}

func TestChangesBack(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	interleaved(t, s)
	back := func(rid int64) (rows []persist.LogRow) {
		read(t, s, func(r *persist.Reader) { rows = gather(t, r.ChangesBack(rid)) })
		return rows
	}
	require.Equal(t, []crdt.LSN{7, 5, 3, 1}, lsns(back(1)))
	require.Equal(t, []crdt.LSN{4, 2}, lsns(back(2)))
	require.Empty(t, back(4))
	require.Equal(t, persist.LogRow{LSN: 6, Set: crdt.SetID{3}, RID: 3, Hash: hashOf(numbered(6)), Data: numbered(6), Source: 9}, back(3)[0])
	read(t, s, func(r *persist.Reader) {
		for l := range r.ChangesBack(1) {
			require.EqualValues(t, 7, l.LSN, "left after the first")
			break
		}
	})

	// Those withdrawn are passed over: at the end, at the front, in between.
	hash := func(n int) crdt.Hash { return hashOf(numbered(n)) }
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Withdraw(1, map[crdt.Hash]bool{hash(7): true, hash(3): true}))
		require.NoError(t, tx.Withdraw(2, map[crdt.Hash]bool{hash(2): true}))
		require.NoError(t, tx.Withdraw(3, map[crdt.Hash]bool{hash(6): true}))
	})
	require.Equal(t, []crdt.LSN{5, 1}, lsns(back(1)))
	require.Equal(t, []crdt.LSN{4}, lsns(back(2)))
	require.Empty(t, back(3))
	read(t, s, func(r *persist.Reader) {
		rows, err := r.SetAt(1)
		require.NoError(t, err)
		require.Equal(t, []crdt.LSN{1, 2, 3}, lsns(rows), "a set is as it was")
		require.True(t, rows[1].Withdrawn())
	})
}

// A chain of rows that runs in a circle is damage, not an endless walk.
func TestChangesBackOfADamagedChain(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	interleaved(t, s)
	raw(t, path, "UPDATE log SET prev = 7 WHERE lsn = 5")
	err := s.Read(t.Context(), func(r *persist.Reader) error {
		seen := 0
		for _, err := range r.ChangesBack(1) {
			if err != nil {
				return err
			}
			seen++
			require.LessOrEqual(t, seen, 4)
		}
		return nil
	})
	require.ErrorContains(t, err, "log row 5")
}

// What a snapshot holds is yielded as if it stood in the log.
func TestChangesBackOfACompactedRecord(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	h := crdt.NewHistory()
	var chunks []byte
	var want [][]byte // from the last one back
	rec := &persist.Record{Key: key("a")}
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.PutRecord(rec))
		for i := range 5 {
			e := h.Begin("sixteen bytes!!!", int64(1e12), nil)
			require.NoError(t, e.Put(nil, map[string]any{"n": int64(i)}, crdt.Merge))
			c, err := e.Commit("")
			require.NoError(t, err)
			want = append([][]byte{c.Raw()}, want...)
			if i < 3 {
				chunks = append(chunks, c.Raw()...)
			}
			row := &persist.LogRow{Set: crdt.SetID{byte(i)}, RID: rec.RID, Key: rec.Key, Hash: c.Hash(), Data: c.Raw()}
			require.NoError(t, tx.Append(row))
			rec.LSN = row.LSN
		}
		require.NoError(t, tx.PutRecord(rec))
	})
	doc, err := automerge.Load(chunks)
	require.NoError(t, err)
	back := func() (all [][]byte) {
		read(t, s, func(r *persist.Reader) {
			for _, l := range gather(t, r.ChangesBack(rec.RID)) {
				all = append(all, l.Data)
			}
			rows, err := r.SetAt(2)
			require.NoError(t, err)
			require.Equal(t, []crdt.LSN{2}, lsns(rows))
			require.Equal(t, want[len(want)-2], rows[0].Data)
		})
		return all
	}
	require.Equal(t, want, back())
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.PutSnapshot(&persist.Snapshot{RID: rec.RID, LSN: 3, Document: doc.Save()}, 0, 3))
	})
	require.Equal(t, want, back())
	last, err := crdt.ParseChange(want[0])
	require.NoError(t, err)
	commit(t, s, func(tx *persist.Tx) { require.NoError(t, tx.Withdraw(rec.RID, map[crdt.Hash]bool{last.Hash(): true})) })
	want = want[1:]
	require.Equal(t, want, back(), "withdrawing gives the rows their data back")

	// A damaged snapshot hides data, not rows, and is nobody else's damage.
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.PutSnapshot(&persist.Snapshot{RID: rec.RID, LSN: 3, Document: doc.Save()}, 0, 3))
	})
	require.NoError(t, s.Close())
	raw(t, path, "UPDATE snapshots SET data = CAST(substr(data, 1, 20) || x'ff' || substr(data, 22) AS BLOB)")
	s = open(t, path, nil)
	read(t, s, func(r *persist.Reader) {
		rows := gather(t, r.ChangesBack(rec.RID))
		require.Equal(t, []crdt.LSN{4, 3, 2, 1}, lsns(rows))
		require.Equal(t, want[0], rows[0].Data)
		for _, l := range rows[1:] {
			require.Nil(t, l.Data)
		}
	})
}

func TestViewed(t *testing.T) {
	s := open(t, tempPath(t), nil)
	commit(t, s, func(tx *persist.Tx) {
		for _, id := range []string{"a", "b", "c"} {
			rec := &persist.Record{Key: key(id)}
			require.NoError(t, tx.PutRecord(rec))
			require.NoError(t, tx.AddView(rec.RID))
		}
		require.NoError(t, tx.AddView(2))
	})
	read(t, s, func(r *persist.Reader) {
		last, err := r.LastView()
		require.NoError(t, err)
		require.EqualValues(t, 4, last)
		require.Equal(t, []int64{1, 2, 3, 2}, gather(t, r.Viewed(0)))
		require.Equal(t, []int64{3, 2}, gather(t, r.Viewed(2)))
		require.Empty(t, gather(t, r.Viewed(last)))
	})
}

// An incarnation that was retired is told from others, and from actors that are none.
func TestRetire(t *testing.T) {
	s := open(t, tempPath(t), nil)
	gone, err := s.NewIncarnation(t.Context())
	require.NoError(t, err)
	live, err := s.NewIncarnation(t.Context())
	require.NoError(t, err)
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Retire("nobody's"))
		any, err := tx.AnyRetired()
		require.NoError(t, err)
		require.False(t, any)
		require.NoError(t, tx.Retire(gone))
	})
	read(t, s, func(r *persist.Reader) {
		any, err := r.AnyRetired()
		require.NoError(t, err)
		require.True(t, any)
		for actor, want := range map[crdt.ActorID]bool{gone: true, live: false, "nobody's": false} {
			got, err := r.Retired(actor)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}
