package replica_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// TestTags: a tag names a point, replicates, and can be moved and removed.
func TestTags(t *testing.T) {
	ctx := context.Background()
	a, b := open(t, nil), open(t, nil)
	net := network(t)
	serve(t, net, "b", b)
	put(t, a, "1", `{"n":1}`)
	first, err := a.Heads(ctx, key("1"))
	require.NoError(t, err)
	require.NoError(t, a.Tag(ctx, key("1"), "v 1.0 — ü", first))
	put(t, a, "1", `{"n":2}`)
	syncWith(t, a, net.Link("a", "b"))
	require.NoError(t, a.Tag(ctx, key("1"), "mine", first))
	require.NoError(t, b.Tag(ctx, key("1"), "theirs", first))
	syncWith(t, a, net.Link("a", "b"))
	for _, r := range []*replica.Replica{a, b} {
		tags, err := r.Tags(ctx, key("1"))
		require.NoError(t, err)
		require.Equal(t, []replica.Tag{{"mine", first}, {"theirs", first}, {"v 1.0 — ü", first}}, tags)
		at, err := r.Point(ctx, key("1"), "v 1.0 — ü")
		require.NoError(t, err)
		value, err := r.GetAt(ctx, key("1"), at)
		require.NoError(t, err)
		require.JSONEq(t, `{"n":1}`, string(value))
	}
	now, err := a.Point(ctx, key("1"), "")
	require.NoError(t, err)
	require.NoError(t, a.Tag(ctx, key("1"), "mine", now))
	moved, err := a.Point(ctx, key("1"), "mine")
	require.NoError(t, err)
	require.Equal(t, now, moved)
	require.NoError(t, a.Untag(ctx, key("1"), "mine"))
	err = a.Untag(ctx, key("1"), "mine")
	require.ErrorIs(t, err, replica.ErrPoint)
	require.ErrorContains(t, err, "its tags are theirs, v 1.0 — ü")
	requireClean(t, a)
	requireClean(t, b)

	for _, name := range []string{"", "a,b", "a\nb", "\xff", "12", "2026-01-02T03:04:05Z", first[0].String(), string(make([]byte, 129))} {
		require.ErrorIs(t, a.Tag(ctx, key("1"), name, now), replica.ErrTag, "%q", name)
	}
	require.ErrorIs(t, a.Tag(ctx, key("1"), "x", crdt.Heads{{1}}), crdt.ErrUnknownChange)
	require.ErrorIs(t, a.Tag(ctx, key("1"), "x", nil), replica.ErrPoint)
	require.ErrorIs(t, a.Tag(ctx, key("2"), "x", nil), replica.ErrNotFound)
	tags, err := a.Tags(ctx, key("2"))
	require.NoError(t, err)
	require.Empty(t, tags)
}

