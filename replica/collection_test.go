package replica_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

type mood int

func (m mood) MarshalText() ([]byte, error) {
	switch m {
	case 1:
		return []byte("calm"), nil
	case 2:
		return []byte("wild"), nil
	}
	return nil, fmt.Errorf("no mood %d", int(m))
}

func (m *mood) UnmarshalText(text []byte) error {
	switch string(text) {
	case "calm":
		*m = 1
	case "wild":
		*m = 2
	default:
		return errors.New("no mood")
	}
	return nil
}

type Geo struct {
	Lat float64 `json:"lat"`
	Lon float32 `json:"lon"`
}

type line struct {
	SKU  string `godwit:"sku,id"`
	Qty  int    `json:"qty"`
	Note string `godwit:"note,text,omitempty"`
}

type base struct {
	Created time.Time `json:"created"`
	Hidden  string    `json:"-"`
}

type everything struct {
	base
	*Geo
	ID     string           `godwit:",id"`
	Name   string           `godwit:"name" json:"ignored"`
	Body   string           `godwit:"body,text"`
	Votes  int              `godwit:"votes,counter"`
	Small  int8             `json:"small"`
	Big    uint64           `json:"big"`
	Ratio  float64          `json:"ratio"`
	Open   bool             `json:"open"`
	Raw    []byte           `json:"raw"`
	Mood   mood             `json:"mood"`
	Moods  map[string]mood  `json:"moods"`
	Where  *Geo             `json:"where"`
	Lines  []line           `json:"lines"`
	Grid   [2][]int         `json:"grid"`
	Tags   map[string]int   `json:"tags,omitempty"`
	Any    any              `json:"any"`
	Patch  json.RawMessage  `json:"patch"`
	Addr   netip.Addr       `json:"addr"`
	Maybe  *string          `json:"maybe,omitempty"`
	Clicks crdt.Counter     `json:"clicks"`
	Essay  crdt.Text        `json:"essay"`
	Under  map[string]*line `json:"under"`
}

func one[T any](v T) *T { return &v }

func fullRecord() everything {
	return everything{
		base: base{Created: time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC)}, Name: "Ünïcode \"quoted\"\n\x01", Body: "text",
		Votes: 3, Small: -128, Big: math.MaxUint64, Ratio: 1.5, Open: true, Raw: []byte{0, 255}, Mood: 2,
		Moods: map[string]mood{"a": 1}, Where: &Geo{64.1, -21.9}, Lines: []line{{"a", 1, "x"}, {"b", 2, ""}},
		Grid: [2][]int{{1, 2}, {}}, Tags: map[string]int{"$time": 1}, Any: map[string]any{"n": int64(1), "l": []any{"x", nil, 2.5}},
		Patch: json.RawMessage(`{"a":[1,2.0]}`), Addr: netip.MustParseAddr("::1"), Maybe: one("yes"), Clicks: 7, Essay: "long",
		Under: map[string]*line{"k": {"c", 3, ""}, "nil": nil},
	}
}

func TestEveryTypeRoundTrips(t *testing.T) {
	r := open(t, nil)
	ctx := context.Background()
	c := replica.NewCollection[everything](r, "all")
	want := fullRecord()
	id, err := c.Create(ctx, want)
	require.NoError(t, err)
	got, err := c.Get(ctx, id)
	require.NoError(t, err)
	want.ID = id
	require.Equal(t, want, got)

	k := crdt.Key{Collection: "all", ID: id}
	h, err := r.History(ctx, k)
	require.NoError(t, err)
	v := h.Value(nil)
	require.Equal(t, crdt.Text("text"), v["body"])
	require.Equal(t, crdt.Counter(3), v["votes"])
	require.Equal(t, crdt.Text("x"), v["lines"].([]any)[0].(map[string]any)["note"])
	for _, absent := range []string{"ID", "Hidden", "lat", "ignored"} {
		require.NotContains(t, v, absent)
	}

	got.ID = "other"
	require.NoError(t, c.Put(ctx, id, got), "the id is the argument's")
	require.NoError(t, c.Edit(ctx, id, func(*everything) error { return nil }))
	after, err := r.History(ctx, k)
	require.NoError(t, err)
	require.Equal(t, h.Heads(), after.Heads(), "what is equal is not written")

	got.Geo = &Geo{Lat: math.NaN(), Lon: float32(math.Inf(1))}
	got.Maybe, got.Tags, got.Where, got.Any = nil, nil, nil, nil
	require.NoError(t, c.Put(ctx, id, got))
	again, err := c.Get(ctx, id)
	require.NoError(t, err)
	require.True(t, math.IsNaN(again.Lat))
	require.Nil(t, again.Where)
	v2, err := r.Get(ctx, k)
	require.NoError(t, err)
	require.NotContains(t, string(v2), "maybe")
	require.NotContains(t, string(v2), "tags")
	requireClean(t, r)
}

