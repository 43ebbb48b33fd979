package replica_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

func purge(t testing.TB, r *replica.Replica, ids ...string) replica.Purging {
	t.Helper()
	n, err := r.Purge(context.Background(), keys(ids...)...)
	require.NoError(t, err)
	return n
}

// requirePurged checks that the record is gone to everybody who asks, and barred.
func requirePurged(t testing.TB, r *replica.Replica, id string) {
	t.Helper()
	ctx, k := context.Background(), key(id)
	_, err := r.Get(ctx, k)
	require.ErrorIs(t, err, replica.ErrPurged)
	require.ErrorIs(t, err, replica.ErrNotFound)
	_, err = r.History(ctx, k)
	require.ErrorIs(t, err, replica.ErrPurged)
	_, err = r.Heads(ctx, k)
	require.ErrorIs(t, err, replica.ErrPurged)
	_, err = r.Export(ctx, k)
	require.ErrorIs(t, err, replica.ErrPurged)
	for _, err := range r.Receipts(ctx, k) {
		require.ErrorIs(t, err, replica.ErrPurged)
	}
	for _, try := range []func(tx *replica.Tx) error{
		func(tx *replica.Tx) error { return tx.Put(k, map[string]any{"v": 99}) },
		func(tx *replica.Tx) error { return tx.Delete(k) },
		func(tx *replica.Tx) error { _, err := tx.Get(k); return err },
	} {
		require.ErrorIs(t, r.Update(ctx, try), replica.ErrPurged)
	}
	h := crdt.NewHistory()
	edit := h.Begin("sixteen bytes!!!", 1, nil)
	require.NoError(t, edit.Put(nil, map[string]any{"v": 99}, crdt.Merge))
	c, err := edit.Commit("")
	require.NoError(t, err)
	_, err = r.Import(ctx, k, c.Raw())
	require.ErrorIs(t, err, replica.ErrPurged)
	require.NotContains(t, ids(t, r), id)
	e, err := r.Explain(ctx, k)
	require.NoError(t, err)
	require.Equal(t, replica.ReasonPurged, e.Reasons[0].Code, e.String())
	for out, err := range r.Outbox(ctx, replica.OutboxFilter{Synced: true}) {
		require.NoError(t, err)
		require.NotContains(t, out.Records, k)
	}
	held, err := r.Held(ctx)
	require.NoError(t, err)
	for _, h := range held {
		require.NotContains(t, h.Records, k)
	}
	for _, f := range refusals(t, r) {
		require.NotContains(t, f, id+":")
	}
	requireClean(t, r)
	st, err := r.Stats(ctx)
	require.NoError(t, err)
	for _, c := range st.Collections {
		require.NotEmpty(t, c.Name)
		require.Zero(t, c.Deleted, "what is purged is not counted")
	}
	done, err := r.Repair(ctx)
	require.NoError(t, err)
	require.Equal(t, replica.Repaired{}, done)
}

// fileHas reports whether the bytes stand anywhere in the replica's file or its WAL.
func fileHas(t testing.TB, r *replica.Replica, text string) bool {
	t.Helper()
	found := false
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(r.Path() + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		found = found || strings.Contains(string(b), text)
	}
	return found
}

