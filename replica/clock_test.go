package replica_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// lastTime returns the time of the record's last change, in milliseconds since 1970.
func lastTime(t *testing.T, r *replica.Replica, id string) int64 {
	h, err := r.History(context.Background(), key(id))
	require.NoError(t, err)
	all := slices.Collect(h.Changes())
	return all[len(all)-1].Time()
}

var latest = crdt.Policy{Default: "lww"}

// A peer of the year 2100 takes a replica's clock along as far as the bound, and a clock
// that is put back by ten years does not take it back, whether the file stays open or not.
func TestRemoteClocksAreBounded(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "r.db")
	opts := &replica.Options{Now: func() time.Time { return wall }, MaxClockAhead: time.Minute}
	r, err := replica.Open(t.Context(), path, opts)
	require.NoError(t, err)
	ahead := open(t, &replica.Options{Now: func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }})
	put(t, ahead, "far", `{"v":1}`)
	net := network(t)
	serve(t, net, "ahead", ahead)
	syncWith(t, r, net.Link("r", "ahead"))

	put(t, r, "mine", `{"v":1}`)
	written := lastTime(t, r, "mine")
	require.Equal(t, wall.Add(time.Minute).UnixMilli(), written)
	wall = wall.AddDate(-10, 0, 0)
	put(t, r, "mine", `{"v":2}`)
	require.Equal(t, written, lastTime(t, r, "mine"))
	require.NoError(t, r.Close())

	r = openAt(t, path, opts)
	put(t, r, "mine", `{"v":3}`)
	require.Equal(t, wall.Add(time.Minute).UnixMilli(), lastTime(t, r, "mine"), "the bound holds for its own last life, too")
	syncWith(t, r, net.Link("r", "ahead"))
	requireEqual(t, r, ahead)
	require.Equal(t, `{"v":3}`, get(t, ahead, "mine"), "an edit that saw another comes after it, whatever the clocks say")
}

// Last write wins compares what raced, nothing else: a field that a peer of the year 2100
// wrote is its own until somebody writes it who has seen that.
func TestLWWComparesConcurrentOnly(t *testing.T) {
	a := open(t, nil)
	ahead := open(t, &replica.Options{Now: func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }})
	for _, r := range []*replica.Replica{a, ahead} {
		require.NoError(t, r.SetPolicy(t.Context(), "notes", latest, nil))
	}
	net := network(t)
	serve(t, net, "ahead", ahead)
	link := net.Link("a", "ahead")
	put(t, a, "1", `{"raced":0,"calm":0}`)
	syncWith(t, a, link)

	put(t, ahead, "1", `{"raced":"ahead"}`)
	put(t, a, "1", `{"raced":"a","calm":"a"}`)
	syncWith(t, a, link)
	requireEqual(t, a, ahead)
	require.Equal(t, `{"calm":"a","raced":"ahead"}`, get(t, a, "1"))

	put(t, a, "1", `{"raced":"a again"}`)
	syncWith(t, a, link)
	requireEqual(t, a, ahead)
	require.Equal(t, `{"calm":"a","raced":"a again"}`, get(t, ahead, "1"))
}
