package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // damages a file behind the store's back
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// TestDoctorFindsDamage alters a stored value behind the store's back.
func TestDoctorFindsDamage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	mustGodwit(t, "--db", file, "put", "notes/1", `{"title":"Tides"}`)
	require.Contains(t, mustGodwit(t, "--db", file, "doctor"), "has no problems")
	db, err := sql.Open("sqlite3", file)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE records SET json = '{"title":"Ebb"}'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())

	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		var stdout, stderr strings.Builder
		code := run(context.Background(), append([]string{"--db", file}, args...), nil, &stdout, &stderr)
		require.Equal(t, 1, code)
		require.Contains(t, stdout.String(), "Tides")
		require.Contains(t, stderr.String(), "godwit: "+file+" has 1 problems")
	}
	require.Contains(t, mustGodwit(t, "--db", file, "doctor", "--repair"), "has no problems")
	require.Equal(t, "{\"title\":\"Tides\"}\n", mustGodwit(t, "--db", file, "get", "notes/1"))
}

// TestDoctorLists has a change set that waits, and a change that was refused.
// Neither is a problem of the file.
func TestDoctorLists(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "a.db")
	store, err := persist.Open(ctx, file, nil)
	require.NoError(t, err)
	key := crdt.Key{Collection: "notes", ID: "1"}
	require.NoError(t, store.Commit(ctx, func(tx *persist.Tx) error {
		peer := &persist.Peer{Replica: crdt.ReplicaID{0xab}, Epoch: 1}
		if err := tx.PutPeer(peer); err != nil {
			return err
		}
		if err := tx.Park(&persist.ParkedSet{Peer: peer.ID, Waits: []crdt.Key{key}, Reason: "misses another", Time: 1}); err != nil {
			return err
		}
		return tx.Quarantine(&persist.Quarantined{Peer: peer.ID, Key: key, Code: "encoding", Detail: "a column twice", Data: []byte{1}, Time: 2})
	}))
	require.NoError(t, store.Close())

	text := mustGodwit(t, "--db", file, "doctor")
	require.Contains(t, text, "of ab00000000000000, for [notes/1]: misses another")
	require.Contains(t, text, "refused  notes/1 from ab00000000000000: encoding: a column twice")
	require.JSONEq(t, `{"problems":[],"forked":[],"denied":[],
		"lost":[],"parked":[{"peer":"ab00000000000000","set":"00000000000000000000000000000000","waits":["notes/1"],"reason":"misses another","time":1}],
		"quarantined":[{"peer":"ab00000000000000","collection":"notes","id":"1",
			"hash":"`+strings.Repeat("0", 64)+`","code":"encoding","detail":"a column twice","time":2}]}`,
		mustGodwit(t, "--db", file, "doctor", "--json"))
	require.Contains(t, mustGodwit(t, "--db", file, "status"), "refused     1 changes")
}