// together edits several records in one change set.
func together(t testing.TB, r *replica.Replica, v any, ids ...string) crdt.LSN {
	t.Helper()
	lsn, err := r.UpdateLSN(context.Background(), func(tx *replica.Tx) error {
		for _, id := range ids {
			if err := tx.Put(key(id), map[string]any{"v": v}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return lsn
}

// TestPurge leaves nothing of a record at a hub, and at the other leaf, which was not
// there: not its value, its earlier values, its tags nor its name.
func TestPurge(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	hub, a, b := open(t, &replica.Options{Keeper: true}), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	needle, name := strings.Repeat("needle", 9), "her-name-is-ann"
	require.NoError(t, a.EnsureIndex(ctx, "notes", "v"))
	require.NoError(t, a.BuildIndexes(ctx))
	for i := range 40 {
		put(t, a, name, fmt.Sprintf(`{"v":"%s","n":%d}`, needle, i))
	}
	require.Equal(t, 1, compact(t, a, &replica.CompactOptions{MinBytes: 1000}).Records)
	put(t, a, name, `{"v":"`+needle+` once more"}`)
	require.NoError(t, a.Tag(ctx, key(name), "draft", heads(t, a, name)))
	together(t, a, needle[:20], name, "other")
	syncOnly(t, a, net.Link("a", "hub"))
	syncOnly(t, b, net.Link("b", "hub"))
	requireEqual(t, hub, a, b)

	require.Equal(t, replica.Purging{Purged: 1, Unknown: 1}, purge(t, a, name, "never"))
	require.Equal(t, replica.Purging{Already: 2}, purge(t, a, name, "never"))
	syncOnly(t, a, net.Link("a", "hub"))
	syncOnly(t, b, net.Link("b", "hub"))
	for i, r := range []*replica.Replica{a, hub, b} {
		requirePurged(t, r, name)
		requirePurged(t, r, "never")
		require.Equal(t, []string{"other"}, ids(t, r))
		tags, err := r.Tags(ctx, key(name))
		require.NoError(t, err)
		require.Empty(t, tags)
		require.True(t, fileHas(t, r, "needle"), "the search works")
		compact(t, r, &replica.CompactOptions{Vacuum: true})
		require.False(t, fileHas(t, r, needle), "replica %d", i)
		require.False(t, fileHas(t, r, name), "replica %d", i)
		requirePurged(t, r, name)
		require.Equal(t, replica.Purging{Already: 1}, purge(t, r, name))
	}
	requireEqual(t, hub, a, b)
	require.Equal(t, replica.Counts{}, moved(syncOnly(t, b, net.Link("b", "hub"))))
	v := verify(t, a, net.Link("a", "hub"))
	require.True(t, v.Equal())
	require.Equal(t, 3, v.Records, "the other one, and two markers")
	n, err := b.Forget(ctx, net.Link("b", "hub"), keys(name))
	require.NoError(t, err)
	require.Equal(t, replica.Forgetting{Kept: map[crdt.Key]string{key(name): replica.KeptPurged}}, n)
	_, err = b.Fetch(ctx, net.Link("b", "hub"), key(name))
	require.ErrorIs(t, err, replica.ErrPurged)
	n, err = b.Forget(ctx, net.Link("b", "hub"), keys("other"))
	require.NoError(t, err)
	require.Equal(t, 1, n.Forgotten, "what it purged does not keep a hub from being a keeper")
	require.Equal(t, replica.Purging{Purged: 1}, purge(t, b, "other"), "what was forgotten too")
	syncOnly(t, b, net.Link("b", "hub"))
	requirePurged(t, b, "other")
	requirePurged(t, hub, "other")
}

// TestALateReplicaCannotBringAPurgedRecordBack: it was away, has edited the record since,
// alone and together with another, and meets those who have purged it in every order.
func TestALateReplicaCannotBringAPurgedRecordBack(t *testing.T) {
	for _, way := range []string{"it dials", "it is dialled", "it only pushes", "it only pulls", "it has a selector", "live", "another epoch", "through a third"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			ctx, net := context.Background(), network(t)
			hub, late, third := open(t, &replica.Options{Space: "crew"}), open(t, nil), open(t, nil)
			serve(t, net, "hub", hub)
			serve(t, net, "late", late)
			link := net.Link("late", "hub")
			put(t, hub, "ann", `{"v":1}`)
			put(t, hub, "bob", `{"v":1}`)
			syncOnly(t, late, link)
			syncOnly(t, third, net.Link("third", "late"))
			put(t, late, "ann", `{"v":2}`)
			lsn := together(t, late, "both", "ann", "bob")
			put(t, late, "ann", `{"v":3}`)
			require.NoError(t, hub.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key("ann"), map[string]any{"w": 1}) }))
			purge(t, hub, "ann")
			if way == "another epoch" {
				put(t, late, "cid", `{"v":1}`)
				backup := filepath.Join(t.TempDir(), "copy.db")
				require.NoError(t, late.Backup(ctx, backup, nil))
				late = openAt(t, backup, nil)
			}

			only := replica.Only(transport.Scope{Only: []transport.Selector{{Collection: "notes", ID: "bob"}}})
			pushed := false
			switch way {
			case "it is dialled":
				syncOnly(t, hub, net.Link("hub", "late"))
			case "it only pushes":
				n := syncOnly(t, late, link, replica.PushOnly())
				require.Zero(t, n.Refused)
				require.Equal(t, `{"v":3}`, get(t, late, "ann"), "it has not heard of it")
				require.NoError(t, late.WaitFor(ctx, lsn), "what is purged counts as there")
				for out := range late.Outbox(ctx, replica.OutboxFilter{}) {
					t.Errorf("outbox: %+v", out)
				}
				require.Empty(t, refusals(t, late))
				require.Zero(t, syncOnly(t, late, link, replica.PushOnly()).ChangesSent)
				pushed = true
			case "it only pulls":
				syncOnly(t, late, link, replica.PullOnly())
				requirePurged(t, late, "ann")
			case "it has a selector":
				syncOnly(t, late, link, only)
				requirePurged(t, late, "ann")
			case "live":
				c, err := late.Connect(link)
				require.NoError(t, err)
				require.Eventually(t, func() bool {
					_, err := late.Get(ctx, key("ann"))
					return errors.Is(err, replica.ErrPurged) && get(t, hub, "bob") == `{"v":"both"}`
				}, wait, tick)
				require.NoError(t, c.Close())
			case "through a third":
				syncOnly(t, third, net.Link("third", "late"))
				require.Equal(t, `{"v":3,"w":1}`[:6], get(t, third, "ann")[:6])
				syncOnly(t, third, net.Link("third", "hub"))
				requirePurged(t, third, "ann")
				syncOnly(t, third, net.Link("third", "late"))
			}
			if !pushed {
				requirePurged(t, hub, "ann")
			}
			syncOnly(t, late, link)
			syncOnly(t, late, link)
			syncOnly(t, third, net.Link("third", "hub"))
			syncOnly(t, third, net.Link("third", "late"))
			for _, r := range []*replica.Replica{hub, late, third} {
				requirePurged(t, r, "ann")
				require.Equal(t, `{"v":"both"}`, get(t, r, "bob"), "the rest of the set is taken")
			}
			require.NoError(t, late.WaitFor(ctx, lsn))
			v := verify(t, late, link)
			require.True(t, v.Equal(), "%+v", v)
			require.Zero(t, verify(t, hub, net.Link("hub", "late")).Differing)
			require.Equal(t, replica.Counts{}, moved(syncOnly(t, late, link)))
			requireEqual(t, hub, third)
		})
	}
}

