package crdt_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// commit authors one change and has the core take it in.
func (s *site) commit(v *crdt.View, edit func(*crdt.Edit)) *crdt.Change {
	s.t.Helper()
	e := s.h.Begin(s.actor, 2e12, v)
	edit(e)
	c, err := e.Commit("message")
	require.NoError(s.t, err)
	if c != nil {
		require.NoError(s.t, s.doc.LoadIncremental(c.Raw()))
	}
	return c
}

func (s *site) undo(v *crdt.View) {
	s.commit(v, func(e *crdt.Edit) {
		_, _, err := e.Undo()
		require.NoError(s.t, err)
	})
}

func (s *site) redo(v *crdt.View) {
	s.commit(v, func(e *crdt.Edit) {
		_, _, err := e.Redo()
		require.NoError(s.t, err)
	})
}

// TestRevertNewest: reverting what was done last restores the value that the view
// showed before, whatever was done, and the core loads what is written.
func TestRevertNewest(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			s := randomHistory(t, rng, 25)
			for range 15 {
				v := s.views[rng.IntN(len(s.views))]
				before := s.h.Value(v)
				c := s.commit(v, func(e *crdt.Edit) {
					for range 1 + rng.IntN(4) {
						s.edit(e, v)
					}
				})
				if c == nil {
					continue
				}
				after := s.h.Value(v)
				s.commit(v, func(e *crdt.Edit) {
					kept, err := e.Revert(c.Hash())
					require.NoError(t, err)
					require.Empty(t, kept)
				})
				requireAlike(t, before, s.h.Value(v))
				s.check()
				if rng.IntN(2) == 0 {
					continue
				}
				s.undo(v)
				requireAlike(t, after, s.h.Value(v))
				s.redo(v)
				requireAlike(t, before, s.h.Value(v))
				s.check()
			}
			s.reload()
		})
	}
}

// TestUndoAll undoes all that one replica did, step by step, and redoes it.
func TestUndoAll(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			s := newSite(t, rng, 0)
			values := []map[string]any{s.h.Value(nil)}
			for range 12 {
				c := s.commit(nil, func(e *crdt.Edit) {
					if rng.IntN(8) == 0 {
						require.NoError(t, e.Clear())
						return
					}
					for range 1 + rng.IntN(3) {
						s.edit(e, nil)
					}
				})
				if c != nil {
					values = append(values, s.h.Value(nil))
				}
			}
			at := len(values) - 1
			for range 3 * len(values) {
				if rng.IntN(3) > 0 && at > 0 {
					s.undo(nil)
					at--
				} else if at < len(values)-1 {
					s.redo(nil)
					at++
				}
				requireAlike(t, values[at], s.h.Value(nil))
				s.check()
			}
			s.reload()
		})
	}
}

// twoSites returns two sites that hold the same record.
func twoSites(t *testing.T, record map[string]any) (a, b *site) {
	rng := seeded(t, 1)
	a, b = newSite(t, rng, 0), newSite(t, rng, 1)
	a.commit(nil, func(e *crdt.Edit) { require.NoError(t, e.Put(nil, record, crdt.Merge)) })
	b.pull(a)
	return a, b
}

