package crdt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// hiddenCase is an edit in what somebody else takes away at the same time.
type hiddenCase struct {
	start string
	takes func(*crdt.Edit) error
	edits func(*crdt.Edit) error
	path  string
	taken string // the record as automerge shows it
	kept  string // the record with the edit
	value string // of the hidden candidate
	rival string // of the other: "-" is a deletion
	again func(*crdt.Edit) error
	then  string // kept, after again
}

func hiddenCases(t testing.TB) map[string]hiddenCase {
	splicing := func(path string, pos int, s string) func(*crdt.Edit) error {
		return func(e *crdt.Edit) error { return e.Splice(pathOf(t, path), pos, 0, s) }
	}
	counting := func(path string, by int64) func(*crdt.Edit) error {
		return func(e *crdt.Edit) error { return e.Increment(pathOf(t, path), by) }
	}
	return map[string]hiddenCase{
		"element deleted, edited": {`{"l":[0,{"a":1,"b":2},3]}`, deleting(t, "l[1]"), putting(t, "l[1].a", `9`), "l[1]",
			`{"l":[0,3]}`, `{"l":[0,{"a":9,"b":2},3]}`, `{"a":9,"b":2}`, "-",
			putting(t, "l[1].b", `8`), `{"l":[0,{"a":9,"b":8},3]}`},
		"element overwritten, edited": {`{"l":[[1]]}`, putting(t, "l[0]", `7`), putting(t, "l[0][0]", `2`), "l[0]",
			`{"l":[7]}`, `{"l":[[2]]}`, `[2]`, "7",
			func(e *crdt.Edit) error { return e.Insert(pathOf(t, "l[0]"), 1, 3) }, `{"l":[[2,3]]}`},
		"counter in a list deleted, incremented": {`{"l":[{"$counter":1}]}`, deleting(t, "l[0]"), counting("l[0]", 2), "l[0]",
			`{"l":[]}`, `{"l":[3]}`, `3`, "-", counting("l[0]", 1), `{"l":[4]}`},
		"map deleted, edited": {`{"m":{"a":1},"w":0}`, deleting(t, "m"), putting(t, "m.b", `2`), "m",
			`{"w":0}`, `{"m":{"a":1,"b":2},"w":0}`, `{"a":1,"b":2}`, "-",
			putting(t, "m.c", `3`), `{"m":{"a":1,"b":2,"c":3},"w":0}`},
		"map deleted, edited deep inside": {`{"m":{"l":[{"x":1}]},"w":0}`, deleting(t, "m"), deleting(t, "m.l[0].x"), "m",
			`{"w":0}`, `{"m":{"l":[{}]},"w":0}`, `{"l":[{}]}`, "-",
			putting(t, "m.l[0].y", `3`), `{"m":{"l":[{"y":3}]},"w":0}`},
		"scalar over map": {`{"m":{"a":1}}`, putting(t, "m", `"s"`), putting(t, "m.a", `2`), "m",
			`{"m":"s"}`, `{"m":{"a":2}}`, `{"a":2}`, `"s"`, deleting(t, "m.a"), `{"m":{}}`},
		"new map over old": {`{"m":{"a":1}}`, func(e *crdt.Edit) error {
			if err := e.Delete(pathOf(t, "m")); err != nil {
				return err
			}
			return e.Put(pathOf(t, "m"), map[string]any{"b": 1}, crdt.Merge)
		}, putting(t, "m.a", `2`), "m",
			`{"m":{"b":1}}`, `{"m":{"a":2}}`, `{"a":2}`, `{"b":1}`, putting(t, "m.c", `3`), `{"m":{"a":2,"c":3}}`},
		"counter overwritten, incremented": {`{"c":{"$counter":1}}`, putting(t, "c", `"s"`), counting("c", 4), "c",
			`{"c":"s"}`, `{"c":5}`, `5`, `"s"`, counting("c", 2), `{"c":7}`},
		"counter overwritten by another, incremented": {`{"c":{"$counter":1}}`, func(e *crdt.Edit) error {
			if err := e.Delete(pathOf(t, "c")); err != nil {
				return err
			}
			return e.Put(pathOf(t, "c"), crdt.Counter(10), crdt.Merge)
		}, counting("c", 4), "c", `{"c":10}`, `{"c":5}`, `5`, `10`, putting(t, "c", `8`), `{"c":8}`},
		"counter deleted, incremented": {`{"c":{"$counter":1},"w":0}`, deleting(t, "c"), counting("c", 4), "c",
			`{"w":0}`, `{"c":5,"w":0}`, `5`, "-", putting(t, "c", `6`), `{"c":6,"w":0}`},
		"scalar over text": {`{"t":{"$text":"ab"}}`, putting(t, "t", `7`), splicing("t", 1, "x"), "t",
			`{"t":7}`, `{"t":"axb"}`, `"axb"`, "7", splicing("t", 0, "y"), `{"t":"yaxb"}`},
		"text deleted, spliced": {`{"t":{"$text":"ab"},"w":0}`, deleting(t, "t"), splicing("t", 2, "x"), "t",
			`{"w":0}`, `{"t":"abx","w":0}`, `"abx"`, "-", putting(t, "t", `"abz"`), `{"t":"abz","w":0}`},
		"list overwritten, inserted into": {`{"l":[1]}`, putting(t, "l", `null`),
			func(e *crdt.Edit) error { return e.Insert(key("l"), 1, 2) }, "l",
			`{"l":null}`, `{"l":[1,2]}`, `[1,2]`, "null", deleting(t, "l[0]"), `{"l":[2]}`},
	}
}

