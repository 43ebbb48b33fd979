package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

// sealedWith returns with which keys the rows of the log are said to be sealed, and how
// many of them are empty and withdrawn.
func sealedWith(t testing.TB, r *replica.Replica) (keys []int64, stubs int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+r.Path()+"?_busy_timeout=5000")
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT DISTINCT sealed FROM log ORDER BY sealed")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		require.NoError(t, rows.Scan(&n))
		keys = append(keys, n)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, db.QueryRow("SELECT count(*) FROM log WHERE source < 0 AND length(data) = 0").Scan(&stubs))
	return keys, stubs
}

// TestForgetEncrypted forgets records of an encrypted file, one with a snapshot, takes it
// from key to key and through a backup, and fetches them back.
func TestForgetEncrypted(t *testing.T) {
	ctx := t.Context()
	net := network(t)
	hub := open(t, &replica.Options{Keeper: true, Key: fileKey(t, 9)})
	path := filepath.Join(t.TempDir(), "a.db")
	a, err := replica.Open(ctx, path, &replica.Options{Key: fileKey(t, 1)})
	require.NoError(t, err)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	require.NoError(t, a.SetPlaintext(ctx, "notes", "title"))
	require.NoError(t, a.EnsureIndex(ctx, "notes", "title"))
	require.NoError(t, a.BuildIndexes(ctx))
	for i := range 40 {
		put(t, a, "1", fmt.Sprintf(`{"title":"Tides","n":%d}`, i))
	}
	put(t, a, "2", `{"title":"Ebb"}`)
	put(t, a, "3", `{"title":"Flow","see":["1","2"]}`)
	require.NoError(t, a.SetConstraints(ctx, "notes", replica.Constraints{References: []replica.Reference{{Field: "see", Collection: "notes"}}}))
	require.Equal(t, 1, compact(t, a, &replica.CompactOptions{MinBytes: 1000}).Records)
	put(t, a, "1", `{"n":40}`) // behind the snapshot
	syncOnly(t, a, link)
	want := contents(t, hub)
	require.Equal(t, 2, forget(t, a, link, "1", "2").Forgotten)

	changed := func(key int64) {
		t.Helper()
		keys, stubs := sealedWith(t, a)
		require.Equal(t, []int64{key}, keys)
		require.Equal(t, 42, stubs)
		requireStubs(t, a)
	}
	changed(1)
	require.NoError(t, a.Rekey(ctx, fileKey(t, 2)))
	changed(2)
	backup := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, a.Backup(ctx, backup, nil))
	requireStubs(t, openAt(t, backup, &replica.Options{Key: fileKey(t, 2)}))
	require.NoError(t, a.Decrypt(ctx))
	changed(0)
	require.NoError(t, a.Encrypt(ctx, fileKey(t, 3)))
	changed(3)
	require.NoError(t, a.Close())
	a = openAt(t, path, &replica.Options{Key: fileKey(t, 3)})
	changed(3)

	fetch(t, a, link, "1", "2")
	require.NoError(t, a.Rekey(ctx, fileKey(t, 4)))
	requireEqual(t, hub, a)
	require.Equal(t, want, contents(t, a))
	require.Equal(t, int64(1), titled(t, a, "Tides"))
	compact(t, a, &replica.CompactOptions{MinBytes: 1000})
	put(t, a, "1", `{"n":41}`)
	syncOnly(t, a, link)
	require.Equal(t, 1, forget(t, a, link, "1").Forgotten, "once more")
	require.NoError(t, a.Rekey(ctx, fileKey(t, 5)))
	keys, _ := sealedWith(t, a)
	require.Equal(t, []int64{5}, keys)
	requireForgotten(t, a, "1")
	fetch(t, a, link, "1")
	requireEqual(t, hub, a)
	requireClean(t, a)
	requireClean(t, hub)
}