func TestZeroValuesAreStoredSoThatTheyMerge(t *testing.T) {
	r := open(t, nil)
	ctx := context.Background()
	type T struct {
		List []string       `json:"list"`
		Map  map[string]int `json:"map"`
		Mood mood           `json:"mood"`
		Raw  []byte         `json:"raw"`
		Ptr  *int           `json:"ptr"`
	}
	c := replica.NewCollection[T](r, "notes")
	require.NoError(t, c.Put(ctx, "1", T{}))
	require.Equal(t, `{"list":[],"map":{},"ptr":null,"raw":null}`, get(t, r, "1"))
	v, err := c.Get(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, T{List: []string{}, Map: map[string]int{}}, v)
	put(t, r, "2", `{"mood":"calm"}`)
	require.NoError(t, c.Edit(ctx, "2", func(v *T) error { v.List = append(v.List, "x"); return nil }))
	require.Equal(t, `{"list":["x"],"mood":"calm"}`, get(t, r, "2"))
}

func TestWrongStoredTypes(t *testing.T) {
	r := open(t, nil)
	ctx := context.Background()
	const wrong = `{"name":5,"body":{"$time":"2026-01-01T00:00:00Z"},"votes":"many","small":300,"big":-1,"ratio":"x","open":1,
		"raw":"AA==","mood":"sad","moods":{"a":1,"b":"calm"},"where":[],"lines":[{"sku":"a","qty":"no"},5,{"sku":"b","qty":2}],
		"grid":[[1],[2],[3]],"tags":{"$bytes":"AA=="},"addr":"nowhere","created":"yesterday","clicks":1.5,"essay":"fine","unknown":{"a":1}}`
	put(t, r, "1", wrong)
	put(t, r, "3", wrong)
	c := replica.NewCollection[everything](r, "notes")
	v, err := c.Get(ctx, "1")
	var named *replica.Error
	require.ErrorAs(t, err, &named)
	require.Equal(t, key("1"), named.Record)
	for _, want := range []string{
		"field name: want a string, got an integer", "field body: want a string, got a time", "and 2 values more", // votes and where
		"field small: want an integer within int8, got 300", "field big: want an integer within uint64, got -1", "field ratio: want a number, got a string",
		"field open: want a boolean, got an integer", "field raw: want bytes, got a string", `field mood: want a string for replica_test.mood, got "sad": no mood`,
		"field moods.a: want a string for replica_test.mood, got an integer",
		"field lines[0].qty: want an integer, got a string", "field lines[1]: want a map, got an integer", "field grid: want a list of 2, got one of 3",
		"field tags: want a map, got bytes",
	} {
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, crdt.Text("fine"), v.Essay)
	require.Equal(t, []line{{SKU: "a"}, {}, {SKU: "b", Qty: 2}}, v.Lines)
	require.Equal(t, mood(1), v.Moods["b"])
	require.Equal(t, "1", v.ID)

	require.NoError(t, c.Edit(ctx, "1", func(v *everything) error { v.Essay += "!"; return nil }))
	err = c.Edit(ctx, "1", func(v *everything) error { v.Name = "overwritten unread"; return nil })
	var field *replica.FieldError
	require.ErrorAs(t, err, &field)
	require.Contains(t, get(t, r, "1"), `"essay":"fine!"`)
	require.Contains(t, get(t, r, "1"), `"name":5`)

	put(t, r, "2", `{"name":"fits"}`)
	for id, res := range c.All(ctx) {
		require.Equal(t, id != "2", res.Err != nil)
		require.Equal(t, id, res.Value.ID)
	}

	want := fullRecord()
	require.NoError(t, c.Put(ctx, "1", want))
	v, err = c.Get(ctx, "1")
	require.NoError(t, err)
	want.ID = "1"
	require.Equal(t, want, v)
	require.Contains(t, get(t, r, "1"), `"unknown":{"a":1}`)
	require.NoError(t, c.Put(ctx, "3", everything{}), "zero values replace what cannot be read, too")
	v, err = c.Get(ctx, "3")
	require.NoError(t, err)
	require.Zero(t, v.Name)
	require.Zero(t, v.Mood)
}

