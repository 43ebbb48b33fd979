package persist_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

func commit(t testing.TB, s *persist.Store, fn func(tx *persist.Tx)) {
	t.Helper()
	require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error { fn(tx); return nil }))
}

func read(t testing.TB, s *persist.Store, fn func(r *persist.Reader)) {
	t.Helper()
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error { fn(r); return nil }))
}

func TestSnapshot(t *testing.T) {
	s := open(t, tempPath(t), nil)
	mustEdit(t, s, "a", "{}")
	read(t, s, func(r *persist.Reader) {
		mustEdit(t, s, "b", "{}")
		rec, err := r.Record(key("b"))
		require.NoError(t, err)
		require.Nil(t, rec)
		require.EqualValues(t, 1, r.Head().LSN)
	})
	require.NotNil(t, record(t, s, "b"))
}

func TestRecords(t *testing.T) {
	s := open(t, tempPath(t), nil)
	full := &persist.Record{
		Key: crdt.Key{Collection: "other", ID: "ü"}, Heads: crdt.Heads{{1}, {2}},
		Clock: crdt.Clock{"": 1, "a": 300, "0123456789abcdef": 1 << 40}, MaxOp: 7, JSON: []byte(`{"a":"ä"}`),
		PolicyVersion: 3, Deleted: true, Conflicts: 2, Created: 4, Updated: 5,
	}
	commit(t, s, func(tx *persist.Tx) {
		for i, id := range []string{"c", "a", "d", "b"} {
			require.NoError(t, tx.PutRecord(&persist.Record{Key: key(id), Conflicts: i % 2, PolicyVersion: int64(i)}))
		}
		require.NoError(t, tx.PutRecord(full))
	})
	ids := func(seq func(func(*persist.Record, error) bool)) (ids []string) {
		for rec, err := range seq {
			require.NoError(t, err)
			ids = append(ids, rec.Key.ID)
		}
		return ids
	}
	read(t, s, func(r *persist.Reader) {
		got, err := r.Record(full.Key)
		require.NoError(t, err)
		require.Equal(t, full, got)
		require.Equal(t, []string{"a", "b", "c", "d"}, ids(r.Records("notes", "", 0)))
		require.Equal(t, []string{"c", "d"}, ids(r.Records("notes", "b", 0)))
		require.Equal(t, []string{"b", "c"}, ids(r.Records("notes", "a", 2)))
		require.Empty(t, ids(r.Records("none", "", 0)))
		require.Equal(t, []string{"a", "b"}, ids(r.Conflicted("notes")))
		require.Equal(t, []string{"a", "b", "ü"}, ids(r.Conflicted("")))
		require.ElementsMatch(t, []string{"c", "d", "b"}, ids(r.Stale("notes", 1, 0)))
		require.Len(t, ids(r.Stale("notes", 1, 2)), 2)
		names, err := r.Collections()
		require.NoError(t, err)
		require.Equal(t, []string{"notes", "other"}, names)
		for range r.Records("notes", "", 0) { // the same query within its own loop
			require.Len(t, ids(r.Records("notes", "", 0)), 4)
		}
	})
	full.PolicyVersion, full.Conflicts, full.JSON, full.Deleted = 4, 0, nil, false
	commit(t, s, func(tx *persist.Tx) { require.NoError(t, tx.PutRecord(full)) })
	read(t, s, func(r *persist.Reader) {
		got, err := r.Record(full.Key)
		require.NoError(t, err)
		require.Equal(t, full, got)
		require.Equal(t, []string{"a", "b"}, ids(r.Conflicted("")))
		require.Empty(t, ids(r.Stale("other", 4, 0)))
	})
}

func TestPutRecordRefuses(t *testing.T) {
	s := open(t, tempPath(t), nil)
	for _, rec := range []persist.Record{{Key: key("")}, {Key: key("a/b")}, {RID: 5, Key: key("a")}, {RID: -1, Key: key("a")}} {
		require.Error(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.PutRecord(&rec) }), "%+v", rec)
	}
	for _, row := range []persist.LogRow{{RID: 1, Data: []byte{1}}, {RID: 0, Data: []byte{1}}} {
		require.Error(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.Append(&row) }))
	}
	read(t, s, func(r *persist.Reader) {
		st, err := r.Stats()
		require.NoError(t, err)
		require.Zero(t, st.Records+st.Changes)
	})
}

