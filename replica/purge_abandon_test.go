package replica_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// TestARecordComesBackWhenItsRefusedPurgeIsAbandoned: the marker was refused and abandoned,
// and the record never came in again. The name is kept or gone, the record was here or not,
// and an edit that nobody else has is lost.
func TestARecordComesBackWhenItsRefusedPurgeIsAbandoned(t *testing.T) {
	for name, vacuum := range map[string]bool{"named": false, "vacuumed": true} {
		t.Run(name, func(t *testing.T) {
			ctx, net := context.Background(), network(t)
			hub, a := open(t, nil), open(t, nil)
			admit(t, net, "hub", hub, user(""))
			link := net.Link("a", "hub")
			put(t, hub, "1", `{"v":1}`)
			put(t, hub, "other", `{"v":1}`)
			require.NoError(t, hub.Tag(ctx, key("1"), "draft", heads(t, hub, "1")))
			syncOnly(t, a, link)
			put(t, a, "1", `{"v":2}`)
			syncOnly(t, a, link)
			put(t, a, "1", `{"v":"unsent"}`)

			for range 2 { // the second time the row that has no name is in nobody's way
				purge(t, a, "1", "2")
				requireNotRefused(t, a, "1")
				if vacuum {
					compact(t, a, &replica.CompactOptions{Vacuum: true})
				}
				_, err := a.Sync(ctx, link)
				require.Error(t, err)
				put(t, hub, "2", `{"v":1}`)
				_, err = a.Sync(ctx, link)
				require.Error(t, err)
				requirePurged(t, a, "1")
				requirePurged(t, a, "2")
				require.Len(t, refusals(t, a), 1, "of the set with both")

				done, err := a.Abandon(ctx, []crdt.Key{markerFor("1")}, nil)
				require.NoError(t, err)
				require.Equal(t, 2, done.Changes)
				for _, id := range []string{"1", "2"} {
					requireAbsent(t, a, id)
				}
				tags, err := a.Tags(ctx, key("1"))
				require.NoError(t, err)
				require.Empty(t, tags)
				require.Empty(t, outbox(t, a, replica.OutboxFilter{}))
				requireClean(t, a)
				done2, err := a.Repair(ctx)
				require.NoError(t, err)
				require.Equal(t, replica.Repaired{}, done2)
				stats(t, a)

				require.Zero(t, syncOnly(t, a, link).Refused)
				require.Equal(t, `{"v":2}`, get(t, a, "1"))
				require.Equal(t, `{"v":1}`, get(t, a, "2"))
				tags, err = a.Tags(ctx, key("1"))
				require.NoError(t, err)
				require.Len(t, tags, 1)
				requireEqual(t, hub, a)
				requireSame(t, a, link)
				requireNotRefused(t, a, "1")
			}
			put(t, a, "1", `{"v":3}`)
			syncOnly(t, a, link)
			require.Equal(t, `{"v":3}`, get(t, hub, "1"))
			requireEqual(t, hub, a)
		})
	}
}

// stats checks that no collection without a name is counted.
func stats(t testing.TB, r *replica.Replica) {
	t.Helper()
	st, err := r.Stats(context.Background())
	require.NoError(t, err)
	for _, c := range st.Collections {
		require.NotEmpty(t, c.Name)
	}
}

func requireNotRefused(t testing.TB, r *replica.Replica, id string) {
	t.Helper()
	_, err := r.Abandon(context.Background(), []crdt.Key{markerFor(id)}, nil)
	require.ErrorIs(t, err, replica.ErrNotRefused)
}

// TestNoNumberTwiceAfterAnAbandonedPurge: the record is written anew before it has come back,
// by the process that abandoned and by another one that wrote it before.
func TestNoNumberTwiceAfterAnAbandonedPurge(t *testing.T) {
	for _, again := range []string{"the same process", "another process", "in Abandon"} {
		t.Run(again, func(t *testing.T) {
			ctx, net := context.Background(), network(t)
			hub := open(t, nil)
			admit(t, net, "hub", hub, user(""))
			path := filepath.Join(t.TempDir(), "a.db")
			a, b, c := openAt(t, path, nil), openAt(t, path, nil), openAt(t, path, nil)
			link := net.Link("a", "hub")
			put(t, a, "1", `{"v":1}`)
			put(t, b, "1", `{"v":1}`)
			put(t, c, "1", `{"v":2}`)
			syncOnly(t, a, link)
			purge(t, b, "1")
			_, err := a.Sync(ctx, link)
			require.Error(t, err)
			var keep func(*replica.Tx) error
			writes := map[string]*replica.Replica{"the same process": a, "another process": c}[again]
			if writes == nil {
				keep = func(tx *replica.Tx) error { return tx.Put(key("1"), map[string]any{"w": 3}) }
			}
			_, err = a.Abandon(ctx, []crdt.Key{markerFor("1")}, keep)
			require.NoError(t, err)
			if writes != nil {
				require.NoError(t, writes.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key("1"), map[string]any{"w": 3}) }))
			}
			syncOnly(t, a, link)
			syncOnly(t, a, link)
			for _, r := range []*replica.Replica{a, b, c, hub} {
				forks, err := r.Forks(ctx)
				require.NoError(t, err)
				require.Empty(t, forks)
				require.Equal(t, `{"v":2,"w":3}`, get(t, r, "1"))
			}
			requireEqual(t, hub, a, b, c)
		})
	}
}

// TestAPurgeThatOthersHaveIsNotAbandoned: one that was taken, and one of which another
// admin's marker is here too.
func TestAPurgeThatOthersHaveIsNotAbandoned(t *testing.T) {
	ctx, net := context.Background(), network(t)
	hub, a := open(t, nil), open(t, nil)
	admit(t, net, "hub", hub, user(""))
	link := net.Link("a", "hub")
	put(t, hub, "1", `{"v":1}`)
	syncOnly(t, a, link)
	purge(t, a, "1")
	_, err := a.Sync(ctx, link, replica.PushOnly())
	require.Error(t, err)
	purge(t, hub, "1")
	_, err = a.Sync(ctx, link)
	require.Error(t, err)
	_, err = a.Abandon(ctx, []crdt.Key{markerFor("1")}, nil)
	require.NoError(t, err)
	requirePurged(t, a, "1")
	syncOnly(t, a, link)
	requirePurged(t, a, "1")
	requireNotRefused(t, a, "1")
	requireNotRefused(t, hub, "1")
	requireEqual(t, hub, a)
}