// TestHidden: who takes and who edits, in both orders of operation IDs, of times
// and of merging.
func TestHidden(t *testing.T) {
	for name, tt := range hiddenCases(t) {
		for order := range 8 {
			editorFirst, editorLater, reversed := order&1 > 0, order&2 > 0, order&4 > 0
			t.Run(fmt.Sprint(name, " ", order), func(t *testing.T) {
				tt.check(t, editorFirst, editorLater, reversed)
			})
		}
	}
}

func (tt *hiddenCase) check(t *testing.T, editorFirst, editorLater, reversed bool) {
	edits, seconds, editor := []func(*crdt.Edit) error{tt.takes, tt.edits}, []int64{1, 2}, byte(0xa1)
	if editorFirst {
		edits[0], edits[1], editor = edits[1], edits[0], 0xa0
	}
	if editorFirst == editorLater {
		seconds = []int64{2, 1}
	}
	made := changesOf(forked(t, tt.start, seconds, edits...))
	if reversed {
		made[1], made[2] = made[2], made[1]
	}
	build := func() *crdt.History { return replay(t, made) }
	h := build()
	mustEqualCore(t, h)
	self, other := crdt.ReplicaID{editor}, crdt.ReplicaID{editor ^ 1}

	all := h.Conflicts(nil)
	require.Len(t, all, 1)
	require.Equal(t, tt.path, all[0].Path.String())
	require.Len(t, all[0].Candidates, 2)
	var hidden, rival crdt.Candidate
	for _, c := range all[0].Candidates {
		if c.Hidden {
			hidden = c
		} else {
			rival = c
		}
		require.Equal(t, !c.Hidden, c.Winner)
	}
	require.Equal(t, tt.value, toJSONText(t, hidden.Value))
	if require.Equal(t, tt.rival == "-", rival.Deleted); !rival.Deleted {
		require.Equal(t, tt.rival, toJSONText(t, rival.Value))
	}
	require.Equal(t, self, hidden.Replica)
	edit := h.Change(hidden.Hash)
	require.Equal(t, []any{edit.Actor(), edit.Time(), edit.Message()}, []any{hidden.Actor, hidden.Time, hidden.Message})
	require.Equal(t, other, rival.Replica)

	shows := map[string]bool{ // whether a view shows the edit
		"automerge": false, "max": false, "min": false, "union": false, "concat": false, "merge": false, "sum": false, "delete-wins": false,
		"lww": editorLater, "fww": !editorLater, "update-wins": rival.Deleted, "prefer:" + self.String(): true, "prefer:" + other.String(): false,
	}
	for name, kept := range shows {
		tt.checkView(t, build, viewOf(t, crdt.ReplicaID{}, name), kept, hidden, rival)
	}
	tt.checkView(t, build, viewOf(t, self, "local"), true, hidden, rival)
	tt.checkView(t, build, viewOf(t, self, "remote"), false, hidden, rival)
}

