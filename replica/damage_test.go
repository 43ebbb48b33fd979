package replica_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/bundle"
)

// flipped is SQL that alters a byte of the change at a position of the log.
func flipped(lsn int) string {
	return fmt.Sprintf("UPDATE log SET data = CAST(substr(data, 1, 40) || x'ff' || substr(data, 42) AS BLOB) WHERE lsn = %d", lsn)
}

// harm runs SQL on the file behind the store's back.
func harm(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	for _, s := range statements {
		_, err = db.Exec(s)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
}

// hurtPair makes two replicas that are equal, the first one with changes that the other
// has not, and damages that one's file.
func hurtPair(t *testing.T, statements ...string) (r, other *replica.Replica, want map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	r, err := replica.Open(context.Background(), path, nil)
	require.NoError(t, err)
	net := network(t)
	other = open(t, nil)
	serve(t, net, "other", other)
	for n := range 3 { // positions 1 to 9
		for _, id := range []string{"1", "2", "3"} {
			put(t, r, id, fmt.Sprintf(`{"v%d":%d,"of":%q}`, n, n, id))
		}
	}
	syncWith(t, r, net.Link("r", "other"))
	put(t, r, "2", `{"unsent":1}`) // 10
	put(t, r, "4", `{"unsent":4}`) // 11
	want = contents(t, r)
	require.NoError(t, r.Close())
	harm(t, path, statements...)
	return openAt(t, path, nil), other, want
}

// What is damaged comes back from a peer, and what was written on top of it and no peer
// has is not lost.
func TestRepairFrom(t *testing.T) {
	for name, at := range map[string][]int{
		"the first change": {2}, "one in between": {5}, "the last that was sent": {8}, "all that was sent": {2, 5, 8}, "of several records": {1, 5, 9},
	} {
		t.Run(name, func(t *testing.T) {
			var statements []string
			for _, lsn := range at {
				statements = append(statements, flipped(lsn))
			}
			r, other, want := hurtPair(t, statements...)
			net := network(t)
			serve(t, net, "other", other)
			done, err := r.RepairFrom(t.Context(), net.Link("r", "other"))
			require.NoError(t, err)
			require.Empty(t, done.Damaged)
			require.Empty(t, done.Lost)
			require.NotEmpty(t, done.Parted)
			require.Equal(t, want, contents(t, r))
			requireEqual(t, r, other)
			held, err := r.Held(t.Context())
			require.NoError(t, err)
			require.Empty(t, held)
			put(t, r, "2", `{"after":1}`)
			put(t, other, "2", `{"there":1}`)
			syncWith(t, r, net.Link("r", "other"))
			requireEqual(t, r, other)
			again, err := r.RepairFrom(t.Context(), net.Link("r", "other"))
			require.NoError(t, err)
			require.Empty(t, again.Parted)
			require.Empty(t, again.Rewritten)
		})
	}
}

// What no peer has is named. The rest of the record is readable, what builds on it waits
// in the file, and all of it comes back with a session with whoever has what is missing.
func TestRepairFromWhoLacksIt(t *testing.T) {
	r, other, _ := hurtPair(t, flipped(5))
	net := network(t)
	serve(t, net, "other", other)
	serve(t, net, "poor", open(t, nil))
	h, err := other.Heads(t.Context(), key("2"))
	require.NoError(t, err)
	done, err := r.RepairFrom(t.Context(), net.Link("r", "poor"))
	require.NoError(t, err)
	require.Len(t, done.Lost, 1)
	require.Equal(t, key("2"), done.Lost[0].Key)
	require.NotZero(t, done.Lost[0].Hash)
	require.JSONEq(t, `{"v0":0,"of":"2"}`, get(t, r, "2"))
	requireClean(t, r)
	e, err := r.Explain(t.Context(), key("2"))
	require.NoError(t, err)
	require.Contains(t, e.String(), "were damaged here")
	put(t, r, "2", `{"meanwhile":1}`)

	syncWith(t, r, net.Link("r", "other"))
	require.JSONEq(t, `{"v0":0,"v1":1,"v2":2,"of":"2","unsent":1,"meanwhile":1}`, get(t, r, "2"))
	requireEqual(t, r, other)
	lost, err := r.Lost(t.Context())
	require.NoError(t, err)
	require.Empty(t, lost)
	heads, err := r.Heads(t.Context(), key("2"))
	require.NoError(t, err)
	require.NotEqual(t, h, heads)
}

// A row that says another hash than its change has is put right: nobody else may have it.
func TestADamagedHashLosesNoChange(t *testing.T) {
	r, other, want := hurtPair(t, "UPDATE log SET hash = CAST(substr(hash, 1, 7) || x'ff' || substr(hash, 9) AS BLOB) WHERE lsn IN (5, 10)")
	net := network(t)
	serve(t, net, "other", other)
	done, err := r.RepairFrom(t.Context(), net.Link("r", "other"))
	require.NoError(t, err)
	require.Empty(t, done.Lost)
	require.Empty(t, done.Damaged)
	require.Equal(t, want, contents(t, r))
	requireEqual(t, r, other)
}

// A process that wrote what is damaged does not give its sequence numbers out again.
func TestRepairFromWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	r := openAt(t, path, nil)
	net := network(t)
	other := open(t, nil)
	serve(t, net, "other", other)
	serve(t, net, "poor", open(t, nil))
	put(t, r, "1", `{"a":1}`)
	put(t, r, "1", `{"b":1}`)
	syncWith(t, r, net.Link("r", "other"))
	second := openAt(t, path, nil) // which repairs
	harm(t, path, flipped(2))
	done, err := second.RepairFrom(t.Context(), net.Link("r", "poor"))
	require.NoError(t, err)
	require.Len(t, done.Lost, 1)
	err = r.Update(t.Context(), func(tx *replica.Tx) error { return tx.Put(key("1"), map[string]any{"c": 1}) })
	require.ErrorIs(t, err, replica.ErrForgotten)
	put(t, second, "1", `{"d":1}`)
	syncWith(t, second, net.Link("r", "other"))
	put(t, r, "1", `{"c":1}`)
	syncWith(t, r, net.Link("r", "other"))
	forks, err := other.Forks(t.Context())
	require.NoError(t, err)
	require.Empty(t, forks)
	require.JSONEq(t, `{"a":1,"b":1,"c":1,"d":1}`, get(t, other, "1"))
	requireEqual(t, r, other)
}

