package persist_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// shown writes records that show these objects, by ID.
func shown(t testing.TB, s *persist.Store, objects map[string]string) {
	t.Helper()
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(objects)) {
			if _, err := edit(tx, key(id), "actor", canonical(t, objects[id])); err != nil {
				return err
			}
		}
		return nil
	}))
}

// canonical writes an object as replica stores it.
func canonical(t testing.TB, object string) string {
	v, err := crdt.ParseJSON([]byte(object))
	require.NoError(t, err)
	b, err := crdt.AppendJSON(nil, v)
	require.NoError(t, err)
	return string(b)
}

func ids(t testing.TB, s *persist.Store, q persist.Query) []string {
	t.Helper()
	got, err := queryIDs(s, q)
	require.NoError(t, err)
	return got
}

func queryIDs(s *persist.Store, q persist.Query) (got []string, err error) {
	ctx := context.Background()
	q.Collection = "notes"
	err = s.Read(ctx, func(r *persist.Reader) error {
		got = []string{}
		for v, err := range r.Query(ctx, q) {
			if err != nil {
				return err
			}
			got = append(got, v.ID)
		}
		return nil
	})
	return got, err
}

// index declares and builds indexes, a few records a transaction.
func index(t testing.TB, s *persist.Store, fields ...string) {
	t.Helper()
	for _, f := range fields {
		require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
			_, err := tx.EnsureIndex("notes", f)
			return err
		}))
	}
	build(t, s)
}

func build(t testing.TB, s *persist.Store) {
	t.Helper()
	for {
		more, err := buildSome(s, 7, -1)
		require.NoError(t, err)
		if !more {
			return
		}
	}
}

// buildSome enters what Unbuilt returns into an index, a few records a transaction, and
// at most so many transactions if that is not negative.
func buildSome(s *persist.Store, few, most int) (more bool, err error) {
	ctx := context.Background()
	var x *persist.FieldIndex
	var rids []int64
	if err := s.Read(ctx, func(r *persist.Reader) error {
		x, rids, err = r.Unbuilt(ctx)
		return err
	}); err != nil || x == nil {
		return false, err
	}
	for ; most != 0; most-- {
		some := rids[:min(len(rids), few)]
		rids = rids[len(some):]
		err := s.Commit(ctx, func(tx *persist.Tx) error { return tx.EnterIndex(ctx, x, some, len(rids) == 0) })
		if err != nil || len(rids) == 0 {
			return true, err
		}
	}
	return true, nil
}

func ms(n int64) time.Time { return time.UnixMilli(n) }

var several = map[string]string{
	"a": `{"n":1,"s":"Tides","b":true,"t":{"$time":"2026-01-02T03:04:05Z"},"tags":["sea","salt"],"sub":{"city":"Oslo"}}`,
	"b": `{"n":1.0,"s":"Tide","b":false,"t":{"$time":"2026-01-02T03:04:05.5Z"},"tags":[1,{"$time":"2026-01-02T03:04:05Z"}]}`,
	"c": `{"n":-7,"s":"","t":{"$time":"2026-01-02T03:04:06Z"},"tags":[]}`,
	"d": `{"n":{"$float":"Infinity"},"s":"\u0000x","t":{"$time":-99999999999999},"raw":{"$bytes":"AAEC"}}`,
	"e": `{"n":"1","s":7,"t":{"$time":999999999999999},"raw":"AAEC"}`,
	"f": `{"n":null,"b":1,"t":"2026-01-02T03:04:05Z","m":{"$map":{"$time":"2026-01-02T03:04:05Z"}}}`,
	"g": `{"n":{"$float":"NaN"},"m":{"$time":"x","y":1},"o'b":1,"a b":{"c\td":2}}`,
	"h": `{"n":18446744073709551615,"sub":{"city":"Ås"}}`,
}

