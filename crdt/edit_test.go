package crdt_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// commit makes one edit by the bench actor.
func commit(t testing.TB, h *crdt.History, edit func(*crdt.Edit) error) *crdt.Change {
	t.Helper()
	e := h.Begin(benchActor, 1.7e12, nil)
	require.NoError(t, edit(e))
	c, err := e.Commit("")
	require.NoError(t, err)
	return c
}

func put(t testing.TB, h *crdt.History, path string, v any, mode crdt.PutMode) *crdt.Change {
	t.Helper()
	return commit(t, h, func(e *crdt.Edit) error { return e.Put(pathOf(t, path), v, mode) })
}

func pathOf(t testing.TB, s string) crdt.Path {
	t.Helper()
	p, err := crdt.ParsePath(s)
	require.NoError(t, err)
	return p
}

func parseJSON(t testing.TB, s string) any {
	t.Helper()
	v, err := crdt.ParseJSON([]byte(s))
	require.NoError(t, err)
	return v
}

// TestPutIsSmall: how many operations it takes from one value to the next.
func TestPutIsSmall(t *testing.T) {
	long := strings.Repeat("lorem ipsum ", 50)
	tests := []struct {
		name     string
		from, to string // JSON of the record
		mode     crdt.PutMode
		ops      int
		want     string // "" is to
	}{
		{name: "nothing", from: `{"a":1,"b":{"c":[1,2]}}`, to: `{"a":1,"b":{"c":[1,2]}}`, mode: crdt.Replace},
		{name: "no fields", from: `{"a":1}`, to: `{}`, ops: 0, want: `{"a":1}`},
		{name: "one field of two", from: `{"a":1,"b":2}`, to: `{"a":1,"b":3}`, ops: 1},
		{name: "a nested field", from: `{"a":{"b":{"c":1,"d":2}}}`, to: `{"a":{"b":{"c":5}}}`, ops: 1, want: `{"a":{"b":{"c":5,"d":2}}}`},
		{name: "replace deletes", from: `{"a":{"b":1,"c":2},"d":3}`, to: `{"a":{"b":1}}`, mode: crdt.Replace, ops: 2},
		{name: "int is not float", from: `{"a":1}`, to: `{"a":1.0}`, ops: 1},
		{name: "list: one in the middle", from: `{"a":[1,2,4,5]}`, to: `{"a":[1,2,3,4,5]}`, ops: 1},
		{name: "list: one changed", from: `{"a":[1,2,3]}`, to: `{"a":[1,9,3]}`, ops: 1},
		{name: "list: field of an element", from: `{"a":[{"b":1,"c":2},{"b":3,"c":4}]}`, to: `{"a":[{"b":1,"c":2},{"b":3,"c":5}]}`, ops: 1},
		{name: "list: moved to the front", from: `{"a":[1,2,3,4]}`, to: `{"a":[4,1,2,3]}`, ops: 2},
		{name: "list: emptied", from: `{"a":[1,2,3]}`, to: `{"a":[]}`, ops: 3},
		{name: "text: a letter", from: `{"a":{"$text":"` + long + `"}}`, to: `{"a":"` + long + `!"}`, ops: 1},
		{name: "text: two places", from: `{"a":{"$text":"the quick fox"}}`, to: `{"a":"a quick dog"}`, ops: 3 + 1 + 2 + 2},
		{name: "text stays text", from: `{"a":{"$text":"x"}}`, to: `{"a":{"$text":"xy"}}`, ops: 1, want: `{"a":"xy"}`},
		{name: "string to text", from: `{"a":"x"}`, to: `{"a":{"$text":"x"}}`, ops: 2, want: `{"a":"x"}`},
		{name: "string to text in a list", from: `{"a":["x"]}`, to: `{"a":[{"$text":"x"}]}`, ops: 2, want: `{"a":["x"]}`},
		{name: "counter by number", from: `{"a":{"$counter":3}}`, to: `{"a":10}`, ops: 1},
		{name: "counter the same", from: `{"a":{"$counter":3}}`, to: `{"a":{"$counter":3}}`, want: `{"a":3}`},
		{name: "number to counter", from: `{"a":3}`, to: `{"a":{"$counter":3}}`, ops: 1, want: `{"a":3}`},
		{name: "null is a value", from: `{"a":1}`, to: `{"a":null}`, ops: 1},
		{name: "map to list", from: `{"a":{"b":1}}`, to: `{"a":[1]}`, ops: 2},
		{name: "time, bytes, float", from: `{"b":{"$bytes":"AQI="},"f":{"$float":"NaN"},"t":{"$time":"2026-01-02T03:04:05Z"}}`,
			to: `{"b":{"$bytes":"AQI="},"f":{"$float":"NaN"},"t":{"$time":"2026-01-02T03:04:05Z"}}`},
		{name: "looks like a form", from: `{"a":{"$map":{"$counter":"x"}}}`, to: `{"a":{"$map":{"$counter":"y"}}}`, ops: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := crdt.NewHistory()
			put(t, h, "", parseJSON(t, tt.from), crdt.Merge)
			c := put(t, h, "", parseJSON(t, tt.to), tt.mode)
			if tt.ops == 0 {
				require.Nil(t, c)
			} else {
				require.Len(t, c.Ops(), tt.ops)
			}
			want := tt.want
			if want == "" {
				want = tt.to
			}
			require.Equal(t, want, jsonOf(t, h, nil))
			mustEqualCore(t, h)
		})
	}
}