// Log cuts between change sets only.
func TestLog(t *testing.T) {
	s := open(t, tempPath(t), nil)
	commit(t, s, func(tx *persist.Tx) {
		rec := &persist.Record{Key: key("a")}
		require.NoError(t, tx.PutRecord(rec))
		for i, set := range []byte{1, 1, 1, 2, 3, 3} {
			data := numbered(i)
			row := &persist.LogRow{Set: crdt.SetID{set}, RID: rec.RID, Key: rec.Key, Hash: hashOf(data), Data: data, Source: 1, Time: 2}
			require.NoError(t, tx.Append(row))
			require.Equal(t, tx.Head(), crdt.Cursor{Epoch: tx.Head().Epoch, LSN: row.LSN, Chain: row.Chain})
		}
	})
	size := len(numbered(0))
	read(t, s, func(r *persist.Reader) {
		for _, c := range []struct {
			after             crdt.LSN
			maxRows, maxBytes int
			want              []crdt.LSN
		}{
			{0, 100, 1000, []crdt.LSN{1, 2, 3, 4, 5, 6}},
			{0, 5, 1000, []crdt.LSN{1, 2, 3, 4}},
			{0, 4, 1000, []crdt.LSN{1, 2, 3, 4}},
			{0, 3, 1000, []crdt.LSN{1, 2, 3}},
			{0, 1, 1000, []crdt.LSN{1, 2, 3}},
			{0, 100, 6*size - 1, []crdt.LSN{1, 2, 3, 4}},
			{0, 100, 4 * size, []crdt.LSN{1, 2, 3, 4}},
			{0, 100, 4*size - 1, []crdt.LSN{1, 2, 3}},
			{0, 100, 0, []crdt.LSN{1, 2, 3}},
			{3, 1, 0, []crdt.LSN{4}},
			{4, 1, 0, []crdt.LSN{5, 6}},
			{6, 1, 0, nil},
		} {
			rows, err := r.Log(c.after, c.maxRows, c.maxBytes)
			require.NoError(t, err)
			var got []crdt.LSN
			for _, row := range rows {
				got = append(got, row.LSN)
				require.Equal(t, key("a"), row.Key)
				cur, ok := r.CursorAt(row.LSN)
				require.True(t, ok)
				require.Equal(t, row.Chain, cur.Chain)
			}
			require.Equal(t, c.want, got, "%+v", c)
		}
		zero, ok := r.CursorAt(0)
		require.True(t, ok)
		require.Equal(t, crdt.Cursor{Epoch: r.Head().Epoch}, zero)
		_, ok = r.CursorAt(7)
		require.False(t, ok)
	})
}

func TestPeers(t *testing.T) {
	s := open(t, tempPath(t), nil)
	p := &persist.Peer{Replica: crdt.ReplicaID{1}, Epoch: 1<<64 - 1, Name: "hub",
		Read:  crdt.Cursor{Epoch: 1 << 63, LSN: 3, Chain: crdt.Chain{4}},
		Acked: crdt.Cursor{Epoch: 5, LSN: 6, Chain: crdt.Chain{7}},
		State: "live", LastError: "none", Attempts: 8, Seen: 9, Doubt: true, ReadFilter: crdt.Hash{11}, Subject: "ann", Carried: "some"}
	commit(t, s, func(tx *persist.Tx) { require.NoError(t, tx.PutPeer(p)) })
	id := p.ID
	require.NotZero(t, id)
	p.ID, p.Attempts = 0, 10 // found by replica and epoch
	commit(t, s, func(tx *persist.Tx) { require.NoError(t, tx.PutPeer(p)) })
	require.Equal(t, id, p.ID)
	p.Read.LSN++
	commit(t, s, func(tx *persist.Tx) { require.NoError(t, tx.PutPeer(p)) })
	read(t, s, func(r *persist.Reader) {
		got, err := r.Peer(p.Replica, p.Epoch)
		require.NoError(t, err)
		require.Equal(t, p, got)
		got, err = r.Peer(p.Replica, 1)
		require.NoError(t, err)
		require.Nil(t, got)
		all, err := r.Peers()
		require.NoError(t, err)
		require.Equal(t, []persist.Peer{*p}, all)
	})
	require.Error(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.PutPeer(&persist.Peer{ID: 99}) }))
}

func TestParked(t *testing.T) {
	s := open(t, tempPath(t), nil)
	one := &persist.ParkedSet{Peer: 1, Set: crdt.SetID{1}, Waits: []crdt.Key{key("a"), key("b")}, Data: []byte("one"), Reason: "missing", Time: 5}
	two := &persist.ParkedSet{Peer: 2, Set: crdt.SetID{1}, Waits: []crdt.Key{key("b")}, Data: []byte("two")}
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Park(one))
		require.NoError(t, tx.Park(two))
	})
	on := func(r *persist.Reader, id string) (all []*persist.ParkedSet) {
		for p, err := range r.ParkedOn(key(id)) {
			require.NoError(t, err)
			all = append(all, p)
		}
		return all
	}
	read(t, s, func(r *persist.Reader) {
		require.Equal(t, []*persist.ParkedSet{one}, on(r, "a"))
		require.Equal(t, []*persist.ParkedSet{one, two}, on(r, "b"))
		n := 0
		for range r.Parked(persist.AllPeers) {
			n++
		}
		for p := range r.Parked(2) {
			require.Equal(t, two, p)
			n++
		}
		require.Equal(t, 3, n)
	})
	one.Waits = []crdt.Key{key("c")} // once more, for something else
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Park(one))
		require.Empty(t, on(&tx.Reader, "a"))
		for p, err := range tx.ParkedOn(key("c")) {
			require.NoError(t, err)
			require.NoError(t, tx.Unpark(p.ID))
		}
		require.Equal(t, []*persist.ParkedSet{two}, on(&tx.Reader, "b"))
		require.NoError(t, tx.Unpark(12345))
	})
	require.Empty(t, problems(t, s))
	require.Error(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.Park(&persist.ParkedSet{}) }))
}