// requireStubs checks that the records 1 and 2 are stubs to everybody who asks.
func requireStubs(t testing.TB, r *replica.Replica) {
	t.Helper()
	ctx := context.Background()
	requireClean(t, r)
	done, err := r.Repair(ctx)
	require.NoError(t, err)
	require.Equal(t, replica.Repaired{}, done)
	for _, id := range []string{"1", "2"} {
		requireForgotten(t, r, id)
		var none error
		for _, err := range r.Receipts(ctx, key(id)) {
			none = err
		}
		require.ErrorIs(t, none, replica.ErrForgotten)
		e, err := r.Explain(ctx, key(id))
		require.NoError(t, err)
		require.False(t, e.Synced)
		require.Equal(t, replica.ReasonForgotten, e.Reasons[0].Code, e.String())
	}
	require.Equal(t, []string{"3"}, ids(t, r))
	require.Zero(t, titled(t, r, "Tides"))
	require.Equal(t, int64(1), titled(t, r, "Flow"))
	require.Empty(t, violations(t, r, "notes"), "what is held elsewhere is there to be referred to")
	for out, err := range r.Outbox(ctx, replica.OutboxFilter{Synced: true}) {
		require.NoError(t, err)
		require.NotContains(t, out.Records, key("1"))
		require.NotContains(t, out.Records, key("2"))
	}
}

func titled(t testing.TB, r *replica.Replica, title string) int64 {
	t.Helper()
	n, err := r.Count(context.Background(), replica.Query{Collection: "notes", Where: replica.Where("title", replica.Eq, title)})
	require.NoError(t, err)
	return n
}

// TestExplainForgotten tells both sides of a record that one has forgotten, and nothing
// of the record that changed together with it.
func TestExplainForgotten(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for WaitFor
	defer cancel()
	net := network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "a", a)
	link := net.Link("b", "a")
	put(t, b, "x", `{"v":1}`)
	put(t, b, "y", `{"v":1}`)
	syncOnly(t, b, link)
	explain := func(r *replica.Replica, id string) (codes []string, text string) {
		e, err := r.Explain(ctx, key(id))
		require.NoError(t, err)
		for _, r := range e.Reasons {
			codes = append(codes, r.Code)
		}
		require.Equal(t, codes[len(codes)-1] == replica.ReasonSynced, e.Synced)
		return codes, e.String()
	}
	n, err := a.ForgetUnasked(ctx, keys("x"))
	require.NoError(t, err)
	require.Equal(t, 1, n.Forgotten)
	codes, text := explain(a, "x")
	require.Len(t, codes, 2)
	require.Equal(t, "forgotten", codes[0])
	require.Regexp(t, `^notes/x was forgotten here on 20.*: whoever holds it has all of it, and fetch brings it back\. Peer `, text)

	lsn, err := b.UpdateLSN(ctx, func(tx *replica.Tx) error {
		if err := tx.Put(key("x"), map[string]any{"v": int64(2)}); err != nil {
			return err
		}
		return tx.Put(key("y"), map[string]any{"v": int64(2)})
	})
	require.NoError(t, err)
	syncOnly(t, b, link)
	codes, text = explain(b, "x")
	require.Equal(t, []string{"here", "forgotten"}, codes)
	require.Regexp(t, `has forgotten it, and takes no changes of it until it fetches it back\.$`, text)
	codes, _ = explain(b, "y")
	require.Equal(t, []string{"here", "synced"}, codes)
	var refused *replica.RefusedError
	require.ErrorAs(t, b.WaitFor(ctx, lsn), &refused)
	require.Equal(t, "forgotten", refused.Peer.Code)
	require.Contains(t, refused.Error(), "this replica has forgotten the record")

	other := open(t, nil)
	serve(t, net, "other", other)
	_, err = a.Fetch(ctx, net.Link("a", "other"), key("x"))
	require.ErrorContains(t, err, "does not have all of it")
	codes, text = explain(a, "x")
	require.Equal(t, "forgotten", codes[0])
	require.Contains(t, text, "it is to come back, from any peer that has it")
	syncOnly(t, b, link)
	syncOnly(t, b, link)
	for _, r := range []*replica.Replica{a, b} {
		codes, _ = explain(r, "x")
		require.Contains(t, codes, "synced")
		require.NotContains(t, codes, "forgotten")
	}
	require.NoError(t, b.WaitFor(ctx, lsn))
}
