package replica_test

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// TestStats holds what Stats says against what SQLite says of the same file.
func TestStats(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	hub, r := open(t, &replica.Options{Keeper: true}), open(t, &replica.Options{Synchronous: persist.Normal})
	serve(t, net, "hub", hub)
	link := net.Link("r", "hub")
	rnd := rand.New(rand.NewPCG(1, 1))
	st, err := r.Stats(ctx)
	require.NoError(t, err)
	require.Zero(t, st.Records+st.Changes+st.Deleted+st.Forgotten+st.Bytes.Changes+st.Bytes.Values)
	require.Empty(t, st.Collections)
	require.Nil(t, st.Oldest)

	edits(t, r, rnd, "1", 30)
	edits(t, r, rnd, "2", 450)
	puts(t, r, []crdt.Key{{Collection: "other", ID: "1"}, {Collection: "other", ID: "2"}, {Collection: "other", ID: "3"}}, 1)
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(crdt.Key{Collection: "other", ID: "1"}) }))
	require.NoError(t, r.EnsureIndex(ctx, "other", "n"))
	require.NoError(t, r.BuildIndexes(ctx))
	require.NoError(t, r.SetPlaintext(ctx, "other", "n"))
	put(t, hub, "1", `{"field0":"rival"}`)
	syncWith(t, r, link)
	_, err = r.Forget(ctx, link, []crdt.Key{{Collection: "other", ID: "2"}})
	require.NoError(t, err)
	put(t, r, "1", `{"more":1}`)

	st, err = r.Stats(ctx)
	require.NoError(t, err)
	status, err := r.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, status, st.Status)
	require.EqualValues(t, 486, st.Changes)
	require.EqualValues(t, 3, st.Records)
	require.EqualValues(t, 1, st.Deleted)
	require.EqualValues(t, 1, st.Forgotten)
	value := func(id string) int64 { return int64(len(get(t, r, id))) }
	require.Equal(t, []replica.CollectionStats{
		{Name: "notes", Records: 2, Conflicted: st.Conflicted, Bytes: value("1") + value("2")},
		{Name: "other", Records: 1, Deleted: 1, Forgotten: 1, Bytes: int64(len(`{"n":1}`))},
	}, st.Collections)
	require.EqualValues(t, 1, st.Compactable.Records)
	require.Greater(t, st.Compactable.Bytes, int64(replica.DefaultCompactBytes))
	require.NotNil(t, st.Oldest)
	require.Equal(t, st.Log.LSN, st.Oldest.LSN)
	require.Equal(t, replica.SyncPending, st.Oldest.State)
	require.EqualValues(t, 1, st.Peers[0].Pending)
	require.Equal(t, map[string][]string{"other": {"n"}}, st.Plaintext)
	require.False(t, st.Encrypted)
	require.EqualValues(t, 2, st.Bytes.Indexes, "a digit, and the id of the one record that is there")
	require.Positive(t, st.Bytes.WAL)

	compact(t, r, &replica.CompactOptions{Vacuum: true})
	after, err := r.Stats(ctx)
	require.NoError(t, err)
	require.Zero(t, after.Compactable.Records)
	require.Zero(t, after.Bytes.Free)
	require.Equal(t, st.Bytes.Values, after.Bytes.Values)
	require.Less(t, after.Bytes.Changes+after.Bytes.Snapshots, st.Bytes.Changes/2)
	require.Positive(t, after.Bytes.Snapshots)

	require.NoError(t, r.Close())
	info, err := os.Stat(r.Path())
	require.NoError(t, err)
	require.Equal(t, info.Size(), after.Bytes.File)
	db, err := sql.Open("sqlite3", "file:"+r.Path()+"?mode=ro")
	require.NoError(t, err)
	defer db.Close()
	var raw int64
	require.NoError(t, db.QueryRow("SELECT sum(length(data)) FROM log").Scan(&raw))
	require.Equal(t, raw, after.Bytes.Changes)
	require.NoError(t, db.QueryRow("SELECT sum(length(data)) FROM snapshots").Scan(&raw))
	require.Equal(t, raw, after.Bytes.Snapshots)
}