// A snapshot that is damaged takes with it what it held, and no more.
func TestRepairFromOfSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	r, err := replica.Open(t.Context(), path, nil)
	require.NoError(t, err)
	net := network(t)
	other := open(t, nil)
	serve(t, net, "other", other)
	for i := range 200 {
		put(t, r, "1", fmt.Sprintf(`{"n":%d}`, i))
	}
	syncWith(t, r, net.Link("r", "other"))
	compact(t, r, &replica.CompactOptions{Key: key("1")})
	put(t, r, "1", `{"unsent":1}`)
	want := contents(t, r)
	require.NoError(t, r.Close())
	harm(t, path, "UPDATE snapshots SET data = CAST(substr(data, 1, 200) || x'ffff' || substr(data, 203) AS BLOB)")
	r = openAt(t, path, nil)
	done, err := r.RepairFrom(t.Context(), net.Link("r", "other"))
	require.NoError(t, err)
	require.Empty(t, done.Lost)
	require.Equal(t, want, contents(t, r))
	requireEqual(t, r, other)
}

// Damage is not sent, by any path: who would have had it gets the rest, and this side says
// which record it is.
func TestDamageIsNotSent(t *testing.T) {
	r, _, _ := hurtPair(t, flipped(5), flipped(11))
	net := network(t)
	fresh := open(t, nil)
	serve(t, net, "fresh", fresh)
	for range 2 { // it is not tried over and over
		counts, err := r.Sync(t.Context(), net.Link("r", "fresh"))
		require.ErrorContains(t, err, "notes/")
		require.ErrorContains(t, err, "damaged in this file")
		require.GreaterOrEqual(t, counts.Refused, 2, "%+v", counts)
		require.Zero(t, counts.Quarantined)
	}
	requireNoneOf(t, fresh)
	refusals, err := r.Refusals(t.Context())
	require.NoError(t, err)
	require.Len(t, refusals, 2)

	// Asked by the other side, which lacks it.
	serve(t, net, "r", r)
	asks := open(t, nil)
	_, err = asks.Sync(t.Context(), net.Link("asks", "r"))
	require.Error(t, err)
	requireNoneOf(t, asks)

	// As a bundle.
	var file bytes.Buffer
	_, err = r.WriteBundle(t.Context(), &file, nil, nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "b")
	writeFile(t, path, file.Bytes())
	reads := open(t, nil)
	_, err = reads.Sync(t.Context(), bundle.Link(path, nil), replica.PullOnly())
	require.Error(t, err, "what builds on it waits")
	requireNoneOf(t, reads)

	// Exported.
	_, err = r.Export(t.Context(), key("4"))
	require.ErrorIs(t, err, replica.ErrDamaged)
	require.ErrorContains(t, err, "notes/4")
}

// requireNoneOf checks that a replica has the records 1 and 3 and nothing that is damaged,
// nor anything that it had to refuse.
func requireNoneOf(t *testing.T, r *replica.Replica) {
	t.Helper()
	requireClean(t, r)
	require.JSONEq(t, `{"v0":0,"v1":1,"v2":2,"of":"1"}`, get(t, r, "1"))
	require.JSONEq(t, `{"v0":0,"v1":1,"v2":2,"of":"3"}`, get(t, r, "3"))
	require.JSONEq(t, `{"v0":0,"of":"2"}`, get(t, r, "2"))
	_, err := r.Get(t.Context(), key("4"))
	require.ErrorIs(t, err, replica.ErrNotFound)
	held, err := r.Held(t.Context())
	require.NoError(t, err)
	for _, h := range held {
		require.True(t, h.Waiting, "%+v", h)
		require.Equal(t, []crdt.Key{key("2")}, h.Records)
	}
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
}