func TestConditions(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type status string
	for _, c := range []struct {
		where persist.Cond
		want  string
	}{
		{persist.Cond{}, "a b c d e f g h"},
		{persist.Where("n", persist.Eq, 1), "a b"},
		{persist.Where("n", persist.Eq, 1.0), "a b"},
		{persist.Where("n", persist.Eq, uint8(1)), "a b"},
		{persist.Where("n", persist.Eq, "1"), "e"},
		{persist.Where("n", persist.Ne, 1), "c d e f g h"},
		{persist.Where("n", persist.Lt, 1), "c"},
		{persist.Where("n", persist.Le, 1), "a b c"},
		{persist.Where("n", persist.Gt, 0), "a b d h"},
		{persist.Where("n", persist.Gt, math.MaxFloat64), "d"},
		{persist.Where("n", persist.Ge, ""), "e"},
		{persist.Where("n", persist.Eq, uint64(math.MaxUint64)), "h"},
		{persist.Where("n", persist.Eq, math.Inf(1)), "d"},
		{persist.Where("n", persist.Eq, math.NaN()), "g"},
		{persist.Where("n", persist.Eq, nil), "f"},
		{persist.Where("n", persist.Eq, (*int)(nil)), "f"},
		{persist.Where("b", persist.Eq, true), "a"},
		{persist.Where("b", persist.Eq, 1), "f"},
		{persist.Where("b", persist.Ne, true), "b c d e f g h"},
		{persist.Where("b", persist.Exists, nil), "a b f"},
		{persist.Where("b", persist.Exists, false), "c d e g h"},
		{persist.Where("n", persist.Exists, true), "a b c d e f g h"},
		{persist.Where("s", persist.Prefix, "Tid"), "a b"},
		{persist.Where("s", persist.Prefix, ""), "a b c d"},
		{persist.Where("s", persist.Prefix, "\x00"), "d"},
		{persist.Where("s", persist.Lt, "Tides"), "b c d"},
		{persist.Where("s", persist.Gt, "Tide"), "a"},
		{persist.Where("s", persist.Eq, status("Tide")), "b"},
		{persist.Where("s", persist.In, []string{"Tide", "", "none"}), "b c"},
		{persist.Where("s", persist.In, []status{"Tide"}), "b"},
		{persist.Where("s", persist.In, []any{"Tide", 7}), "b e"},
		{persist.Where("s", persist.In, []string{}), ""},
		{persist.Where("s", persist.Contains, "ide"), "a b"},
		{persist.Where("s", persist.Contains, "\x00x"), "d"},
		{persist.Where("tags", persist.Contains, "sea"), "a"},
		{persist.Where("tags", persist.Contains, "se"), ""},
		{persist.Where("tags", persist.Contains, 1), "b"},
		{persist.Where("tags", persist.Contains, at), "b"},
		{persist.Where("tags", persist.Eq, []string{"sea", "salt"}), "a"},
		{persist.Where("tags", persist.Eq, []any{}), "c"},
		{persist.Where("t", persist.Eq, at), "a"},
		{persist.Where("t", persist.Eq, at.In(time.FixedZone("", 3600))), "a"},
		{persist.Where("t", persist.Gt, at), "b c e"},
		{persist.Where("t", persist.Lt, at.Add(time.Second)), "a b d"},
		{persist.Where("t", persist.Ge, ms(-99999999999999)), "a b c d e"},
		{persist.Where("t", persist.Gt, ms(999999999999998)), "e"},
		{persist.Where("t", persist.Eq, "2026-01-02T03:04:05Z"), "f"},
		{persist.Where("m", persist.Eq, at), ""},
		{persist.Where("m", persist.Eq, map[string]any{"$time": "2026-01-02T03:04:05Z"}), "f"},
		{persist.Where("m", persist.Eq, map[string]any{"$time": "x", "y": 1}), "g"},
		{persist.Where("raw", persist.Eq, []byte{0, 1, 2}), "d"},
		{persist.Where("raw", persist.In, [][]byte{{0, 1, 2}}), "d"},
		{persist.Where("sub.city", persist.Eq, "Oslo"), "a"},
		{persist.Where("sub.city", persist.Prefix, "Å"), "h"},
		{persist.Where(`["o'b"]`, persist.Eq, 1), "g"},
		{persist.Where(`["a b"]`, persist.Exists, nil), "g"},
		{persist.Where("$id", persist.Ge, "g"), "g h"},
		{persist.Where("$id", persist.In, []string{"a", "x", "c"}), "a c"},
		{persist.Where("$id", persist.Prefix, "b"), "b"},
		{persist.Where("$id", persist.Contains, "b"), "b"},
		{persist.Where("id", persist.Exists, nil), ""},
		{persist.And(persist.Where("n", persist.Eq, 1), persist.Not(persist.Where("b", persist.Eq, true))), "b"},
		{persist.Or(persist.Where("n", persist.Lt, 0), persist.Where("s", persist.Eq, 7)), "c e"},
		{persist.And(), "a b c d e f g h"},
		{persist.Or(), ""},
		{persist.Not(persist.And()), ""},
	} {
		t.Run(fmt.Sprint(c.where), func(t *testing.T) {
			require.Equal(t, strings.Fields(c.want), ids(t, s, persist.Query{Where: c.where}))
		})
	}
}