type address struct {
	Street string `json:"street"`
	Zip    uint16 `json:"zip,omitempty"`
}

type person struct {
	address  // merged
	Name     string
	Born     time.Time      `json:"born"`
	Photo    []byte         `json:"photo"`
	Bio      crdt.Text      `json:"bio"`
	Visits   crdt.Counter   `json:"visits"`
	Tags     []string       `json:"tags"`
	Partner  *person        `json:"partner"`
	Score    float32        `json:"score"`
	Extra    map[string]int `json:"extra,omitempty"`
	Secret   string         `json:"-"`
	Timeout  time.Duration  `json:"timeout"`
	internal int
}

func TestPutStruct(t *testing.T) {
	h := crdt.NewHistory()
	p := person{address: address{Street: "Main", Zip: 7}, Name: "Ada", Born: time.UnixMilli(1000),
		Photo: []byte{1}, Bio: "hi", Visits: 2, Tags: []string{"x"}, Score: 1.5, Secret: "s", Timeout: 3, internal: 1}
	p.Partner = &person{Name: "Bob"}
	put(t, h, "", p, crdt.Merge)
	require.Equal(t, `{"Name":"Ada","bio":"hi","born":{"$time":"1970-01-01T00:00:01Z"},"partner":{"Name":"Bob","bio":"",`+
		`"born":{"$time":"0001-01-01T00:00:00Z"},"partner":null,"photo":null,"score":0.0,"street":"","tags":null,"timeout":0,"visits":0},`+
		`"photo":{"$bytes":"AQ=="},"score":1.5,"street":"Main","tags":["x"],"timeout":3,"visits":2,"zip":7}`, jsonOf(t, h, nil))
	require.Nil(t, put(t, h, "", &p, crdt.Replace))
	p.Visits++
	require.Len(t, put(t, h, "", p, crdt.Merge).Ops(), 1)
	mustEqualCore(t, h)
}

func TestEditErrors(t *testing.T) {
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	at := func(s string) crdt.Path { return pathOf(t, s) }
	tests := map[string]func(*crdt.Edit) error{
		"a single value":      func(e *crdt.Edit) error { return e.Put(at("n.x"), 1, crdt.Merge) },
		"it is a map":         func(e *crdt.Edit) error { return e.Put(nil, []any{}, crdt.Merge) },
		"no record holds":     func(e *crdt.Edit) error { return e.Put(at("x"), make(chan int), crdt.Merge) },
		"keys of a map are":   func(e *crdt.Edit) error { return e.Put(at("x"), map[int]int{1: 1}, crdt.Merge) },
		"nested deeper":       func(e *crdt.Edit) error { return e.Put(at("x"), cyclic, crdt.Merge) },
		"invalid UTF-8":       func(e *crdt.Edit) error { return e.Put(at("x"), "\xff", crdt.Merge) },
		"key is invalid":      func(e *crdt.Edit) error { return e.Put(crdt.Path{{Key: "\xff"}}, 1, crdt.Merge) },
		"has 2 elements":      func(e *crdt.Edit) error { return e.Put(at("l[2]"), 1, crdt.Merge) },
		"has no keys":         func(e *crdt.Edit) error { return e.Put(at("l.x"), 1, crdt.Merge) },
		"has no index":        func(e *crdt.Edit) error { return e.Put(at("[1]"), 1, crdt.Merge) },
		"with Splice":         func(e *crdt.Edit) error { return e.Put(at("t[0]"), "x", crdt.Merge) },
		"no counter":          func(e *crdt.Edit) error { return e.Increment(at("n"), 1) },
		"no text":             func(e *crdt.Edit) error { return e.Splice(at("n"), 0, 0, "x") },
		"no such field":       func(e *crdt.Edit) error { return e.Splice(at("none"), 0, 0, "x") },
		"the text has 2":      func(e *crdt.Edit) error { return e.Splice(at("t"), 1, 2, "x") },
		"the text has 2 ":     func(e *crdt.Edit) error { return e.Splice(at("t"), -1, 0, "x") },
		"no list":             func(e *crdt.Edit) error { return e.Insert(at("t"), 0, 1) },
		"the list has 2":      func(e *crdt.Edit) error { return e.Insert(at("l"), 3, 1) },
		"no candidate":        func(e *crdt.Edit) error { return e.Resolve(at("n"), crdt.OpID{}) },
		"no such field ":      func(e *crdt.Edit) error { return e.Delete(at("none.x")) },
		"record itself":       func(e *crdt.Edit) error { return e.Resolve(nil, crdt.OpID{}) },
		"cannot replace":      func(e *crdt.Edit) error { return e.Splice(at("t"), 0, math.MaxInt, "") },
		"characters are inva": func(e *crdt.Edit) error { return e.Splice(at("t"), 0, 0, "\xc3") },
	}
	h := crdt.NewHistory()
	put(t, h, "", parseJSON(t, `{"n":1,"l":[1,2],"t":{"$text":"ab"}}`), crdt.Merge)
	for want, edit := range tests {
		t.Run(want, func(t *testing.T) {
			e := h.Begin(benchActor, 0, nil)
			err := edit(e)
			require.ErrorIs(t, err, crdt.ErrEdit)
			require.ErrorContains(t, err, strings.TrimSpace(want))
			c, err := e.Commit("")
			require.NoError(t, err)
			require.Nil(t, c)
		})
	}
	require.Equal(t, 1, h.Len())
}

