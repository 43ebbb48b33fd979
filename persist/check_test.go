package persist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// damaged is a store of three records with three changes each, a parked set,
// and what the statements do to it.
func damaged(t *testing.T, stmts ...string) *persist.Store {
	path := tempPath(t)
	s := open(t, path, nil)
	for range 3 {
		for _, id := range []string{"a", "b", "c"} {
			mustEdit(t, s, id, "{}")
		}
	}
	require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
		return tx.Park(&persist.ParkedSet{Peer: 1, Set: crdt.SetID{1}, Waits: []crdt.Key{key("a")}})
	}))
	require.Empty(t, problems(t, s))
	raw(t, path, stmts...)
	return s
}

// Every check can fail, and names the place.
func TestCheckFinds(t *testing.T) {
	type want struct {
		kind string
		key  string // id
		lsn  crdt.LSN
	}
	cases := []struct {
		name string
		sql  string
		want []want // each of them is among the problems
	}{
		{"a page that two tables claim", "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'peers') WHERE name = 'snapshots'; PRAGMA schema_version = 1000",
			[]want{{"file", "", 0}}},
		{"a chain of another size", "UPDATE log SET chain = x'00' WHERE lsn = 5", []want{{"row", "b", 5}, {"chain", "b", 5}}},
		{"a clock cut off", "UPDATE records SET clock = x'ff' WHERE id = 'b'", []want{{"row", "b", 0}}},
		{"a clock with an actor that is too long", "UPDATE records SET clock = CAST(x'8101' || zeroblob(129) || x'01' AS BLOB) WHERE id = 'b'", []want{{"row", "b", 0}}},
		{"a clock with a sequence number 0", "UPDATE records SET clock = x'056163746f7200' WHERE id = 'b'", []want{{"row", "b", 0}}},
		{"a clock with an actor twice", "UPDATE records SET clock = x'056163746f7201056163746f7201' WHERE id = 'b'", []want{{"row", "b", 0}}},
		{"heads cut off", "UPDATE records SET heads = x'00' WHERE id = 'b'", []want{{"row", "b", 0}}},
		{"heads in disorder", "UPDATE records SET heads = CAST(heads || zeroblob(32) AS BLOB) WHERE id = 'b'", []want{{"row", "b", 0}}},
		{"a missing row", "DELETE FROM log WHERE lsn = 5", []want{{"gap", "c", 6}, {"chain", "c", 6}, {"history", "b", 8}}},
		{"a missing first row", "DELETE FROM log WHERE lsn = 1", []want{{"gap", "b", 2}}},
		{"a missing last row", "DELETE FROM log WHERE lsn = 9", []want{{"lsn", "c", 0}, {"heads", "c", 0}, {"clock", "c", 0}}},
		{"rows swapped", "UPDATE log SET lsn = 100 WHERE lsn = 4; UPDATE log SET lsn = 4 WHERE lsn = 7; UPDATE log SET lsn = 7 WHERE lsn = 100",
			[]want{{"chain", "a", 4}, {"prev", "a", 4}, {"heads", "a", 0}}},
		{"a flipped bit of a change", "UPDATE log SET data = CAST(substr(data, 1, 20) || x'ff' || substr(data, 22) AS BLOB) WHERE lsn = 5",
			[]want{{"hash", "b", 5}, {"history", "b", 5}}},
		{"a flipped bit of the checksum", "UPDATE log SET data = CAST(substr(data, 1, 4) || x'00000000' || substr(data, 9) AS BLOB) WHERE lsn = 5",
			[]want{{"hash", "b", 5}}},
		{"an empty change", "UPDATE log SET data = x'' WHERE lsn = 5", []want{{"hash", "b", 5}}},
		{"another hash", "UPDATE log SET hash = zeroblob(32) WHERE lsn = 5", []want{{"hash", "b", 5}, {"chain", "b", 5}}},
		{"another chain", "UPDATE log SET chain = zeroblob(16) WHERE lsn = 9", []want{{"chain", "c", 9}}},
		{"a torn set", "UPDATE log SET set_id = (SELECT set_id FROM log WHERE lsn = 2) WHERE lsn = 5", []want{{"set", "b", 5}}},
		{"a missing record", "DELETE FROM records WHERE id = 'b'", []want{{"orphan", "", 2}, {"orphan", "", 5}, {"orphan", "", 8}}},
		{"a renamed record", "UPDATE records SET id = 'd' WHERE id = 'b'", []want{{"chain", "d", 2}}},
		{"an impossible name", "UPDATE records SET id = '/' WHERE id = 'b'", []want{{"key", "/", 0}}},
		{"a change twice", "UPDATE log SET data = (SELECT data FROM log WHERE lsn = 2) WHERE lsn = 5", []want{{"history", "b", 5}}},
		{"another way back", "UPDATE log SET prev = 1 WHERE lsn = 8", []want{{"prev", "b", 8}, {"history", "b", 8}}},
		{"a way in circles", "UPDATE log SET prev = 8 WHERE lsn = 5", []want{{"prev", "b", 5}, {"history", "b", 5}}},
		{"another lsn", "UPDATE records SET lsn = 2 WHERE id = 'b'", []want{{"lsn", "b", 0}}},
		{"older heads", "UPDATE records SET heads = (SELECT hash FROM log WHERE lsn = 5) WHERE id = 'b'", []want{{"heads", "b", 0}}},
		{"a head too many", "UPDATE records SET heads = CAST(zeroblob(32) || heads AS BLOB) WHERE id = 'b'", []want{{"heads", "b", 0}}},
		{"a clock behind", "UPDATE records SET clock = x'056163746f7202' WHERE id = 'b'", []want{{"clock", "b", 0}}},
		{"a clock ahead", "UPDATE records SET clock = x'056163746f7204' WHERE id = 'b'", []want{{"clock", "b", 0}}},
		{"an actor too many", "UPDATE records SET clock = x'056163746f7203057a63746f7201' WHERE id = 'b'", []want{{"clock", "b", 0}}},
		{"a parked set that waits for nothing", "DELETE FROM parked_on", []want{{"parked", "", 0}}},
		{"a wait without its set", "DELETE FROM parked", []want{{"parked", "a", 0}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []want
			for _, p := range problems(t, damaged(t, c.sql)) {
				require.NotEmpty(t, p.Detail)
				require.NotEmpty(t, p.Advice)
				require.Contains(t, p.String(), p.Kind)
				got = append(got, want{p.Kind, p.Key.ID, p.LSN})
			}
			require.Subset(t, got, c.want)
		})
	}
}

// What cannot be read is an error that names the place, and the closure's too.
func TestUnreadable(t *testing.T) {
	s := damaged(t, "UPDATE records SET clock = x'ff' WHERE id = 'b'")
	err := s.Read(t.Context(), func(r *persist.Reader) error {
		_, err := r.Record(key("b"))
		require.ErrorContains(t, err, "notes/b")
		return nil
	})
	require.ErrorContains(t, err, "notes/b")
	require.NotNil(t, record(t, s, "a"))
}