// TestPurgeComparedBefore names a record as purged while the other side has not heard of it.
func TestPurgeComparedBefore(t *testing.T) {
	net := network(t)
	hub, late := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	serve(t, net, "late", late)
	for i := range 50 {
		put(t, hub, fmt.Sprint(i), `{"v":1}`)
	}
	syncOnly(t, late, net.Link("late", "hub"))
	require.True(t, verify(t, late, net.Link("late", "hub")).Equal(), "so that there are trees")
	purge(t, hub, "7")
	require.Equal(t, map[string]string{"7": replica.DiffersPurged, markerID(t, hub): replica.DiffersThere}, named(verify(t, hub, net.Link("hub", "late"))))
	require.Equal(t, map[string]string{"7": replica.DiffersThere, markerID(t, hub): replica.DiffersHere}, named(verify(t, late, net.Link("late", "hub"))))
	require.Equal(t, 1, syncOnly(t, late, net.Link("late", "hub")).ChangesReceived)
	require.True(t, verify(t, late, net.Link("late", "hub")).Equal())
	require.True(t, verify(t, hub, net.Link("hub", "late")).Equal())
}

// markerID returns the ID of the only marker.
func markerID(t testing.TB, r *replica.Replica) (id string) {
	t.Helper()
	for it, err := range r.List(context.Background(), "_godwit", 0) {
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(it.Key.ID, "purged-"))
		require.Empty(t, id)
		id = it.Key.ID
	}
	return id
}