func TestDeleteRecord(t *testing.T) {
	h := crdt.NewHistory()
	require.False(t, h.Exists())
	require.Nil(t, put(t, h, "", map[string]any{}, crdt.Merge))
	put(t, h, "", map[string]any{"a": 1, "b": map[string]any{"c": 1}}, crdt.Merge)
	require.True(t, h.Exists())
	require.NotNil(t, commit(t, h, (*crdt.Edit).Clear))
	require.False(t, h.Exists())
	require.Equal(t, "{}", jsonOf(t, h, nil))
	require.Nil(t, commit(t, h, (*crdt.Edit).Clear))
	put(t, h, "b.x", 1, crdt.Merge)
	require.Equal(t, `{"b":{"x":1}}`, jsonOf(t, h, nil))
	mustEqualCore(t, h)
}

func TestEditIsUsedUp(t *testing.T) {
	h := crdt.NewHistory()
	e := h.Begin(benchActor, 1.7e12, nil)
	require.NoError(t, e.Put(key("k"), 1, crdt.Merge))
	c, err := e.Commit("")
	require.NoError(t, err)
	require.NotNil(t, c)
	require.ErrorIs(t, e.Put(key("k"), 2, crdt.Merge), crdt.ErrEdit)
	c, err = e.Commit("")
	require.NoError(t, err)
	require.Nil(t, c)
	require.Equal(t, `{"k":1}`, jsonOf(t, h, nil))
}

// TestSpliceSplitsElements: another implementation may have put several code
// points into one element of a text.
func TestSpliceSplitsElements(t *testing.T) {
	for pos := range 7 {
		for del := range 7 - pos {
			h := crdt.NewHistory()
			_, err := h.Add(build(t, crdt.Draft{Actors: []crdt.ActorID{actorA}, Seq: 1, StartOp: 1, Ops: []crdt.Op{
				{InMap: true, Key: "t", Action: crdt.MakeText},
				insert(own(1), crdt.Ref{}, "äbc"), insert(own(1), own(2), "dé"), insert(own(1), own(3), "f"),
			}}))
			require.NoError(t, err)
			commit(t, h, func(e *crdt.Edit) error { return e.Splice(pathOf(t, "t"), pos, del, "_") })
			r := []rune("äbcdéf")
			want := string(r[:pos]) + "_" + string(r[pos+del:])
			require.Equal(t, want, string(h.Value(nil)["t"].(crdt.Text)), "%d %d", pos, del)
		}
	}
}

func TestManyFields(t *testing.T) {
	h := crdt.NewHistory()
	m := map[string]any{}
	rng := seeded(t, 1)
	for range 500 {
		m[strings.Repeat("k", rng.IntN(3))+string(rune('a'+rng.IntN(26)))+string(rune('a'+rng.IntN(26)))] = int64(rng.IntN(9))
		if rng.IntN(10) == 0 {
			put(t, h, "", m, crdt.Merge)
		}
	}
	put(t, h, "", m, crdt.Replace)
	want, err := crdt.AppendJSON(nil, m)
	require.NoError(t, err)
	require.Equal(t, string(want), jsonOf(t, h, nil))
	mustEqualCore(t, h)
}
