package crdt_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// tombstones is a plain model of a text: every character that ever was.
type tombstones []struct {
	char rune
	dead bool
}

// place returns the index of the visible character pos, the length for the end.
func (m tombstones) place(pos int) int {
	for i := range m {
		if m[i].dead {
			continue
		}
		if pos == 0 {
			return i
		}
		pos--
	}
	return len(m)
}

func (m tombstones) visible(end int) (n int) {
	for i := range m[:end] {
		if !m[i].dead {
			n++
		}
	}
	return n
}

// TestAnchorsEqualModel edits one text and holds anchors against the model, where
// each stands at its character, dead or alive.
func TestAnchorsEqualModel(t *testing.T) {
	rng := seeded(t, 11)
	h := crdt.NewHistory()
	put(t, h, "t", crdt.Text(""), crdt.Merge)
	var model tombstones
	type bound struct {
		crdt.Anchor
		char  rune
		ahead bool
	}
	var anchors []bound
	next := rune(0x4E00)
	for range 400 {
		n := model.visible(len(model))
		pos, del, ins := rng.IntN(n+1), 0, rng.IntN(6)
		if rng.IntN(3) == 0 {
			del = min(n-pos, rng.IntN(8))
		}
		s := ""
		for range ins {
			s += string(next)
			next++
		}
		commit(t, h, func(e *crdt.Edit) error { return e.Splice(textPath, pos, del, s) })
		behind := 0
		if pos > 0 {
			behind = model.place(pos-1) + 1
		}
		for range del {
			model[model.place(pos)].dead = true
		}
		for i, r := range []rune(s) {
			model = slices.Insert(model, behind+i, struct {
				char rune
				dead bool
			}{r, false})
		}
		n = model.visible(len(model))
		at, side := rng.IntN(n+1), crdt.Side(rng.IntN(2))
		a, err := h.AnchorAt(textPath, nil, at, side)
		require.NoError(t, err)
		got, err := h.Position(textPath, nil, a)
		require.NoError(t, err)
		require.Equal(t, at, got)
		if side == crdt.Ahead && at > 0 {
			anchors = append(anchors, bound{a, model[model.place(at-1)].char, true})
		} else if side == crdt.Behind && at < n {
			anchors = append(anchors, bound{a, model[model.place(at)].char, false})
		}
		for _, b := range anchors {
			i := slices.IndexFunc(model, func(c struct {
				char rune
				dead bool
			}) bool {
				return c.char == b.char
			})
			if b.ahead {
				i++
			}
			got, err := h.Position(textPath, nil, b.Anchor)
			require.NoError(t, err)
			require.Equal(t, model.visible(i), got)
		}
	}
}

// TestAnchorsAcrossSites binds an anchor on one site and finds it on the other,
// after both have edited.
func TestAnchorsAcrossSites(t *testing.T) {
	a, b := crdt.NewHistory(), crdt.NewHistory()
	put(t, a, "t", crdt.Text("hello world"), crdt.Merge)
	pullAll(t, b, a)
	w, err := a.AnchorAt(textPath, nil, 6, crdt.Behind)
	require.NoError(t, err)
	o, err := a.AnchorAt(textPath, nil, 5, crdt.Ahead)
	require.NoError(t, err)
	require.NoError(t, editAs(b, replica2, func(e *crdt.Edit) error { return e.Splice(textPath, 0, 0, "oh, ") }))
	require.NoError(t, editAs(a, replica1, func(e *crdt.Edit) error { return e.Splice(textPath, 5, 1, " big ") }))
	pullAll(t, b, a)
	for anchor, want := range map[crdt.Anchor]string{w: "oh, hello big |world", o: "oh, hello| big world"} {
		pos, err := b.Position(textPath, nil, anchor)
		require.NoError(t, err)
		text := string(h0(b))
		require.Equal(t, want, text[:pos]+"|"+text[pos:])
	}
}

func editAs(h *crdt.History, r crdt.ReplicaID, fn func(*crdt.Edit) error) error {
	e := h.Begin(r.Actor([8]byte{}), 2e12, nil)
	if err := fn(e); err != nil {
		return err
	}
	_, err := e.Commit("")
	return err
}