// checkView looks at the record under a view, edits it, and resolves it.
func (tt *hiddenCase) checkView(t *testing.T, build func() *crdt.History, v *crdt.View, kept bool, hidden, rival crdt.Candidate) {
	h := build()
	want := tt.taken
	if kept {
		want = tt.kept
	}
	require.Equal(t, want, jsonOf(t, h, v))
	r := h.Render(nil, v)
	require.Equal(t, want, string(r.JSON))
	require.Equal(t, 1, r.Conflicts)
	conflicts := h.Conflicts(v)
	require.Len(t, conflicts, 1)
	for _, c := range conflicts[0].Candidates {
		require.Equal(t, c.Hidden == kept, c.Winner)
	}
	blames, err := h.Blame(nil, v)
	require.NoError(t, err)
	require.NotEmpty(t, blames)

	for _, again := range []any{parseJSON(t, want), h.Value(v)} { // what get printed writes nothing
		e := h.Begin(benchActor, 1.8e12, v)
		require.NoError(t, e.Put(nil, again, crdt.Replace))
		c, err := e.Commit("")
		require.NoError(t, err)
		require.Nil(t, c)
	}

	edit := func(fn func(*crdt.Edit) error) *crdt.History {
		h := build()
		e := h.Begin(benchActor, 1.8e12, v)
		require.NoError(t, fn(e))
		c, err := e.Commit("")
		require.NoError(t, err)
		require.NotNil(t, c)
		return h
	}
	if kept {
		requireSettled(t, edit(tt.again), tt.then)
		gone := edit(deleting(t, tt.path))
		require.NotEqual(t, tt.kept, jsonOf(t, gone, nil))
		requireSettled(t, gone, jsonOf(t, gone, nil))
	}
	if !strings.HasPrefix(tt.path, "l[") || kept || !rival.Deleted { // else there is no such index
		put := edit(putting(t, tt.path, `"new"`))
		require.Contains(t, jsonOf(t, put, nil), `"new"`)
		requireSettled(t, put, jsonOf(t, put, nil))
	}
	requireSettled(t, edit(func(e *crdt.Edit) error { return e.Resolve(pathOf(t, tt.path), hidden.Op) }), tt.kept)
	requireSettled(t, edit(func(e *crdt.Edit) error { return e.Resolve(pathOf(t, tt.path), rival.Op) }), tt.taken)
}

// requireSettled requires that every view, and the core, shows the same, without
// any conflict.
func requireSettled(t testing.TB, h *crdt.History, want string) {
	t.Helper()
	mustEqualCore(t, h)
	for _, name := range append(crdt.Resolvers(), "prefer:a0", "prefer:a1") {
		v := viewOf(t, crdt.ReplicaID{0xa0}, name)
		require.Equal(t, want, jsonOf(t, h, v), name)
		require.Zero(t, h.ConflictCount(v), name)
	}
}

func toJSONText(t testing.TB, v any) string {
	t.Helper()
	text, err := crdt.AppendJSON(nil, v)
	require.NoError(t, err)
	return string(text)
}

// TestHiddenOfThree: one deletes, one overwrites, one edits; and several edit.
func TestHiddenOfThree(t *testing.T) {
	start := `{"m":{"a":1},"w":0}`
	tests := []struct {
		edits []func(*crdt.Edit) error
		want  string // the values and the actors of the candidates
	}{
		{[]func(*crdt.Edit) error{deleting(t, "m"), putting(t, "m", `7`), putting(t, "m.a", `2`)}, `7 by a1, - by a0, {"a":2} by a2`},
		{[]func(*crdt.Edit) error{putting(t, "m.a", `2`), putting(t, "m.b", `3`), deleting(t, "m")}, `- by a2, {"a":2,"b":3} by a1`},
		{[]func(*crdt.Edit) error{putting(t, "m", `7`), putting(t, "m", `8`), putting(t, "m.a", `2`)}, `8 by a1, 7 by a0, {"a":2} by a2`},
		{[]func(*crdt.Edit) error{deleting(t, "m"), deleting(t, "m"), putting(t, "m.a", `2`)}, `- by a1, - by a0, {"a":2} by a2`},
		{[]func(*crdt.Edit) error{deleting(t, "m"), putting(t, "w", `2`), putting(t, "m.a", `1.0`)}, `- by a0, {"a":1.0} by a2`},
	}
	for i, tt := range tests {
		h := forked(t, start, nil, tt.edits...)
		var got []string
		for _, c := range h.Conflicts(nil)[0].Candidates {
			value := "-"
			if !c.Deleted {
				value = toJSONText(t, c.Value)
			}
			got = append(got, fmt.Sprintf("%s by %x", value, c.Replica[0]))
		}
		require.Equal(t, tt.want, strings.Join(got, ", "), i)
		mustEqualCore(t, h)
		requireHidden(t, seeded(t, uint64(i)), changesOf(h), []*crdt.View{nil, viewOf(t, replica1, "lww"), viewOf(t, replica1, "fww")})
	}
}

