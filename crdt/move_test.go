package crdt_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// TestMove holds random moves against a plain slice, and against the core.
func TestMove(t *testing.T) {
	rng := seeded(t, 3)
	h := crdt.NewHistory()
	model := []any{"a", int64(1), map[string]any{"k": []any{true, 1.5}}, crdt.Counter(7), nil, []any{crdt.Text("tëxt"), []byte{1}}}
	list := pathOf(t, "l")
	put(t, h, "l", model, crdt.Merge)
	for range 60 {
		from, to := rng.IntN(len(model)), rng.IntN(len(model))
		v := model[from]
		model = slices.Insert(slices.Delete(slices.Clone(model), from, from+1), to, v)
		e := h.Begin(replica1.Actor([8]byte{}), 2e12, nil)
		require.NoError(t, e.Move(list, from, to))
		c, err := e.Commit("")
		require.NoError(t, err)
		require.Equal(t, from == to, c == nil)
		require.Equal(t, model, h.Value(nil)["l"])
	}
	mustEqualCore(t, h)
}

// TestMoveRichText copies what is in a text: characters, blocks, marks.
func TestMoveRichText(t *testing.T) {
	d := richTexts(t)[1]
	h := loadChunks(t, d.Changes)
	spans := plainSpans(t, h)
	require.NotEmpty(t, d.Marks)
	// The texts of the corpus stand in the root; put one into a list by hand.
	commit(t, h, func(e *crdt.Edit) error {
		require.NoError(t, e.Put(pathOf(t, "l"), []any{crdt.Text("abcdef"), "x"}, crdt.Merge))
		return nil
	})
	require.Equal(t, spans, plainSpans(t, h))
	text := pathOf(t, "l[0]")
	commit(t, h, func(e *crdt.Edit) error { return e.Mark(text, 1, 3, "bold", true, crdt.ExpandNone) })
	commit(t, h, func(e *crdt.Edit) error { return e.Mark(text, 2, 5, "link", "http://x", crdt.ExpandNone) })
	want, err := h.Spans(text, nil)
	require.NoError(t, err)
	require.Len(t, want, 5)
	commit(t, h, func(e *crdt.Edit) error { return e.Move(pathOf(t, "l"), 0, 1) })
	got, err := h.Spans(pathOf(t, "l[1]"), nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
	mustEqualCore(t, h)
}

// TestMoveConcurrently is what the documentation says of it: two copies.
func TestMoveConcurrently(t *testing.T) {
	a, b := crdt.NewHistory(), crdt.NewHistory()
	put(t, a, "l", []any{"x", "y", "z"}, crdt.Merge)
	pullAll(t, b, a)
	require.NoError(t, editAs(a, replica1, func(e *crdt.Edit) error { return e.Move(pathOf(t, "l"), 0, 2) }))
	require.NoError(t, editAs(b, replica2, func(e *crdt.Edit) error { return e.Move(pathOf(t, "l"), 0, 1) }))
	pullAll(t, a, b)
	pullAll(t, b, a)
	require.Equal(t, []any{"y", "x", "z", "x"}, a.Value(nil)["l"])
	require.Equal(t, a.Value(nil), b.Value(nil))
}

func TestMoveErrors(t *testing.T) {
	h := crdt.NewHistory()
	put(t, h, "l", []any{"x", "y"}, crdt.Merge)
	put(t, h, "t", crdt.Text("xy"), crdt.Merge)
	e := h.Begin(replica1.Actor([8]byte{}), 2e12, nil)
	for _, at := range [][2]int{{-1, 0}, {0, -1}, {2, 0}, {0, 2}} {
		require.ErrorIs(t, e.Move(pathOf(t, "l"), at[0], at[1]), crdt.ErrEdit)
	}
	require.ErrorContains(t, e.Move(textPath, 0, 1), "it is no list")
	require.ErrorContains(t, e.Move(pathOf(t, "x"), 0, 1), "no such field")
	c, err := e.Commit("")
	require.NoError(t, err)
	require.Nil(t, c)
}