// TestAnchorsOfLists follows a list element through overwriting and deletion.
func TestAnchorsOfLists(t *testing.T) {
	h := crdt.NewHistory()
	put(t, h, "l", []any{"a", "b", "c"}, crdt.Merge)
	list := pathOf(t, "l")
	a, err := h.AnchorAt(list, nil, 1, crdt.Behind)
	require.NoError(t, err)
	commit(t, h, func(e *crdt.Edit) error { return e.Insert(list, 0, "x") })
	commit(t, h, func(e *crdt.Edit) error { return e.Put(pathOf(t, "l[2]"), "B", crdt.Merge) })
	pos, err := h.Position(list, nil, a)
	require.NoError(t, err)
	require.Equal(t, 2, pos)
	// JavaScript binds cursors to the operation that was seen, here the later one.
	last := ""
	for c := range h.Changes() {
		last = crdt.OpID{Counter: c.MaxOp(), Actor: c.Actor()}.String()
	}
	js, err := crdt.ParseAnchor(last)
	require.NoError(t, err)
	pos, err = h.Position(list, nil, js)
	require.NoError(t, err)
	require.Equal(t, 2, pos)
	commit(t, h, func(e *crdt.Edit) error { return e.Delete(pathOf(t, "l[2]")) })
	pos, err = h.Position(list, nil, a)
	require.NoError(t, err)
	require.Equal(t, 2, pos)
}

// TestAnchorsInViews counts positions in what a view shows: one that hides an
// element that this replica deleted, and one that shows the record as of one branch.
func TestAnchorsInViews(t *testing.T) {
	a, b := crdt.NewHistory(), crdt.NewHistory()
	put(t, a, "l", []any{"x", "y", "z"}, crdt.Merge)
	put(t, a, "t", crdt.Text("abc"), crdt.Merge)
	pullAll(t, b, a)
	list := pathOf(t, "l")
	anchor, err := a.AnchorAt(list, nil, 2, crdt.Behind)
	require.NoError(t, err)
	hidden, err := a.AnchorAt(list, nil, 1, crdt.Ahead)
	require.NoError(t, err)
	require.NoError(t, editAs(a, replica1, func(e *crdt.Edit) error { return e.Delete(pathOf(t, "l[0]")) }))
	require.NoError(t, editAs(b, replica2, func(e *crdt.Edit) error {
		require.NoError(t, e.Splice(textPath, 1, 1, ""))
		return e.Put(pathOf(t, "l[0]"), "X", crdt.Merge)
	}))
	pullAll(t, a, b)
	length := a.Len()
	for name, want := range map[string][3]int{"automerge": {2, 1, 2}, "local": {1, 0, 2}, "whole-record-lww": {2, 1, 2}} {
		v, err := crdt.Policy{Default: name}.View(replica1)
		require.NoError(t, err)
		shown := a.Value(v)
		for i, x := range []crdt.Anchor{anchor, hidden} {
			pos, err := a.Position(list, v, x)
			require.NoError(t, err)
			require.Equal(t, want[i], pos, "%s: %v", name, shown)
		}
		n, err := a.Convert(textPath, v, want[2], crdt.UTF8, crdt.CodePoints)
		require.NoError(t, err)
		require.Equal(t, want[2], n)
		for pos := range shown["l"].([]any) {
			x, err := a.AnchorAt(list, v, pos, crdt.Behind)
			require.NoError(t, err)
			got, err := a.Position(list, v, x)
			require.NoError(t, err)
			require.Equal(t, pos, got)
		}
	}
	require.Equal(t, length, a.Len(), "reading writes nothing")
}

func TestAnchorEnds(t *testing.T) {
	h := crdt.NewHistory()
	put(t, h, "t", crdt.Text("ab"), crdt.Merge)
	for s, want := range map[string]int{"s": 0, "e": 4} {
		a, err := h.AnchorAt(textPath, nil, want/4*2, map[string]crdt.Side{"s": crdt.Ahead, "e": crdt.Behind}[s])
		require.NoError(t, err)
		require.Equal(t, s, a.String())
		longer := crdt.NewHistory()
		pullAll(t, longer, h)
		commit(t, longer, func(e *crdt.Edit) error { return e.Splice(textPath, 0, 0, "x") })
		commit(t, longer, func(e *crdt.Edit) error { return e.Splice(textPath, 3, 0, "y") })
		pos, err := longer.Position(textPath, nil, a)
		require.NoError(t, err)
		require.Equal(t, want, pos)
	}
	b, err := json.Marshal(crdt.Anchor{})
	require.NoError(t, err)
	require.Equal(t, `"e"`, string(b))
}