func TestWrongQueries(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	deep, wide := persist.Where("n", persist.Eq, 1), []persist.Cond{}
	for range persist.MaxConditionDepth {
		deep = persist.Not(deep)
	}
	for range persist.MaxConditions {
		wide = append(wide, persist.Where("n", persist.Eq, 1))
	}
	for _, c := range []struct {
		q    persist.Query
		want string
	}{
		{persist.Query{Where: persist.Where("n", "like", 1)}, "field n like: unknown operator: there are eq, ne"},
		{persist.Query{Where: persist.Where("n", "eq\x00; DROP TABLE records", 1)}, "unknown operator"},
		{persist.Query{Where: persist.Where("", persist.Eq, 1)}, "path is empty"},
		{persist.Query{Where: persist.Where("a..b", persist.Eq, 1)}, "parse path"},
		{persist.Query{Where: persist.Where("tags[0]", persist.Eq, 1)}, "index names no field"},
		{persist.Query{Where: persist.Where(`n"' OR 1=1 --`, persist.Eq, 1)}, "parse path"},
		{persist.Query{Where: persist.Where(`["a\"b"]`, persist.Eq, 1)}, "quotes"},
		{persist.Query{Where: persist.Where("[\"\\u0000\"]", persist.Eq, 1)}, "UTF-8"},
		{persist.Query{Where: persist.Where(strings.Repeat("a", 10<<10), persist.Eq, 1)}, "10240 bytes"},
		{persist.Query{OrderBy: []persist.Order{{Field: strings.Repeat("a.", 5<<10)}}}, "10240 bytes"},
		{persist.Query{OrderBy: []persist.Order{{Field: "1=1; --"}}}, "parse path"},
		{persist.Query{OrderBy: make([]persist.Order, persist.MaxOrders+1)}, "ordered by 9 fields"},
		{persist.Query{Where: persist.Where("n", persist.Lt, true)}, "field n lt: only numbers, strings and times"},
		{persist.Query{Where: persist.Where("n", persist.Gt, []byte("x"))}, "only numbers"},
		{persist.Query{Where: persist.Where("n", persist.Le, math.NaN())}, "only numbers"},
		{persist.Query{Where: persist.Where("n", persist.Prefix, 1)}, "has to be a string"},
		{persist.Query{Where: persist.Where("n", persist.In, 1)}, "has to be a slice"},
		{persist.Query{Where: persist.Where("n", persist.In, []byte("x"))}, "has to be a slice"},
		{persist.Query{Where: persist.Where("n", persist.In, make([]int, persist.MaxQueryValues+1))}, "more than 10000 values"},
		{persist.Query{Where: persist.Where("n", persist.Exists, "yes")}, "has to be true or false"},
		{persist.Query{Where: persist.Where("n", persist.Eq, struct{}{})}, "no record holds a value of type struct {}"},
		{persist.Query{Where: persist.Where("n", persist.Eq, make(chan int))}, "no record holds"},
		{persist.Query{Where: persist.Where("n", persist.Eq, "\xff")}, "not valid UTF-8"},
		{persist.Query{Where: persist.Where("$id", persist.Eq, 5)}, "an ID is a string"},
		{persist.Query{Where: deep}, "nest deeper than 32"},
		{persist.Query{Where: persist.And(wide...)}, "more than 256 conditions"},
		{persist.Query{Limit: -1}, "limit -1"},
		{persist.Query{Offset: -1}, "offset -1"},
		{persist.Query{OrderBy: []persist.Order{{Field: "n"}}, After: &persist.View{ID: "x"}}, "needs its value"},
		{persist.Query{Where: persist.Search("sea")}, "no full text"},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, err := queryIDs(s, c.q)
			var e *persist.QueryError
			require.ErrorAs(t, err, &e)
			require.ErrorContains(t, err, c.want)
		})
	}
	require.Len(t, ids(t, s, persist.Query{}), len(several))
}

// The values of the model, in the order of Order.
var values = []string{
	`-3`, `0`, `1`, `1.5`, `2`, `""`, `"a"`, `"ab"`, `"b"`, `false`, `true`,
	`{"$time":"2026-01-02T03:04:05Z"}`, `{"$time":"2026-01-02T03:04:05.25Z"}`, `{"$time":"2026-01-02T03:04:05.3Z"}`,
	`{"$bytes":"AAEC"}`, `[1,"a"]`, `{"x":1}`, `{"$float":"NaN"}`, `null`, ``,
}