// Whatever the stored bytes are, reading them neither panics nor loops.
func TestDamagedStoredValues(t *testing.T) {
	const seed = 1
	rnd := rand.New(rand.NewPCG(seed, 1))
	good := `{"body":"a\u0001b","grid":[[1],[2]],"lines":[{"qty":1,"sku":"a"}],"moods":{"$map":{"$time":"calm"}},"patch":{"a":[1,2.0]},"raw":{"$bytes":"AA=="},"ratio":1.5,"unknown":{"x":[{}]},"where":{"lat":1}}`
	var v everything
	require.NoError(t, replica.DecodeTyped([]byte(good), &v))
	for cut := range good {
		require.Error(t, replica.DecodeTyped([]byte(good[:cut]), &everything{}), "%s", good[:cut])
	}
	for _, bad := range []string{"", `{`, `{"name":"a""body":"b"}`, `{"name":"a",}`, `{"name"}`, `{"name":"a"}}`, `{"grid":[[1][2]]}`, `{"grid":[[1],]}`, `{"name":"\x"}`, `[]]`} {
		require.Error(t, replica.DecodeTyped([]byte(bad), &everything{}), "%s", bad)
	}
	for range 5_000 {
		b := []byte(good)
		for range 1 + rnd.IntN(3) {
			b[rnd.IntN(len(b))] = `{}[]",:$\0a-.`[rnd.IntN(13)]
		}
		_ = replica.DecodeTyped(b, &everything{}) // seed above
	}
}

type known struct {
	Name  string          `json:"name"`
	Home  struct{ A int } `json:"home"`
	Lines []struct {
		Qty int `json:"qty"`
	} `json:"lines"`
	Parts []line `json:"parts"`
}

func TestUnknownFieldsSurviveEdits(t *testing.T) {
	ctx := context.Background()
	const stored = `{"home":{"A":1,"b":2},"lines":[{"qty":1,"x":"one"},{"qty":2,"x":"two"},{"qty":3,"x":"three"}],"name":"n","new":[1],` +
		`"parts":[{"qty":1,"sku":"a","x":"A"},{"qty":2,"sku":"b","x":"B"}]}`
	for name, tc := range map[string]struct {
		edit func(v *known)
		want string
	}{
		"fields":  {func(v *known) { v.Name, v.Home.A = "m", 5 }, strings.NewReplacer(`"n"`, `"m"`, `"A":1`, `"A":5`).Replace(stored)},
		"element": {func(v *known) { v.Lines[1].Qty = 9 }, strings.Replace(stored, `"qty":2,"x"`, `"qty":9,"x"`, 1)},
		"reversed": {func(v *known) { v.Lines[0], v.Lines[2] = v.Lines[2], v.Lines[0] },
			strings.Replace(stored, `[{"qty":1,"x":"one"},{"qty":2,"x":"two"},{"qty":3,"x":"three"}]`, `[{"qty":3,"x":"three"},{"qty":2,"x":"two"},{"qty":1,"x":"one"}]`, 1)},
		"removed": {func(v *known) { v.Lines = v.Lines[1:] }, strings.Replace(stored, `{"qty":1,"x":"one"},`, ``, 1)},
		"by identity": {func(v *known) { v.Parts = []line{{"n", 1, ""}, {"b", 7, ""}, {"a", 8, ""}} },
			strings.Replace(stored, `[{"qty":1,"sku":"a","x":"A"},{"qty":2,"sku":"b","x":"B"}]`, `[{"qty":1,"sku":"n"},{"qty":7,"sku":"b","x":"B"},{"qty":8,"sku":"a","x":"A"}]`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, nil)
			c := replica.NewCollection[known](r, "notes")
			for _, id := range []string{"edit", "put"} {
				put(t, r, id, stored)
			}
			require.NoError(t, c.Edit(ctx, "edit", func(v *known) error { tc.edit(v); return nil }))
			require.Equal(t, tc.want, get(t, r, "edit"))
			v, err := c.Get(ctx, "put")
			require.NoError(t, err)
			tc.edit(&v)
			require.NoError(t, c.Put(ctx, "put", v))
			require.Equal(t, tc.want, get(t, r, "put"))
		})
	}
}

