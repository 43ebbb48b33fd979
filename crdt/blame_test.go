package crdt_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func TestBlame(t *testing.T) {
	a, b := twoSites(t, map[string]any{
		"n": crdt.Counter(5), "s": "x", "text": crdt.Text("hello"), "list": []any{"one", map[string]any{}}, "none": []any{},
	})
	first := changesOf(a.h)[0].Hash()
	mine := a.commit(nil, func(e *crdt.Edit) {
		require.NoError(t, e.Splice(key("text"), 2, 0, "é€"))
		require.NoError(t, e.Put(key("s"), "mine", crdt.Merge))
	}).Hash()
	theirs := b.commit(nil, func(e *crdt.Edit) {
		require.NoError(t, e.Increment(key("n"), 2))
		require.NoError(t, e.Splice(key("text"), 5, 0, "!"))
		require.NoError(t, e.Insert(key("list"), 1, "two"))
	})
	a.pull(b)
	names := map[crdt.Hash]string{first: "first", mine: "mine", theirs.Hash(): "theirs"}
	blame := func(path string) (got []string) {
		all, err := a.h.Blame(parsePath(t, path), nil)
		require.NoError(t, err)
		for _, x := range all {
			value, err := crdt.AppendJSON(nil, x.Value)
			require.NoError(t, err)
			line := fmt.Sprintf("%s %s %s", x.Path, value, names[x.Hash])
			if x.InText {
				line += fmt.Sprintf(" %d+%d", x.Pos, x.Len)
			}
			c := a.h.Change(x.Hash)
			replica, _ := c.Actor().Replica()
			require.Equal(t, []any{c.Actor(), c.Actor(), replica, c.Time(), c.Message()},
				[]any{x.Actor, x.Op.Actor, x.Replica, x.Time, x.Message})
			require.GreaterOrEqual(t, x.Op.Counter, c.StartOp())
			require.LessOrEqual(t, x.Op.Counter, c.MaxOp())
			got = append(got, line)
		}
		return got
	}
	list := []string{`list[0] "one" first`, `list[1] "two" theirs`, `list[2] {} first`}
	text := []string{`text "he" first 0+2`, `text "é€" mine 2+2`, `text "llo" first 4+3`, `text "!" theirs 7+1`}
	require.Equal(t, list, blame("list"))
	require.Equal(t, list[2:], blame("list[2]"))
	require.Equal(t, text, blame("text"))
	require.Equal(t, []string{`s "mine" mine`}, blame("s"))
	all := append(append([]string{}, list...), `n 7 theirs`, `none [] first`, `s "mine" mine`)
	require.Equal(t, append(all, text...), blame(""))

	for path, want := range map[string]string{
		"x":         "there is no value at x",
		"s.y":       "there is no value at s.y: s is a single value",
		"list[3]":   "there is no value at list[3]",
		"list.a":    "there is no value at list.a",
		"text[0]":   "there is no value of its own in a text at text[0]",
		"list[2].z": "there is no value at list[2].z",
	} {
		_, err := a.h.Blame(parsePath(t, path), nil)
		require.ErrorIs(t, err, crdt.ErrNoValue)
		require.EqualError(t, err, want)
	}
	_, err := crdt.NewHistory().Blame(nil, nil)
	require.EqualError(t, err, "there is no value: the record has no fields")
}

// TestBlameCoversValue: each value that is shown has exactly one to blame, a
// change that is held, and an operation of it.
func TestBlameCoversValue(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := randomHistory(t, seeded(t, seed), 40)
			for _, v := range s.views {
				all, err := s.h.Blame(nil, v)
				require.NoError(t, err)
				want := leaves(nil, s.h.Value(v))
				got := map[string]string{}
				for _, x := range all {
					c := s.h.Change(x.Hash)
					require.NotNil(t, c)
					require.True(t, c.StartOp() <= x.Op.Counter && x.Op.Counter <= c.MaxOp())
					if p := x.Path.String(); x.InText {
						require.Equal(t, x.Pos, len([]rune(got[p])))
						got[p] += string(x.Value.(crdt.Text))
					} else {
						require.NotContains(t, got, p)
						got[p] = dump(x.Value)
					}
				}
				require.Equal(t, want, got)
			}
		})
	}
}

func leaves(p crdt.Path, v any) map[string]string {
	out := map[string]string{}
	add := func(step crdt.Step, v any) {
		for k, leaf := range leaves(append(p[:len(p):len(p)], step), v) {
			out[k] = leaf
		}
	}
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			add(crdt.Step{Key: k}, x[k])
		}
	case []any:
		for i := range x {
			add(crdt.Step{Index: i, InList: true}, x[i])
		}
	case crdt.Text:
		if x != "" {
			out[p.String()] = string(x)
		}
	}
	if len(out) == 0 {
		out[p.String()] = dump(v)
	}
	return out
}