// TestPoint: what names a point in a record's history, and what does not.
func TestPoint(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	r := open(t, &replica.Options{Now: func() time.Time { return now }})
	var heads []crdt.Heads
	for i := range 3 {
		put(t, r, "1", fmt.Sprintf(`{"n":%d}`, i))
		h, err := r.Heads(ctx, key("1"))
		require.NoError(t, err)
		heads = append(heads, h)
		now = now.Add(time.Hour)
	}
	for s, want := range map[string]crdt.Heads{
		"":                          heads[2],
		"2026-01-02T03:59:59Z":      heads[0],
		"2026-01-02T05:00:00+01:00": heads[1],
		"1767326400000":             heads[1],
		"2025-01-01T00:00:00Z":      {},
		heads[1][0].String():        heads[1],
		heads[1][0].String() + "," + heads[0][0].String(): {heads[1][0], heads[0][0]},
	} {
		got, err := r.Point(ctx, key("1"), s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	_, err := r.GetAt(ctx, key("1"), nil)
	require.ErrorIs(t, err, replica.ErrNotFound)
	for _, s := range []string{"2026-13-01T00:00:00Z", "yesterday", "99999999999999999999", heads[0][0].String()[1:], heads[0][0].String() + ","} {
		_, err := r.Point(ctx, key("1"), s)
		require.ErrorIs(t, err, replica.ErrPoint, s)
		require.ErrorContains(t, err, "the record has no tags")
	}
	_, err = r.Point(ctx, key("1"), crdt.Hash{1}.String())
	require.ErrorIs(t, err, crdt.ErrUnknownChange)
	_, err = r.Point(ctx, key("2"), "")
	require.ErrorIs(t, err, replica.ErrNotFound)

	diffs, err := r.Diff(ctx, key("1"), heads[0], heads[2])
	require.NoError(t, err)
	require.Equal(t, []crdt.Difference{{Kind: crdt.Changed, Path: crdt.Path{{Key: "n"}}, Before: int64(0), After: int64(2)}}, diffs)
	blame, err := r.Blame(ctx, key("1"), nil)
	require.NoError(t, err)
	require.Len(t, blame, 1)
	require.Equal(t, heads[2][0], blame[0].Hash)
	require.Equal(t, r.ID(), blame[0].Replica)
	_, err = r.Blame(ctx, key("1"), crdt.Path{{Key: "x"}})
	require.ErrorIs(t, err, crdt.ErrNoValue)
}

// TestUndoSurvivesRestart: undo and redo go on where they were after the file was
// closed and opened again, and do not touch what others did.
func TestUndoSurvivesRestart(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	var r *replica.Replica
	reopen := func() {
		if r != nil {
			require.NoError(t, r.Close())
		}
		var err error
		r, err = replica.Open(ctx, path, nil)
		require.NoError(t, err)
	}
	step := func(do func(*replica.Tx) error, want string) {
		t.Helper()
		require.NoError(t, r.Update(ctx, do))
		require.Equal(t, want, get(t, r, "1"))
		reopen()
	}
	undo := func(tx *replica.Tx) error { _, _, err := tx.Undo(key("1")); return err }
	redo := func(tx *replica.Tx) error { _, _, err := tx.Redo(key("1")); return err }
	reopen()
	put(t, r, "1", `{"a":1,"text":{"$text":"abc"}}`)
	put(t, r, "1", `{"a":2}`)
	put(t, r, "1", `{"text":"abcd"}`)
	reopen()
	step(undo, `{"a":2,"text":"abc"}`)
	step(undo, `{"a":1,"text":"abc"}`)
	step(redo, `{"a":2,"text":"abc"}`)
	step(undo, `{"a":1,"text":"abc"}`)
	step(redo, `{"a":2,"text":"abc"}`)
	step(redo, `{"a":2,"text":"abcd"}`)
	require.ErrorIs(t, r.Update(ctx, redo), crdt.ErrNothingToRedo)
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(key("1")) }))
	step(undo, `{"a":2,"text":"abcd"}`)
	step(undo, `{"a":2,"text":"abc"}`)
	step(undo, `{"a":1,"text":"abc"}`)
	require.NoError(t, r.Update(ctx, undo))
	_, err := r.Get(ctx, key("1"))
	require.ErrorIs(t, err, replica.ErrNotFound)
	require.ErrorIs(t, r.Update(ctx, undo), crdt.ErrNothingToUndo)
	step(redo, `{"a":1,"text":"abc"}`)
	requireClean(t, r)
	require.NoError(t, r.Close())
}

// TestWatchDiff: applying the differences of the events in turn gives what each
// record is, also for who begins with records that are there.
func TestWatchDiff(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a, b := open(t, nil), open(t, nil)
	net := network(t)
	serve(t, net, "b", b)
	put(t, a, "1", `{"text":{"$text":"hello"},"list":[1,2],"n":{"$counter":1}}`)
	syncWith(t, a, net.Link("a", "b"))
	h, err := a.History(ctx, key("1"))
	require.NoError(t, err)
	values := map[crdt.Key]map[string]any{key("1"): h.Value(nil)}
	events := a.Watch(ctx, "notes")

	put(t, a, "1", `{"text":"hello world","list":[0,1,2]}`)
	put(t, b, "1", `{"text":"Jello","n":5}`)
	put(t, b, "2", `{"new":true}`)
	syncWith(t, a, net.Link("a", "b"))
	require.NoError(t, a.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(key("2")) }))
	put(t, a, "1", `{"last":1}`)
	n := 0
	for ev, err := range events {
		require.NoError(t, err)
		n++
		value := values[ev.Key]
		if value == nil {
			value = map[string]any{}
		}
		values[ev.Key], err = crdt.Patch(value, ev.Diff)
		require.NoError(t, err)
		if len(ev.Diff) == 1 && ev.Diff[0].Path.String() == "last" {
			break
		}
	}
	require.Equal(t, 5, n)
	require.Empty(t, values[key("2")])
	text, err := crdt.AppendJSON(nil, values[key("1")])
	require.NoError(t, err)
	require.Equal(t, get(t, a, "1"), string(text))
}