// TestRevertKeepsOthers: what somebody else did meanwhile stays.
func TestRevertKeepsOthers(t *testing.T) {
	put := func(path string, v any) func(*crdt.Edit) {
		return func(e *crdt.Edit) { require.NoError(t, e.Put(parsePath(t, path), v, crdt.Merge)) }
	}
	splice := func(pos, del int, s string) func(*crdt.Edit) {
		return func(e *crdt.Edit) { require.NoError(t, e.Splice(key("text"), pos, del, s)) }
	}
	insert := func(at int, v any) func(*crdt.Edit) {
		return func(e *crdt.Edit) { require.NoError(t, e.Insert(key("list"), at, v)) }
	}
	remove := func(path string) func(*crdt.Edit) {
		return func(e *crdt.Edit) { require.NoError(t, e.Delete(parsePath(t, path))) }
	}
	increment := func(by int64) func(*crdt.Edit) {
		return func(e *crdt.Edit) { require.NoError(t, e.Increment(key("n"), by)) }
	}
	tests := map[string]struct {
		mine, theirs, later func(*crdt.Edit) // theirs is concurrent, later comes after both
		want                string
		kept                []string
	}{
		"nothing else":           {mine: put("a", int64(2)), want: `{"a":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`},
		"another field":          {mine: put("a", int64(2)), theirs: put("b", int64(1)), want: `{"a":1,"b":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`},
		"set since":              {mine: put("a", int64(2)), later: put("a", int64(3)), want: `{"a":3,"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`, kept: []string{"a"}},
		"deleted since":          {mine: put("a", int64(2)), later: remove("a"), want: `{"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`, kept: []string{"a"}},
		"in conflict":            {mine: put("a", int64(2)), theirs: put("a", int64(3)), want: `{"a":3,"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`, kept: []string{"a"}},
		"an addition":            {mine: put("c", "x"), theirs: put("b", int64(1)), want: `{"a":1,"b":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`},
		"a map edited since":     {mine: put("c", map[string]any{"y": 1}), later: put("c.z", int64(2)), want: `{"a":1,"c":{"y":1,"z":2},"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`, kept: []string{"c"}},
		"in a map removed since": {mine: put("m.x", int64(2)), later: remove("m"), want: `{"a":1,"list":[1,2,3],"n":5,"text":"hello"}`, kept: []string{"m"}},
		"a counter":              {mine: increment(3), theirs: increment(10), want: `{"a":1,"list":[1,2,3],"m":{"x":1},"n":15,"text":"hello"}`},
		"a counter set since":    {mine: increment(3), later: put("n", "none"), want: `{"a":1,"list":[1,2,3],"m":{"x":1},"n":"none","text":"hello"}`, kept: []string{"n"}},
		"text inserted":          {mine: splice(5, 0, " world"), theirs: splice(0, 1, "J"), want: `{"a":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"Jello"}`},
		"text inserted between":  {mine: splice(2, 0, "XX"), later: splice(3, 0, "-"), want: `{"a":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"he-llo"}`},
		"text deleted":           {mine: splice(1, 3, ""), theirs: splice(2, 0, "-"), want: `{"a":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"he-llo"}`},
		"list inserted":          {mine: insert(1, "new"), theirs: insert(0, "first"), want: `{"a":1,"list":["first",1,2,3],"m":{"x":1},"n":5,"text":"hello"}`},
		"list element deleted":   {mine: remove("list[1]"), theirs: insert(1, "x"), want: `{"a":1,"list":[1,"x",2,3],"m":{"x":1},"n":5,"text":"hello"}`},
		"element edited since":   {mine: insert(1, "new"), later: put("list[1]", "newer"), want: `{"a":1,"list":[1,"newer",2,3],"m":{"x":1},"n":5,"text":"hello"}`, kept: []string{"list[1]"}},
		"element revived":        {mine: remove("list[1]"), theirs: put("list[1]", "kept"), want: `{"a":1,"list":[1,"kept",3],"m":{"x":1},"n":5,"text":"hello"}`},
		"removal of all":         {mine: func(e *crdt.Edit) { require.NoError(t, e.Clear()) }, later: put("b", int64(1)), want: `{"a":1,"b":1,"list":[1,2,3],"m":{"x":1},"n":5,"text":"hello"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := twoSites(t, map[string]any{"a": 1, "text": crdt.Text("hello"), "n": crdt.Counter(5), "list": []any{1, 2, 3}, "m": map[string]any{"x": 1}})
			c := a.commit(nil, tt.mine)
			if tt.theirs != nil {
				b.commit(nil, tt.theirs)
				a.pull(b)
			}
			b.pull(a)
			if tt.later != nil {
				b.commit(nil, tt.later)
				a.pull(b)
			}
			var kept []string
			a.commit(nil, func(e *crdt.Edit) {
				paths, err := e.Revert(c.Hash())
				require.NoError(t, err)
				for _, p := range paths {
					kept = append(kept, p.String())
				}
			})
			require.Equal(t, tt.want, jsonOf(t, a.h, nil))
			require.Equal(t, tt.kept, kept)
			a.check()
			a.reload()
		})
	}
}

// TestUndoState: what is to be undone next is known from the history alone.
func TestUndoState(t *testing.T) {
	a, b := twoSites(t, map[string]any{"a": 1})
	again := func() *site { // the same replica in another incarnation
		s := newSite(t, a.rng, 0)
		s.id, s.actor = a.id, a.id.Actor([8]byte{9, byte(a.h.Len())})
		s.pull(a)
		return s
	}
	put := func(s *site, v int) {
		s.commit(nil, func(e *crdt.Edit) { require.NoError(t, e.Put(key("a"), v, crdt.Merge)) })
	}
	put(a, 2)
	b.pull(a)
	put(b, 7)
	a.pull(b)
	put(a, 3)
	a.undo(nil)
	require.Equal(t, `{"a":7}`, jsonOf(t, a.h, nil))
	a = again()
	a.undo(nil) // b has set the field since: kept, and the next one's turn
	require.Equal(t, `{"a":7}`, jsonOf(t, a.h, nil))
	a.redo(nil)
	a.redo(nil)
	require.Equal(t, `{"a":3}`, jsonOf(t, a.h, nil))
	a = again()
	a.undo(nil)
	put(a, 4)
	e := a.h.Begin(a.actor, 2e12, nil)
	_, _, err := e.Redo()
	require.ErrorIs(t, err, crdt.ErrNothingToRedo)
	require.ErrorIs(t, err, crdt.ErrEdit)
	undo, redo := a.h.UndoState(a.actor)
	require.Len(t, undo, 3)
	require.Empty(t, redo)
	for range undo {
		a.undo(nil)
	}
	_, _, err = a.h.Begin(a.actor, 2e12, nil).Undo()
	require.ErrorIs(t, err, crdt.ErrNothingToUndo)
	_, err = a.h.Begin(a.actor, 2e12, nil).Revert(crdt.Hash{1})
	require.ErrorIs(t, err, crdt.ErrUnknownChange)
	a.reload()

	e = a.h.Begin(a.actor, 2e12, nil)
	require.NoError(t, e.Put(key("z"), 1, crdt.Merge))
	_, _, err = e.Redo()
	require.ErrorContains(t, err, "come first in their change")
}

func parsePath(t testing.TB, s string) crdt.Path {
	p, err := crdt.ParsePath(s)
	require.NoError(t, err)
	return p
}