func TestParkedCaps(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	park := func(tx *persist.Tx, peer int64, i, size int) error {
		return tx.Park(&persist.ParkedSet{Peer: peer, Set: crdt.SetID{byte(i), byte(i >> 8)}, Waits: []crdt.Key{key("a")}, Data: make([]byte, size)})
	}
	commit(t, s, func(tx *persist.Tx) {
		for i := range persist.MaxParkedSets {
			require.NoError(t, park(tx, 1, i, 1))
		}
		require.ErrorIs(t, park(tx, 1, persist.MaxParkedSets, 1), persist.ErrCapped)
		require.NoError(t, park(tx, 1, 0, 2), "in place of itself")
		require.NoError(t, park(tx, 2, 1, persist.MaxParkedBytes))
		require.ErrorIs(t, park(tx, 2, 2, 1), persist.ErrCapped)
		require.NoError(t, park(tx, 2, 1, persist.MaxParkedBytes))
	})
	read(t, s, func(r *persist.Reader) {
		st, err := r.Stats()
		require.NoError(t, err)
		require.EqualValues(t, persist.MaxParkedSets+1, st.Parked)
	})
}

func TestQuarantine(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	first := &persist.Quarantined{Peer: 1, Key: key("a"), Hash: crdt.Hash{1}, Code: "bad", Detail: "very", Data: []byte("x"), Time: 4}
	list := func(r *persist.Reader, peer int64) (all []*persist.Quarantined) {
		for q, err := range r.Quarantined(peer) {
			require.NoError(t, err)
			all = append(all, q)
		}
		return all
	}
	commit(t, s, func(tx *persist.Tx) {
		require.NoError(t, tx.Quarantine(first))
		require.Equal(t, []*persist.Quarantined{first}, list(&tx.Reader, 1))
		first.Detail = "again"
		require.NoError(t, tx.Quarantine(first))
		require.Equal(t, []*persist.Quarantined{first}, list(&tx.Reader, persist.AllPeers))
		for i := range persist.MaxQuarantined {
			require.NoError(t, tx.Quarantine(&persist.Quarantined{Peer: 1, Key: key(fmt.Sprint(i)), Data: []byte{1}}))
		}
		rest := list(&tx.Reader, 1)
		require.Len(t, rest, persist.MaxQuarantined)
		require.Equal(t, "0", rest[0].Key.ID, "the oldest went")
		require.NoError(t, tx.Quarantine(&persist.Quarantined{Peer: 1, Key: key("big"), Data: make([]byte, persist.MaxQuarantinedBytes)}))
		require.Len(t, list(&tx.Reader, 1), 1)
		require.Empty(t, list(&tx.Reader, 2))
		require.NoError(t, tx.Unquarantine(list(&tx.Reader, 1)[0].ID))
	})
	read(t, s, func(r *persist.Reader) {
		st, err := r.Stats()
		require.NoError(t, err)
		require.EqualValues(t, 0, st.Quarantined)
		require.EqualValues(t, persist.MaxQuarantined+1, st.Dropped)
	})
}

func TestPolicies(t *testing.T) {
	s := open(t, tempPath(t), nil)
	set := func(json string, want int64) {
		commit(t, s, func(tx *persist.Tx) {
			v, err := tx.SetPolicy("notes", []byte(json))
			require.NoError(t, err)
			require.Equal(t, want, v)
		})
	}
	read(t, s, func(r *persist.Reader) {
		json, v, err := r.Policy("notes")
		require.NoError(t, err)
		require.Zero(t, v)
		require.Nil(t, json)
	})
	set(`"lww"`, 1)
	set(`"lww"`, 1)
	set(`"fww"`, 2)
	read(t, s, func(r *persist.Reader) {
		all, err := r.Policies()
		require.NoError(t, err)
		require.Equal(t, []persist.CollectionPolicy{{Collection: "notes", JSON: []byte(`"fww"`), Version: 2}}, all)
	})
}