// TestQueriesAgainstAModel holds random queries, over random records with and without
// indexes that are half built, against a loop in Go.
func TestQueriesAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	m := &model{t: t, rnd: rnd, records: map[string][2]int{}}
	fields := []string{"f", "sub.g"}
	for round := range 4 {
		if round == 1 || round == 2 {
			index(t, s, fields[round-1])
		}
		m.write(s, 60)
		for range 120 {
			m.check(s)
		}
	}
	require.NoError(t, s.Check(context.Background(), func(p persist.Problem) {
		if p.Kind == "index" {
			t.Error(p)
		}
	}))
}

type model struct {
	t       testing.TB
	rnd     *rand.Rand
	records map[string][2]int // the values of f and sub.g, by ID
}

func (m *model) write(s *persist.Store, n int) {
	require.NoError(m.t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for range n {
			id, v := fmt.Sprintf("r%03d", m.rnd.IntN(200)), [2]int{m.rnd.IntN(len(values)), m.rnd.IntN(len(values))}
			object := `{"other":1`
			if values[v[0]] != "" {
				object += `,"f":` + values[v[0]]
			}
			if values[v[1]] != "" {
				object += `,"sub":{"g":` + values[v[1]] + `}`
			}
			rec, err := edit(tx, key(id), "actor", canonical(m.t, object+"}"))
			if err != nil {
				return err
			}
			if m.records[id] = v; m.rnd.IntN(5) == 0 {
				delete(m.records, id)
				rec.Deleted, rec.JSON = true, nil
			} else {
				rec.Deleted = false
			}
			if err := tx.PutRecord(rec); err != nil {
				return err
			}
		}
		return nil
	}))
}

// cond returns a random condition and what it means.
func (m *model) cond(depth int) (persist.Cond, func([2]int) bool) {
	if depth > 0 && m.rnd.IntN(3) == 0 {
		a, isA := m.cond(depth - 1)
		b, isB := m.cond(depth - 1)
		switch m.rnd.IntN(3) {
		case 0:
			return persist.And(a, b), func(v [2]int) bool { return isA(v) && isB(v) }
		case 1:
			return persist.Or(a, b), func(v [2]int) bool { return isA(v) || isB(v) }
		}
		return persist.Not(a), func(v [2]int) bool { return !isA(v) }
	}
	i := m.rnd.IntN(2)
	field := []string{"f", "sub.g"}[i]
	at := m.rnd.IntN(len(values) - 1)
	v, err := crdt.ParseJSON([]byte(values[at]))
	require.NoError(m.t, err)
	class := func(n int) bool { // of one type with at, and ordered
		switch {
		case at < 5:
			return n < 5
		case at < 9:
			return n >= 5 && n < 9
		}
		return n >= 11 && n < 14
	}
	ordered := at < 9 || at >= 11 && at < 14
	switch op := []persist.Op{persist.Eq, persist.Ne, persist.Lt, persist.Le, persist.Gt, persist.Ge, persist.In, persist.Exists}[m.rnd.IntN(8)]; op {
	case persist.Ne:
		return persist.Where(field, op, v), func(r [2]int) bool { return r[i] != at }
	case persist.In:
		return persist.Where(field, op, []any{v, "b"}), func(r [2]int) bool { return r[i] == at || r[i] == 8 }
	case persist.Exists:
		there := m.rnd.IntN(2) == 0
		return persist.Where(field, op, there), func(r [2]int) bool { return (r[i] < len(values)-1) == there }
	case persist.Lt, persist.Le, persist.Gt, persist.Ge:
		if ordered {
			return persist.Where(field, op, v), func(r [2]int) bool {
				return class(r[i]) && map[persist.Op]bool{persist.Lt: r[i] < at, persist.Le: r[i] <= at, persist.Gt: r[i] > at, persist.Ge: r[i] >= at}[op]
			}
		}
	}
	return persist.Where(field, persist.Eq, v), func(r [2]int) bool { return r[i] == at }
}

