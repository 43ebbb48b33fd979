package crdt_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func TestPaths(t *testing.T) {
	a, _ := twoSites(t, map[string]any{"a": 1, "m": map[string]any{"x": []any{1, map[string]any{"y": 2}}}, "text": crdt.Text("abc")})
	paths := func(c *crdt.Change) (got []string) {
		for _, p := range a.h.Paths(c) {
			got = append(got, p.String())
		}
		return got
	}
	first := changesOf(a.h)[0]
	require.Equal(t, []string{"a", "m", "text"}, paths(first))
	c := a.commit(nil, func(e *crdt.Edit) {
		require.NoError(t, e.Splice(key("text"), 1, 1, "xyz"))
		require.NoError(t, e.Put(parsePath(t, "m.x[1].y"), 3, crdt.Merge))
		require.NoError(t, e.Put(parsePath(t, "m.new"), map[string]any{"deep": 1}, crdt.Merge))
	})
	require.Equal(t, []string{"m.new", "m.x[1].y", "text"}, paths(c))
	d := a.commit(nil, func(e *crdt.Edit) {
		require.NoError(t, e.Put(parsePath(t, "m.x[0]"), "one", crdt.Merge))
		require.NoError(t, e.Insert(parsePath(t, "m.x"), 0, "zero"))
		require.NoError(t, e.Delete(key("a")))
	})
	require.Equal(t, []string{"a", "m.x", "m.x[1]"}, paths(d))
	require.Equal(t, []string{"m.new", "m.x[2].y", "text"}, paths(c), "where it is today")
}

// TestPathsCover: what a change makes different lies where it has written.
func TestPathsCover(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := randomHistory(t, seeded(t, seed), 40)
			h := crdt.NewHistory()
			for c := range s.h.Changes() {
				diffs, err := h.AddDiff(c, nil)
				require.NoError(t, err)
				written := map[string]bool{}
				for _, p := range h.Paths(c) {
					written[p.String()] = true
					if p[len(p)-1].InList { // writing to a deleted element inserts it again
						written[p[:len(p)-1].String()] = true
					}
				}
				for _, d := range diffs {
					require.Contains(t, written, d.Path.String())
				}
			}
		})
	}
}