// opsOf edits a record and returns how many operations that took.
func opsOf(t *testing.T, r *replica.Replica, id string, edit func() error) int {
	t.Helper()
	count := func() (n int) {
		h, err := r.History(context.Background(), key(id))
		require.NoError(t, err)
		for c := range h.Changes() {
			n += len(c.Ops())
		}
		return n
	}
	before := count()
	require.NoError(t, edit())
	return count() - before
}

func TestEditWritesOnlyWhatChanged(t *testing.T) {
	r := open(t, nil)
	ctx := context.Background()
	type T struct {
		Text  string   `godwit:"text,text"`
		Votes int      `godwit:"votes,counter"`
		List  []string `json:"list"`
		Parts []line   `json:"parts"`
		Other string   `json:"other,omitempty"`
	}
	c := replica.NewCollection[T](r, "notes")
	list := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	require.NoError(t, c.Put(ctx, "1", T{Text: strings.Repeat("sea ", 100), List: list, Other: "x",
		Parts: []line{{"a", 1, "note"}, {"b", 2, "note"}, {"c", 3, "note"}}}))
	for _, tc := range []struct {
		name string
		ops  int
		edit func(v *T)
	}{
		{"nothing", 0, func(v *T) {}},
		{"text", 2, func(v *T) { v.Text = v.Text[:200] + "!" + v.Text[201:] }},
		{"counter", 1, func(v *T) { v.Votes += 5 }},
		{"moved to the end", 2, func(v *T) { v.List = append(v.List[1:], v.List[0]) }},
		{"moved to the front", 2, func(v *T) { v.List = append([]string{v.List[7]}, v.List[:7]...) }},
		{"removed and added", 2, func(v *T) { v.List = append(v.List[1:], "new") }},
		{"inserted", 1, func(v *T) { v.List = append(v.List[:3:3], append([]string{"x"}, v.List[3:]...)...) }},
		{"removed field", 1, func(v *T) { v.Other = "" }},
		{"in an element", 1, func(v *T) { v.Parts[1].Qty = 9 }},
		{"first removed, last edited", 2, func(v *T) { v.Parts[2].Qty = 8; v.Parts = v.Parts[1:] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want T
			ops := opsOf(t, r, "1", func() error {
				return c.Edit(ctx, "1", func(v *T) error { tc.edit(v); want = *v; return nil })
			})
			require.Equal(t, tc.ops, ops)
			got, err := c.Get(ctx, "1")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
	requireClean(t, r)
}

// A list becomes any other by its edits, and keeps what its elements have beside.
func TestListsBecomeWhatTheyAreEditedTo(t *testing.T) {
	type element struct {
		Key string `godwit:"key,id"`
		N   int    `json:"n"`
	}
	type T struct {
		Plain []int     `json:"plain"`
		Known []element `json:"known"`
	}
	r := open(t, &replica.Options{Synchronous: persist.Normal})
	ctx := context.Background()
	c := replica.NewCollection[T](r, "notes")
	const seed = 7
	rnd := rand.New(rand.NewPCG(seed, 0))
	require.NoError(t, c.Put(ctx, "1", T{}))
	for round := range 300 {
		var want T
		require.NoError(t, c.Edit(ctx, "1", func(v *T) error {
			for range rnd.IntN(6) {
				v.Plain = shuffled(rnd, v.Plain, rnd.IntN(4))
				v.Known = shuffled(rnd, v.Known, element{strconv.Itoa(round*100 + rnd.IntN(100)), rnd.IntN(3)})
			}
			seen := map[string]bool{}
			for i := range v.Known {
				if seen[v.Known[i].Key] {
					v.Known[i].Key += "'"
				}
				seen[v.Known[i].Key] = true
			}
			want = *v
			return nil
		}))
		got, err := c.Get(ctx, "1")
		require.NoError(t, err)
		require.Equal(t, want, got, "seed %d, round %d", seed, round)
	}
	requireClean(t, r)
}

// shuffled inserts, removes or moves one element at random.
func shuffled[E any](rnd *rand.Rand, list []E, e E) []E {
	at := rnd.IntN(len(list) + 1)
	if at < len(list) && rnd.IntN(3) > 0 {
		removed := list[at]
		list = append(list[:at:at], list[at+1:]...)
		if rnd.IntN(2) == 0 {
			return list
		}
		e, at = removed, rnd.IntN(len(list)+1)
	}
	return append(list[:at:at], append([]E{e}, list[at:]...)...)
}

// What fn changes in place, behind a pointer, in a slice or a map, is seen as changed.
func TestEditInPlace(t *testing.T) {
	r := open(t, nil)
	ctx := context.Background()
	c := replica.NewCollection[everything](r, "notes")
	want := fullRecord()
	want.ID = "1"
	require.NoError(t, c.Put(ctx, "1", want))
	change := func(v *everything) error {
		v.Raw[0], v.Where.Lat, v.Lines[1].Qty, v.Grid[0][1], v.Tags["$time"], *v.Maybe = 9, 1, 7, 5, 2, "no"
		v.Any.(map[string]any)["l"].([]any)[0] = "changed"
		v.Patch[6] = '7'
		delete(v.Moods, "a")
		return nil
	}
	require.NoError(t, c.Edit(ctx, "1", change))
	require.NoError(t, change(&want))
	got, err := c.Get(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, want, got)

	only := replica.NewCollection[struct {
		A int `json:"a,omitempty"`
	}](r, "notes")
	put(t, r, "2", `{"a":1}`)
	require.ErrorIs(t, only.Edit(ctx, "2", func(v *struct {
		A int `json:"a,omitempty"`
	}) error {
		v.A = 0
		return nil
	}), replica.ErrEmpty)
	require.Equal(t, `{"a":1}`, get(t, r, "2"))
}

func TestTypesThatNoRecordHolds(t *testing.T) {
	r := open(t, nil)
	for name, err := range map[string]error{
		"int":      tryType[int](r),
		"list":     tryType[[]int](r),
		"channel":  tryType[struct{ C chan int }](r),
		"int keys": tryType[struct{ M map[int]int }](r),
		"two of one": tryType[struct {
			A int `godwit:"x"`
			B int `godwit:"x"`
		}](r),
		"bad option": tryType[struct {
			A int `godwit:"a,txt"`
		}](r),
		"text on int": tryType[struct {
			A int `godwit:"a,text"`
		}](r),
		"two ids": tryType[struct {
			A, B string `godwit:",id"`
		}](r),
		"int id": tryType[struct {
			A int `godwit:",id"`
		}](r),
		"no fields":  tryType[struct{ a int }](r),
		"struct key": tryType[struct{ F func() }](r),
	} {
		var typed *replica.Error
		require.ErrorAs(t, err, &typed, name)
	}
	require.NoError(t, tryType[map[string]any](r))
	type tree struct {
		N    int     `json:"n"`
		Kids []*tree `json:"kids,omitempty"`
	}
	c := replica.NewCollection[tree](r, "trees")
	want := tree{1, []*tree{{2, nil}, {3, []*tree{{4, nil}}}}}
	require.NoError(t, c.Put(context.Background(), "t", want))
	got, err := c.Get(context.Background(), "t")
	require.NoError(t, err)
	require.Equal(t, want, got)
	loop := &tree{}
	loop.Kids = []*tree{loop}
	require.Error(t, c.Put(context.Background(), "loop", *loop))
}

func tryType[T any](r *replica.Replica) error {
	_, err := replica.NewCollection[T](r, "notes").Count(context.Background())
	return err
}