func (m *model) check(s *persist.Store) {
	cond, is := m.cond(3)
	var by []persist.Order
	for range m.rnd.IntN(3) {
		by = append(by, persist.Order{Field: []string{"f", "sub.g", "$id"}[m.rnd.IntN(3)], Desc: m.rnd.IntN(2) == 0})
	}
	var want []string
	for id, v := range m.records {
		if is(v) {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		desc := false
		for _, o := range by {
			c := strings.Compare(a, b)
			if o.Field != "$id" {
				i := slices.Index([]string{"f", "sub.g"}, o.Field)
				c = m.records[a][i] - m.records[b][i]
			}
			if desc = o.Desc; c != 0 {
				return map[bool]int{false: c, true: -c}[desc]
			}
		}
		return map[bool]int{false: 1, true: -1}[desc] * strings.Compare(a, b)
	})
	q := persist.Query{Collection: "notes", Where: cond, OrderBy: by}
	about := fmt.Sprintf("%+v", q)
	got := ids(m.t, s, q)
	require.ElementsMatch(m.t, want, got, about)
	require.Equal(m.t, append([]string{}, want...), got, about)

	// In pages, each from the last record of the one before.
	var paged []string
	page := q
	page.Limit = 1 + m.rnd.IntN(20)
	ctx := context.Background()
	require.NoError(m.t, s.Read(ctx, func(r *persist.Reader) error {
		for more := true; more; {
			more = false
			for v, err := range r.Query(ctx, page) {
				if err != nil {
					return err
				}
				paged, more = append(paged, v.ID), true
				page.After = &v
			}
		}
		n, err := r.Count(ctx, q)
		require.Equal(m.t, int64(len(want)), n, about)
		return err
	}))
	require.Equal(m.t, want, paged, about)
	offset := q
	offset.Offset, offset.Limit = m.rnd.IntN(5), m.rnd.IntN(5)
	rest := got[min(offset.Offset, len(got)):]
	if offset.Limit > 0 {
		rest = rest[:min(len(rest), offset.Limit)]
	}
	require.Equal(m.t, append([]string{}, rest...), ids(m.t, s, offset), about)
}

func TestAMatchIsOfWhatIsGiven(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	ctx := context.Background()
	q := persist.Query{Collection: "notes", Where: persist.And(persist.Where("n", persist.Gt, 5), persist.Where("$id", persist.Prefix, "a"))}
	require.NoError(t, s.Read(ctx, func(r *persist.Reader) error {
		for _, c := range []struct {
			v    persist.View
			want bool
		}{
			{persist.View{ID: "a", JSON: []byte(`{"n":6}`)}, true},
			{persist.View{ID: "a", JSON: []byte(`{"n":5}`)}, false},
			{persist.View{ID: "b", JSON: []byte(`{"n":6}`)}, false},
			{persist.View{ID: "a"}, false},
		} {
			got, err := r.Matches(ctx, q, c.v)
			require.NoError(t, err)
			require.Equal(t, c.want, got, c.v)
		}
		return nil
	}))
}

func TestGroups(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	groups := func(q persist.Query, field string, desc bool) (got []string) {
		ctx := context.Background()
		q.Collection = "notes"
		require.NoError(t, s.Read(ctx, func(r *persist.Reader) error {
			for g, err := range r.Groups(ctx, q, field, desc) {
				if err != nil {
					return err
				}
				got = append(got, fmt.Sprintf("%s*%d", g.Value, g.Count))
			}
			return nil
		}))
		return got
	}
	for range 2 {
		require.Equal(t, []string{`-7*1`, `1*2`, `18446744073709551615*1`, `{"$float":"Infinity"}*1`, `"1"*1`, `{"$float":"NaN"}*1`, `null*1`},
			groups(persist.Query{}, "n", false))
		require.Equal(t, []string{`null*1`, `{"$float":"NaN"}*1`}, groups(persist.Query{Limit: 2}, "n", true))
		require.Equal(t, []string{`"a"*1`, `"b"*1`}, groups(persist.Query{Where: persist.Where("n", persist.Eq, 1)}, "$id", false))
		require.Equal(t, []string{`false*1`, `true*1`}, groups(persist.Query{Where: persist.Where("n", persist.Eq, 1)}, "b", false))
		index(t, s, "n")
	}
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	objects := map[string]string{}
	for i := range 3000 {
		objects[fmt.Sprint(i)] = `{"n":1}`
	}
	shown(t, s, objects)
	ctx, cancel := context.WithCancel(context.Background())
	err := s.Read(context.Background(), func(r *persist.Reader) error {
		for _, err := range r.Query(ctx, persist.Query{Collection: "notes"}) {
			if err != nil {
				return err
			}
			cancel()
		}
		return errors.New("it went on")
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, ids(t, s, persist.Query{Limit: 10}), 10)
	require.True(t, bytes.Contains([]byte(plan(t, s, persist.Query{})), []byte("records_key")))
}

func plan(t testing.TB, s *persist.Store, q persist.Query) (text string) {
	t.Helper()
	q.Collection = "notes"
	require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) (err error) {
		text, err = r.Plan(context.Background(), q)
		return err
	}))
	return text
}
