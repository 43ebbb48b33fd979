package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// edits makes n changes of one record, random ones.
func edits(t testing.TB, r *replica.Replica, rnd *rand.Rand, id string, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
			return tx.Put(key(id), map[string]any{
				fmt.Sprint("field", rnd.IntN(4)): rnd.IntN(1000),
				"body":                           crdt.Text(strings.Repeat("abc ", rnd.IntN(9)) + fmt.Sprint(i)),
			})
		}))
	}
}

func exports(t testing.TB, r *replica.Replica, ids ...string) (all []string) {
	t.Helper()
	for _, id := range ids {
		b, err := r.Export(context.Background(), key(id))
		require.NoError(t, err)
		all = append(all, string(b))
	}
	return all
}

func compact(t testing.TB, r *replica.Replica, o *replica.CompactOptions) replica.Compaction {
	t.Helper()
	calls := 0
	c, err := r.Compact(context.Background(), o, func(c replica.Compaction) { calls = c.Done })
	require.NoError(t, err)
	require.Equal(t, c.Records, calls)
	return c
}

// TestCompact compacts records that two replicas wrote at the same time, and goes
// on with them in every way.
func TestCompact(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	net := network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "a", a)
	for range 3 {
		edits(t, a, rnd, "1", 40)
		edits(t, b, rnd, "1", 40)
		edits(t, a, rnd, "2", 60)
		edits(t, b, rnd, "3", 2)
		syncWith(t, b, net.Link("other", "a"))
	}
	before, raw := contents(t, a), exports(t, a, "1", "2", "3")

	c := compact(t, a, &replica.CompactOptions{MinBytes: 8 << 10})
	require.Equal(t, 2, c.Compacted, "%+v", c)
	require.Greater(t, c.Bytes, 2*c.Snapshots)
	require.Equal(t, before, contents(t, a))
	require.Equal(t, raw, exports(t, a, "1", "2", "3"), "the same bytes in the same order")
	requireClean(t, a)
	require.Zero(t, compact(t, a, &replica.CompactOptions{MinBytes: 8 << 10}).Compacted, "nothing is gained a second time")

	cold := open(t, nil)
	syncWith(t, cold, net.Link("other", "a"))
	requireEqual(t, a, b, cold)
	require.Equal(t, raw, exports(t, cold, "1", "2", "3"))

	// What follows goes to the log again, and into the next snapshot.
	edits(t, a, rnd, "1", 30)
	edits(t, b, rnd, "1", 150)
	syncWith(t, b, net.Link("other", "a"))
	requireEqual(t, a, b)
	raw = exports(t, a, "1", "2", "3")
	require.Equal(t, 1, compact(t, a, &replica.CompactOptions{Key: key("1"), Vacuum: true}).Compacted)
	require.Equal(t, raw, exports(t, a, "1", "2", "3"))
	syncWith(t, b, net.Link("other", "a"))
	requireEqual(t, a, b)

	// A replica that knows nothing of the one that was compacted.
	reopened := openAt(t, a.Path(), nil)
	require.Equal(t, raw, exports(t, reopened, "1", "2", "3"))
	edits(t, reopened, rnd, "1", 3)
	requireClean(t, reopened)
	h, err := reopened.History(context.Background(), key("1"))
	require.NoError(t, err)
	require.Equal(t, 3*80+180+3, h.Len())
}

// TestCompactSkips leaves alone what it must, and what would gain nothing.
func TestCompactSkips(t *testing.T) {
	r := open(t, nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	edits(t, r, rnd, "1", 100)
	require.Zero(t, compact(t, r, nil).Records, "less than 64 KiB")
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		b := make([]byte, 100_000)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return tx.Put(key("noise"), map[string]any{"b": b})
	}))
	require.Equal(t, map[string]int{replica.SkipNoGain: 1}, compact(t, r, nil).Skipped)
	c := compact(t, r, &replica.CompactOptions{Key: key("1"), MaxMemory: 1000})
	require.Equal(t, map[string]int{replica.SkipLarge: 1}, c.Skipped)
	_, err := r.Compact(context.Background(), &replica.CompactOptions{Key: key("none")}, nil)
	require.ErrorIs(t, err, replica.ErrNotFound)
}

// TestDamagedSnapshot alters what a snapshot holds: Check names the record, and
// nothing else is shown in its place.
func TestDamagedSnapshot(t *testing.T) {
	for _, tt := range []struct {
		name, sql, want string
		reads           bool // what is there is read as it is
	}{
		{"a byte", "UPDATE snapshots SET data = CAST(substr(data, 1, 200) || x'00' || substr(data, 202) AS BLOB) WHERE rid = 1", "snapshot", false},
		{"half of it", "UPDATE snapshots SET data = substr(data, 1, length(data) / 2) WHERE rid = 1", "snapshot", false},
		{"nothing", "DELETE FROM snapshots WHERE rid = 1", "hash", false},
		{"another record's", "UPDATE snapshots SET data = (SELECT data FROM snapshots WHERE rid = 2) WHERE rid = 1", "snapshot", true},
		{"a row more", "UPDATE log SET data = x'' WHERE lsn = (SELECT max(lsn) FROM log WHERE rid = 1)", "hash", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, nil)
			rnd := rand.New(rand.NewPCG(2, 1))
			edits(t, r, rnd, "1", 100)
			edits(t, r, rnd, "2", 50)
			require.Equal(t, 2, compact(t, r, &replica.CompactOptions{MinBytes: 1000}).Compacted)
			edits(t, r, rnd, "1", 2)
			require.NoError(t, r.Close())

			db, err := sql.Open("sqlite3", r.Path())
			require.NoError(t, err)
			_, err = db.Exec(tt.sql)
			require.NoError(t, err)
			require.NoError(t, db.Close())

			r = openAt(t, r.Path(), nil)
			found := map[string]bool{}
			require.NoError(t, r.Check(context.Background(), func(p replica.Problem) {
				if p.Key == key("1") {
					found[p.Kind] = true
				}
			}))
			require.True(t, found[tt.want], "%v", found)
			_, err = r.Export(context.Background(), key("1"))
			if tt.reads {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "notes/1")
			}
			edits(t, r, rnd, "2", 1) // other records are not concerned
			cold, net := open(t, nil), network(t)
			serve(t, net, "damaged", r)
			_, err = cold.Sync(context.Background(), net.Link("cold", "damaged"))
			require.ErrorContains(t, err, "equal")
			require.Equal(t, get(t, r, "2"), get(t, cold, "2"))
		})
	}
}

// TestCompactAtOnce compacts through two openings of one file while a third writes.
func TestCompactAtOnce(t *testing.T) {
	a := open(t, nil)
	b, c := openAt(t, a.Path(), nil), openAt(t, a.Path(), nil)
	rnd := rand.New(rand.NewPCG(3, 1))
	for i := range 6 {
		edits(t, a, rnd, fmt.Sprint(i), 60)
	}
	var wg sync.WaitGroup
	for _, r := range []*replica.Replica{a, b} {
		wg.Go(func() {
			for range 3 {
				if _, err := r.Compact(context.Background(), &replica.CompactOptions{MinBytes: 1000}, nil); err != nil {
					t.Errorf("compact: %v", err)
				}
			}
		})
	}
	for range 3 {
		for i := range 6 {
			edits(t, c, rnd, fmt.Sprint(i), 30)
		}
	}
	wg.Wait()
	for i := range 6 {
		h, err := a.History(context.Background(), key(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, 150, h.Len())
	}
	requireClean(t, a)
	requireEqual(t, a, b, c)
}