// TestHiddenEqualsVisible: what prints alike is no conflict, and what the deleter
// had seen is none either.
func TestHiddenEqualsVisible(t *testing.T) {
	h := forked(t, `{"c":{"$counter":1}}`, nil, putting(t, "c", `"x"`), func(e *crdt.Edit) error { return e.Increment(key("c"), 2) })
	require.Equal(t, 1, h.ConflictCount(nil))
	h = forked(t, `{"c":{"$counter":1}}`, nil, func(e *crdt.Edit) error {
		if err := e.Delete(key("c")); err != nil {
			return err
		}
		return e.Put(key("c"), 3, crdt.Merge)
	}, func(e *crdt.Edit) error { return e.Increment(key("c"), 2) })
	require.Zero(t, h.ConflictCount(nil))
	require.Empty(t, h.Conflicts(nil))

	h = forked(t, `{"m":{"a":1},"w":0}`, nil, putting(t, "m.a", `2`), putting(t, "w", `1`))
	commit(t, h, deleting(t, "m"))
	for _, name := range crdt.Resolvers() {
		require.Zero(t, h.ConflictCount(viewOf(t, replica1, name)))
	}
}

// TestHiddenAgain: an edit in a revived object that somebody deletes meanwhile is
// a conflict again, and one in the old object too.
func TestHiddenAgain(t *testing.T) {
	h := forked(t, `{"m":{"a":1},"w":0}`, nil, deleting(t, "m"), putting(t, "m.a", `2`))
	editor := crdt.NewHistory()
	for i, c := range changesOf(h) {
		if i != 1 { // who edits knows nothing of the deletion
			_, err := editor.Add(c)
			require.NoError(t, err)
		}
	}
	commit(t, h, func(e *crdt.Edit) error { return e.Resolve(key("m"), h.Conflicts(nil)[0].Candidates[1].Op) })
	requireSettled(t, h, `{"m":{"a":2},"w":0}`)
	e := editor.Begin(crdt.ReplicaID{0xa1}.Actor([8]byte{}), 1.9e12, nil)
	require.NoError(t, e.Put(pathOf(t, "m.b"), 3, crdt.Merge))
	c, err := e.Commit("late")
	require.NoError(t, err)
	_, err = h.Add(c)
	require.NoError(t, err)
	require.Equal(t, `{"m":{"a":2},"w":0}`, jsonOf(t, h, nil))
	require.Equal(t, `{"m":{"a":2,"b":3},"w":0}`, jsonOf(t, h, viewOf(t, replica1, "lww")))
	all := h.Conflicts(nil)
	require.Len(t, all, 1)
	require.Equal(t, "late", all[0].Candidates[1].Message)
	require.True(t, all[0].Candidates[1].Hidden)
}

// TestHiddenRecord: a record that is deleted as a whole while somebody edits in one
// of its objects.
func TestHiddenRecord(t *testing.T) {
	h := forked(t, `{"m":{"a":1},"w":0}`, nil, (*crdt.Edit).Clear, putting(t, "m.a", `2`))
	for name, want := range map[string]string{"automerge": `{}`, "update-wins": `{"m":{"a":2},"w":0}`, "delete-wins": `{}`, "lww": `{"m":{"a":2}}`} {
		v := viewOf(t, replica1, name)
		require.Equal(t, want, jsonOf(t, h, v), name)
		require.Equal(t, want != `{}`, h.Shows(v), name)
		require.Equal(t, 1, h.ConflictCount(v), name)
	}
	mustEqualCore(t, h)
	for name, want := range map[string]string{"lww": `{"m":{"a":2,"b":1}}`, "update-wins": `{"m":{"a":2,"b":1},"w":0}`} {
		h := replay(t, changesOf(h))
		e := h.Begin(benchActor, 1.8e12, viewOf(t, replica1, name))
		require.NoError(t, e.Put(pathOf(t, "m.b"), 1, crdt.Merge))
		_, err := e.Commit("")
		require.NoError(t, err)
		requireSettled(t, h, want)
	}
}