func TestAnchorErrors(t *testing.T) {
	for s, want := range map[string]string{
		"": "want", "x": "want", "12": "want", "@aa": "counter", "0@aa": "counter", "01@aa": "counter",
		"+1@aa": "counter", "2147483648@aa": "counter", "1@": "actor", "1@a": "actor", "1@AA": "actor",
		"1@zz": "actor", "1@aa++": "actor", "-1@aa": "backwards", "s+": "want",
		"1@" + strings.Repeat("aa", 129): "actor",
	} {
		_, err := crdt.ParseAnchor(s)
		require.ErrorContains(t, err, want, s)
	}
	h := crdt.NewHistory()
	put(t, h, "t", crdt.Text("ab"), crdt.Merge)
	put(t, h, "u", crdt.Text("cd"), crdt.Merge)
	put(t, h, "m", map[string]any{"k": "v"}, crdt.Merge)
	for _, pos := range []int{-1, 3} {
		_, err := h.AnchorAt(textPath, nil, pos, crdt.Ahead)
		require.ErrorIs(t, err, crdt.ErrPlace)
	}
	a, err := h.AnchorAt(textPath, nil, 1, crdt.Ahead)
	require.NoError(t, err)
	_, err = h.Position(pathOf(t, "u"), nil, a)
	require.ErrorContains(t, err, "another list or text")
	for _, p := range []string{"m", "m.k", "x", "t[0]", "m.x.y", ""} {
		_, err = h.Position(pathOf(t, p), nil, a)
		require.ErrorIs(t, err, crdt.ErrPlace, p)
		_, err = h.AnchorAt(pathOf(t, p), nil, 0, crdt.Ahead)
		require.ErrorIs(t, err, crdt.ErrPlace, p)
	}
	_, author, _ := strings.Cut(strings.TrimSuffix(a.String(), "+"), "@")
	for _, s := range []string{"1@" + author, "999@" + author, "1@aa", "7@" + author} { // 1 and 7 are in maps
		a, err := crdt.ParseAnchor(s)
		require.NoError(t, err)
		_, err = h.Position(textPath, nil, a)
		require.ErrorIs(t, err, crdt.ErrPlace, s)
	}
}

// FuzzParseAnchor checks that what is read is what is written, and that looking it
// up in a history ends in a position or an error.
func FuzzParseAnchor(f *testing.F) {
	h := crdt.NewHistory()
	e := h.Begin(replica1.Actor([8]byte{}), 2e12, nil)
	require.NoError(f, e.Put(textPath, crdt.Text("héllo"), crdt.Merge))
	require.NoError(f, e.Mark(textPath, 1, 3, "b", true, crdt.ExpandAfter))
	require.NoError(f, e.Splice(textPath, 2, 1, ""))
	require.NoError(f, e.Put(crdt.Path{{Key: "l"}}, []any{int64(1), int64(2)}, crdt.Merge))
	_, err := e.Commit("")
	require.NoError(f, err)
	author := "@" + replica1.Actor([8]byte{}).String()
	for _, s := range []string{"s", "e", "2" + author, "3" + author + "+", "8" + author, "99" + author, "1@ab", "-1@ab", "1@ab++", "2147483647@00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := crdt.ParseAnchor(s)
		if err != nil {
			return
		}
		require.Equal(t, s, a.String())
		for path, length := range map[string]int{"t": 4, "l": 2} {
			pos, err := h.Position(crdt.Path{{Key: path}}, nil, a)
			if err != nil {
				require.ErrorIs(t, err, crdt.ErrPlace)
				continue
			}
			require.True(t, 0 <= pos && pos <= length)
		}
	})
}
