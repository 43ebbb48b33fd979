package crdt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func TestPath(t *testing.T) {
	key := func(k string) crdt.Step { return crdt.Step{Key: k} }
	at := func(i int) crdt.Step { return crdt.Step{Index: i, InList: true} }
	for s, want := range map[string]crdt.Path{
		"":                       nil,
		"a":                      {key("a")},
		"a.b[2].c":               {key("a"), key("b"), at(2), key("c")},
		"a[0][10]":               {key("a"), at(0), at(10)},
		`["full name"].x-Y_9`:    {key("full name"), key("x-Y_9")},
		`a[""]["b.c"]["\"]"]`:    {key("a"), key(""), key("b.c"), key(`"]`)},
		`["ключ"][3]`:            {key("ключ"), at(3)},
		`0.1`:                    {key("0"), key("1")},
		"[7]":                    {at(7)},
		"a[2147483647]":          {key("a"), at(2147483647)},
		`["\u0000\n"].b["$map"]`: {key("\x00\n"), key("b"), key("$map")},
	} {
		got, err := crdt.ParsePath(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got)
		require.Equal(t, s, got.String())
	}
	for _, s := range []string{
		".", ".a", "a.", "a..b", "a b", "a[", "a[]", "a[-1]", "a[01]", "a[1", `a["x]`, `a["x"`, "a[2147483648]",
		"a[99999999999999999999]", "a]", `a.["b"]`, "é", "a\xff", "[\"\xff\"]", "[1]a",
	} {
		_, err := crdt.ParsePath(s)
		require.Error(t, err, s)
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("a.b[2].c")
	f.Add(`["full name"][0]`)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := crdt.ParsePath(s)
		if err != nil {
			return
		}
		again, err := crdt.ParsePath(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}