// TestHiddenInHidden: a conflict within a hidden candidate that a view shows is
// none of the record before an edit revives it, as the view shows it.
func TestHiddenInHidden(t *testing.T) {
	build := func() *crdt.History {
		return forked(t, `{"m":{"n":{"a":1}}}`, []int64{1, 2, 3}, putting(t, "m", `7`), putting(t, "m.n", `8`), putting(t, "m.n.a", `2`))
	}
	h := build()
	lww := viewOf(t, replica1, "lww")
	require.Equal(t, `{"m":7}`, jsonOf(t, h, nil))
	require.Equal(t, `{"m":{"n":{"a":2}}}`, jsonOf(t, h, lww))
	for _, v := range []*crdt.View{nil, lww} {
		require.Equal(t, 1, h.ConflictCount(v))
		require.Len(t, h.Conflicts(v), 1)
		h := build()
		e := h.Begin(benchActor, 1.8e12, v)
		require.NoError(t, e.Resolve(key("m"), h.Conflicts(v)[0].Candidates[1].Op))
		_, err := e.Commit("")
		require.NoError(t, err)
		requireSettled(t, h, map[bool]string{true: `{"m":{"n":8}}`, false: `{"m":{"n":{"a":2}}}`}[v == nil])
	}
	e := h.Begin(benchActor, 1.8e12, lww)
	require.NoError(t, e.Put(pathOf(t, "m.n.b"), 3, crdt.Merge))
	_, err := e.Commit("")
	require.NoError(t, err)
	requireSettled(t, h, `{"m":{"n":{"a":2,"b":3}}}`)
}

// TestEditsAroundHidden: a list of hidden elements that a view shows is edited as
// it is shown, and an edit that changes nothing writes nothing.
func TestEditsAroundHidden(t *testing.T) {
	build := func() *crdt.History {
		return forked(t, `{"l":[0,{"a":1},{"a":2}]}`, nil, func(e *crdt.Edit) error {
			if err := e.Delete(pathOf(t, "l[2]")); err != nil {
				return err
			}
			return e.Delete(pathOf(t, "l[1]"))
		}, func(e *crdt.Edit) error {
			if err := e.Put(pathOf(t, "l[2].a"), 9, crdt.Merge); err != nil {
				return err
			}
			return e.Put(pathOf(t, "l[1].a"), 8, crdt.Merge)
		})
	}
	lww := viewOf(t, replica1, "lww")
	require.Equal(t, `{"l":[0]}`, jsonOf(t, build(), nil))
	require.Equal(t, `{"l":[0,{"a":8},{"a":9}]}`, jsonOf(t, build(), lww))
	tests := []struct {
		edit func(*crdt.Edit) error
		want string // "": nothing is written
		left int    // conflicts
	}{
		{putting(t, "l[1].a", `8`), "", 2},
		{putting(t, "l[2]", `{"a":9}`), "", 2},
		{putting(t, "l", `[0,{"a":8},{"a":9}]`), "", 2},
		{putting(t, "l", `[0]`), `{"l":[0]}`, 0},
		{putting(t, "l", `[0,{"a":8}]`), `{"l":[0,{"a":8}]}`, 1},
		{putting(t, "l[1]", `"s"`), `{"l":[0,"s",{"a":9}]}`, 1},
		{func(e *crdt.Edit) error { return e.Insert(key("l"), 2, "new") }, `{"l":[0,{"a":8},"new",{"a":9}]}`, 2},
		{func(e *crdt.Edit) error { return e.Move(key("l"), 2, 0) }, `{"l":[{"a":9},0,{"a":8}]}`, 1},
	}
	for i, tt := range tests {
		h := build()
		e := h.Begin(benchActor, 1.8e12, lww)
		require.NoError(t, tt.edit(e), i)
		c, err := e.Commit("")
		require.NoError(t, err)
		require.Equal(t, tt.want == "", c == nil, i)
		require.Equal(t, tt.left, h.ConflictCount(lww), i)
		if c != nil {
			require.Equal(t, tt.want, jsonOf(t, h, lww), i)
			mustEqualCore(t, h)
		}
	}
}
