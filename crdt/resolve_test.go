package crdt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func viewOf(t testing.TB, self crdt.ReplicaID, policy string) *crdt.View {
	t.Helper()
	if !strings.HasPrefix(policy, "{") {
		text, err := json.Marshal(crdt.Policy{Default: policy})
		require.NoError(t, err)
		policy = string(text)
	}
	p, err := crdt.ParsePolicy([]byte(policy))
	require.NoError(t, err)
	v, err := p.View(self)
	require.NoError(t, err)
	return v
}

// forked returns a history that began with a record, on top of which replica 1, 2
// and so on made one edit each, at the given seconds, without knowing of each
// other. A later one has a greater actor.
func forked(t testing.TB, start string, seconds []int64, edits ...func(*crdt.Edit) error) *crdt.History {
	t.Helper()
	h := crdt.NewHistory()
	put(t, h, "", parseJSON(t, start), crdt.Merge)
	var first []*crdt.Change
	for c := range h.Changes() {
		first = append(first, c)
	}
	for i, edit := range edits {
		site := crdt.NewHistory()
		for _, c := range first {
			_, err := site.Add(c)
			require.NoError(t, err)
		}
		at := int64(i + 1)
		if seconds != nil {
			at = seconds[i]
		}
		e := site.Begin(crdt.ReplicaID{0xa0 + byte(i)}.Actor([8]byte{}), 1.7e12+1000*at, nil)
		require.NoError(t, edit(e))
		c, err := e.Commit(fmt.Sprint("by ", i+1))
		require.NoError(t, err)
		_, err = h.Add(c)
		require.NoError(t, err)
	}
	return h
}

func putting(t testing.TB, path, value string) func(*crdt.Edit) error {
	return func(e *crdt.Edit) error { return e.Put(pathOf(t, path), parseJSON(t, value), crdt.Merge) }
}

func deleting(t testing.TB, path string) func(*crdt.Edit) error {
	return func(e *crdt.Edit) error { return e.Delete(pathOf(t, path)) }
}

// TestResolvers: what each shows of a field v that two or three replicas wrote.
func TestResolvers(t *testing.T) {
	tests := []struct {
		policy string
		values string // one a replica, by ascending operation ID; "-" deletes
		want   string // of v; "-" is none
	}{
		{"automerge", `1 2 3`, `3`},
		{"max", `1 3 2`, `3`},
		{"min", `2 1 3`, `1`},
		{"max", `null true 1 "s" {"$bytes":"AA=="} [1] {"a":1}`, `{"a":1}`},
		{"min", `{"a":1} [1] {"$bytes":"AA=="} "s" {"$time":"2026-01-02T03:04:05Z"} 1 true null`, `null`},
		{"max", `9007199254740993 9007199254740992.0`, `9007199254740993`},
		{"min", `{"$float":"NaN"} {"$float":"-Infinity"}`, `{"$float":"NaN"}`},
		{"max", `[1,2] [1,3] [1]`, `[1,3]`},
		{"max", `{"$text":"b"} "a"`, `"b"`},
		{"max", `- 1`, `1`},
		{"union", `[1,2] [2,3] [3,1.0]`, `[1,2,3,1.0]`},
		{"union", `[1] "s"`, `"s"`},
		{"union", `{"a":1} {"b":2}`, `{"a":1,"b":2}`},
		{"concat", `"one" "two" "one"`, `"one\ntwo"`},
		{"concat: / ", `{"$text":"one"} "two"`, `"one / two"`},
		{"concat:", `"one" 2`, `2`},
		{"concat", `- "two"`, `"two"`},
		{"merge", `{"a":1,"b":{"x":1}} {"c":2,"b":{"y":2}} {"a":3}`, `{"a":3,"b":{"x":1,"y":2},"c":2}`},
		{"merge", `{"a":1} 2`, `2`},
		{`{"fields":[{"field":"v","resolver":"merge"},{"field":"v.n","resolver":"max"}]}`, `{"n":2} {"n":1}`, `{"n":2}`},
		{"sum", `{"$counter":1} {"$counter":2} {"$counter":4}`, `7`},
		{"sum", `{"$counter":1} 2`, `2`},
		{"prefer:a0", `1 2 3`, `1`},
		{"prefer:ff,a100000000000000,a0", `1 2 3`, `2`},
		{"prefer:ff", `1 2 3`, `3`},
		{"prefer:a1", `1 - 3`, `-`},
		{"lww", `1 -`, `-`},
		{"lww", `- 1`, `1`},
		{"fww", `- 1`, `-`},
		{"fww", `1 -`, `1`},
		{"automerge", `1 -`, `1`},
		{"update-wins", `1 -`, `1`},
		{"go:unknown", `1 2`, `2`},
	}
	for _, tt := range tests {
		t.Run(tt.policy+" "+tt.values, func(t *testing.T) {
			var edits []func(*crdt.Edit) error
			for _, value := range strings.Fields(tt.values) {
				edit := deleting(t, "v")
				if value != "-" {
					edit = putting(t, "v", value)
				}
				edits = append(edits, edit)
			}
			h := forked(t, `{"v":"start","w":0}`, nil, edits...)
			v := viewOf(t, crdt.ReplicaID{}, tt.policy)
			want := `{"v":` + tt.want + `,"w":0}`
			if tt.want == "-" {
				want = `{"w":0}`
			}
			require.Equal(t, want, jsonOf(t, h, v))
			require.Equal(t, want, string(h.Render(nil, v).JSON))
			require.Equal(t, tt.policy == "go:unknown", h.Render(nil, v).Lacking)
			require.Equal(t, 1, h.ConflictCount(v))
			require.Len(t, h.Conflicts(v), 1)
			require.Len(t, h.Conflicts(v)[0].Candidates, len(edits))
		})
	}
}

// TestConflictsAtAnyDepth lists who disagrees about what.
func TestConflictsAtAnyDepth(t *testing.T) {
	tests := map[string]struct {
		start string
		edits []func(*crdt.Edit) error
		path  string
		want  string // candidates, the greatest first
	}{
		"maps made at the same key": {`{"a":1}`, []func(*crdt.Edit) error{putting(t, "m", `{"x":1}`), putting(t, "m", `{"y":2}`)},
			"m", `{"y":2} {"x":1}`},
		"text against scalar": {`{"a":1}`, []func(*crdt.Edit) error{putting(t, "m.t", `{"$text":"x"}`), putting(t, "m.t", `7`)}, "m", `{"t":7} {"t":"x"}`},
		"counter against overwrite": {`{"c":1}`, []func(*crdt.Edit) error{putting(t, "c", `"x"`), putting(t, "c", `{"$counter":9}`)},
			"c", `9 "x"`},
		"field deleted against edited":   {`{"m":{"a":1,"b":2}}`, []func(*crdt.Edit) error{deleting(t, "m.a"), putting(t, "m.a", `3`)}, "m.a", `3 deleted`},
		"element deleted against edited": {`{"l":[1,2,3]}`, []func(*crdt.Edit) error{putting(t, "l[1]", `9`), deleting(t, "l[1]")}, "l[1]", `deleted 9`},
		"element edited twice":           {`{"l":[{"l":[1]}]}`, []func(*crdt.Edit) error{putting(t, "l[0].l[0]", `2`), putting(t, "l[0].l[0]", `3`)}, "l[0].l[0]", `3 2`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := forked(t, tt.start, nil, tt.edits...)
			all := h.Conflicts(nil)
			require.Len(t, all, 1)
			require.Equal(t, tt.path, all[0].Path.String())
			var got []string
			for _, c := range all[0].Candidates {
				text, err := crdt.AppendJSON(nil, c.Value)
				require.NoError(t, err)
				if c.Deleted {
					text = []byte("deleted")
				}
				got = append(got, string(text))
				require.Equal(t, c.Op.Actor, c.Actor)
				change := h.Change(c.Hash)
				require.Equal(t, change.Message(), c.Message)
				require.Equal(t, change.Time(), c.Time)
				require.NotZero(t, c.Replica)
			}
			require.Equal(t, tt.want, strings.Join(got, " "))
			mustEqualCore(t, h)
			for i := range all[0].Candidates { // whichever is picked, it is shown then, and by the core
				again := crdt.NewHistory()
				for c := range h.Changes() {
					_, err := again.Add(c)
					require.NoError(t, err)
				}
				commit(t, again, func(e *crdt.Edit) error { return e.Resolve(all[0].Path, all[0].Candidates[i].Op) })
				for _, name := range crdt.Resolvers() {
					require.Zero(t, again.ConflictCount(viewOf(t, crdt.ReplicaID{}, name)))
					require.Equal(t, jsonOf(t, again, nil), jsonOf(t, again, viewOf(t, crdt.ReplicaID{}, name)))
				}
				mustEqualCore(t, again)
			}
		})
	}
}

// TestSettlingIsNoDeletion: what settles a conflict deletes the losers; it is no
// deletion of the field, whatever happens to the winner at the same time.
func TestSettlingIsNoDeletion(t *testing.T) {
	h := forked(t, `{"a":0}`, nil, putting(t, "v", `1`), putting(t, "v", `2`))
	winner := h.Conflicts(nil)[0].Candidates[0].Op
	sites := []*crdt.History{crdt.NewHistory(), crdt.NewHistory()}
	n := 0
	for c := range h.Changes() {
		_, err := sites[0].Add(c)
		require.NoError(t, err)
		if n++; n != 2 { // the second knows nothing of the loser
			_, err = sites[1].Add(c)
			require.NoError(t, err)
		}
	}
	edit := func(site *crdt.History, r byte, at int64, fn func(*crdt.Edit) error) {
		e := site.Begin(crdt.ReplicaID{r}.Actor([8]byte{}), at, nil)
		require.NoError(t, fn(e))
		c, err := e.Commit("")
		require.NoError(t, err)
		_, err = h.Add(c)
		require.NoError(t, err)
	}
	edit(sites[1], 0xb1, 1.8e12, putting(t, "v", `3`))
	edit(sites[0], 0xb0, 1.9e12, func(e *crdt.Edit) error { return e.Resolve(key("v"), winner) })
	for _, name := range crdt.Resolvers() {
		v := viewOf(t, crdt.ReplicaID{}, name)
		if name != crdt.ResolverWholeRecord {
			require.Equal(t, `{"a":0,"v":3}`, jsonOf(t, h, v), name)
			require.Zero(t, h.ConflictCount(v), name)
		}
	}
}

// TestRecordResolvers: what views of whole records show, and that an edit under
// them, which knows of everything, leaves what it was shown.
func TestRecordResolvers(t *testing.T) {
	clear := (*crdt.Edit).Clear
	tests := []struct {
		policy     string
		edits      []func(*crdt.Edit) error
		want       string
		candidates int // of the record itself
	}{
		{"automerge", []func(*crdt.Edit) error{clear, putting(t, "a", `2`)}, `{"a":2}`, 0},
		{"update-wins", []func(*crdt.Edit) error{clear, putting(t, "a", `2`)}, `{"a":2,"m":{"x":1},"t":"text"}`, 2},
		{"update-wins", []func(*crdt.Edit) error{putting(t, "n", `2`), clear, clear}, `{"a":1,"m":{"x":1},"n":2,"t":"text"}`, 3},
		{"delete-wins", []func(*crdt.Edit) error{putting(t, "a", `2`), clear}, `{}`, 2},
		{"delete-wins", []func(*crdt.Edit) error{putting(t, "a", `2`), deleting(t, "a")}, `{"a":2,"m":{"x":1},"t":"text"}`, 0},
		{"delete-wins", []func(*crdt.Edit) error{clear, clear}, `{}`, 0},
		{"whole-record-lww", []func(*crdt.Edit) error{putting(t, "a", `2`), putting(t, "m.x", `2`)}, `{"a":1,"m":{"x":2},"t":"text"}`, 2},
		{"whole-record-lww", []func(*crdt.Edit) error{putting(t, "a", `2`), clear}, `{}`, 2},
		{`{"default":"update-wins","fields":[{"field":"*","resolver":"max"}]}`,
			[]func(*crdt.Edit) error{putting(t, "a", `3`), putting(t, "a", `2`), clear}, `{"a":3,"m":{"x":1},"t":"text"}`, 2},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i, tt.policy), func(t *testing.T) {
			build := func() *crdt.History { return forked(t, `{"a":1,"m":{"x":1},"t":{"$text":"text"}}`, nil, tt.edits...) }
			h := build()
			v := viewOf(t, replica1, tt.policy)
			r := h.Render(nil, v)
			require.Equal(t, tt.want != "{}", r.Exists)
			require.Equal(t, r.Exists, h.Shows(v))
			require.Equal(t, tt.want, jsonOf(t, h, v))
			require.Equal(t, r.Conflicts, len(h.Conflicts(v)))
			if tt.candidates > 0 {
				require.Empty(t, h.Conflicts(v)[0].Path)
				require.Len(t, h.Conflicts(v)[0].Candidates, tt.candidates)
			}

			heads := h.Heads()
			e := h.Begin(benchActor, 1.8e12, v)
			require.NoError(t, e.Put(nil, parseJSON(t, tt.want), crdt.Replace))
			c, err := e.Commit("")
			require.NoError(t, err)
			require.Nil(t, c)
			require.Equal(t, heads, h.Heads())

			e = h.Begin(benchActor, 1.8e12, v)
			require.NoError(t, e.Put(key("z"), 1, crdt.Merge))
			_, err = e.Commit("")
			require.NoError(t, err)
			want := strings.TrimSuffix(tt.want, "}") + `,"z":1}`
			want = strings.Replace(want, "{,", "{", 1)
			require.Equal(t, want, jsonOf(t, h, v))
			if strings.HasPrefix(tt.policy, "{") {
				return
			}
			require.Equal(t, want, jsonOf(t, h, nil), "whoever knows of all sees the same")
			mustEqualCore(t, h)

			for i := range tt.candidates {
				h := build()
				cand := h.Conflicts(v)[0].Candidates[i]
				e := h.Begin(benchActor, 1.8e12, v)
				require.NoError(t, e.Resolve(nil, cand.Op))
				c, err := e.Commit("")
				require.NoError(t, err)
				require.NotNil(t, c)
				require.Equal(t, !cand.Deleted, h.Exists())
				require.Len(t, h.Heads(), 1)
				mustEqualCore(t, h)
			}
		})
	}
}

// TestEditsOfCombined: an edit in a value that a view made of several candidates
// keeps the rest of it, and one candidate's place.
func TestEditsOfCombined(t *testing.T) {
	tests := []struct {
		policy, a, b, want string
		edit               func(*crdt.Edit) error
	}{
		{"merge", `{"a":1}`, `{"b":2}`, `{"a":1,"b":3}`, putting(t, "v.b", `3`)},
		{"merge", `{"a":1}`, `{"b":2}`, `{"a":1,"b":2,"c":{"d":1}}`, putting(t, "v.c.d", `1`)},
		{"merge", `{"a":1}`, `{"b":2}`, `{"b":2}`, deleting(t, "v.a")},
		{"union", `[1]`, `[2]`, `[1,9,2]`, func(e *crdt.Edit) error { return e.Insert(key("v"), 1, 9) }},
		{"union", `[1]`, `[2]`, `[3]`, putting(t, "v", `[3]`)},
		{"concat:-", `{"$text":"ab"}`, `{"$text":"cd"}`, `"ab+cd"`, func(e *crdt.Edit) error { return e.Splice(key("v"), 2, 1, "+") }},
		{"sum", `{"$counter":5}`, `{"$counter":6}`, `12`, func(e *crdt.Edit) error { return e.Increment(key("v"), 1) }},
		{"sum", `{"$counter":5}`, `{"$counter":6}`, `2`, putting(t, "v", `2`)},
		{"max", `{"a":1}`, `{"a":2}`, `{"a":0}`, putting(t, "v.a", `0`)},
		{"max", `{"$counter":5}`, `{"$counter":6}`, `1`, func(e *crdt.Edit) error { return e.Increment(key("v"), -5) }},
	}
	for _, tt := range tests {
		t.Run(tt.policy+tt.want, func(t *testing.T) {
			h := forked(t, `{"w":0}`, nil, putting(t, "v", tt.a), putting(t, "v", tt.b))
			v := viewOf(t, replica1, tt.policy)
			e := h.Begin(benchActor, 1.8e12, v)
			require.NoError(t, tt.edit(e))
			_, err := e.Commit("")
			require.NoError(t, err)
			require.Equal(t, `{"v":`+tt.want+`,"w":0}`, jsonOf(t, h, v))
			mustEqualCore(t, h)
		})
	}
}

func TestGoResolver(t *testing.T) {
	var failures []error
	compile := func(fn crdt.Resolver) *crdt.View {
		v, err := crdt.Policy{Default: "go:f"}.Compile(replica1, crdt.ViewOptions{
			Resolvers: map[string]crdt.Resolver{"f": fn}, Failed: func(_ string, err error) { failures = append(failures, err) }})
		require.NoError(t, err)
		return v
	}
	tests := []struct {
		fn   crdt.Resolver
		want string
		fail string
	}{
		{func(c []crdt.Candidate) (any, error) { return c[len(c)-1], nil }, `{"v":1}`, ""},
		{func(c []crdt.Candidate) (any, error) { return c[1], nil }, `{}`, ""},
		{func(c []crdt.Candidate) (any, error) { return map[string]int{"n": len(c)}, nil }, `{"v":{"n":3}}`, ""},
		{func(c []crdt.Candidate) (any, error) { return nil, errors.New("no") }, `{"v":3}`, "no"},
		{func(c []crdt.Candidate) (any, error) { panic("ouch") }, `{"v":3}`, "panic: ouch"},
		{func(c []crdt.Candidate) (any, error) { return make(chan int), nil }, `{"v":3}`, "no record holds"},
		{func(c []crdt.Candidate) (any, error) { return crdt.Candidate{}, nil }, `{"v":3}`, "candidate that is none"},
		{func(c []crdt.Candidate) (any, error) { c[0].Value = "x"; c[0].Op = crdt.OpID{}; return c[2], nil }, `{"v":1}`, ""},
	}
	for i, tt := range tests {
		failures = nil
		h := forked(t, `{"v":0}`, nil, putting(t, "v", `1`), deleting(t, "v"), putting(t, "v", `3`))
		require.Equal(t, tt.want, jsonOf(t, h, compile(tt.fn)), i)
		if tt.fail == "" {
			require.Empty(t, failures)
		} else {
			require.ErrorContains(t, failures[0], tt.fail)
		}
	}
}

// TestDeepConflictsAreCheap: resolvers that look at values look at each once,
// however deep conflicts are in each other.
func TestDeepConflictsAreCheap(t *testing.T) {
	deep := `1`
	for range 100 {
		deep = `{"v":` + deep + `}`
	}
	h := forked(t, `{"w":0}`, nil, putting(t, "", deep), putting(t, "", deep), putting(t, "", `{"v":2}`))
	for _, name := range []string{"max", "min", "merge", "union", "go:none"} {
		start := time.Now()
		v := viewOf(t, replica1, name)
		h.Render(nil, v)
		h.Conflicts(v)
		require.Less(t, time.Since(start), 5*time.Second, name)
	}
}

func TestPolicyBounds(t *testing.T) {
	long := crdt.Policy{Fields: make([]crdt.FieldPolicy, crdt.MaxPolicyFields+1)}
	_, err := long.View(replica1)
	require.ErrorContains(t, err, "at most 256")
	for text, want := range map[string]string{
		`{"version":2}`: "version 2",
		`{"fields":[{"field":"a","resolver":"delete-wins"}]}`: "only be the default",
		`{"default":"prefer:"}`:                               "no replica ID",
		`{"default":"prefer:abc"}`:                            "no replica ID",
		`{"default":"go:"}`:                                   "name has letters",
		`{"default":"go:a/b"}`:                                "name has letters",
		`{"default":1}`:                                       "parse policy",
		`[`:                                                   "parse policy",
		strings.Repeat(" ", crdt.MaxPolicySize+1):             "bytes, at most",
		`{"fields":[{"field":"` + strings.Repeat("*.", 200) + `*","resolver":"lww"}]}`: "more than",
	} {
		_, err := crdt.ParsePolicy([]byte(text))
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, []string{"a", "b"}, crdt.Policy{Default: "go:a", Fields: []crdt.FieldPolicy{{"x", "lww"}, {"y", "go:b"}, {"z", "go:a"}}}.Functions())
}

// TestMergeOrder: replicas that took in the same changes in different orders show
// the same bytes under every policy that does not ask who looks.
func TestMergeOrder(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			s := randomHistory(t, rng, 50)
			var changes []*crdt.Change
			for c := range s.h.Changes() {
				changes = append(changes, c)
			}
			policies := append(crdt.Resolvers(), "concat:, ", "prefer:"+s.id.String(),
				`{"default":"update-wins","fields":[{"field":"*","resolver":"merge"},{"field":"a[*]","resolver":"lww"},{"field":"name","resolver":"concat"}]}`)
			others := make([]*crdt.History, 3)
			for i := range others {
				others[i] = crdt.NewHistory()
				for _, c := range shuffled(rng, changes) {
					_, err := others[i].Add(c)
					require.NoError(t, err)
					if rng.IntN(5) == 0 { // looking in between changes nothing
						others[i].Render(nil, viewOf(t, crdt.ReplicaID{}, policies[rng.IntN(len(policies))]))
					}
				}
			}
			for _, p := range policies {
				if p == crdt.ResolverLocal || p == crdt.ResolverRemote {
					continue
				}
				want := s.h.Render(nil, viewOf(t, s.id, p))
				value, err := crdt.AppendJSON(nil, s.h.Value(viewOf(t, s.id, p)))
				require.NoError(t, err)
				require.Equal(t, string(value), jsonOf(t, s.h, viewOf(t, s.id, p)))
				for i, h := range others {
					v := viewOf(t, crdt.ReplicaID{byte(i)}, p)
					require.Equal(t, string(want.JSON), string(h.Render(nil, v).JSON), p)
					require.Equal(t, want, h.Render(nil, v), p)
					require.Equal(t, dump(s.h.Conflicts(viewOf(t, s.id, p))), dump(h.Conflicts(v)), p)
				}
			}
		})
	}
}

// FuzzParsePolicy: whatever is taken makes a view that can be used.
func FuzzParsePolicy(f *testing.F) {
	for _, s := range append(crdt.Resolvers(), "prefer:a0,a1", "concat: / ", "go:f", "nope") {
		f.Add(`{"default":"` + s + `","fields":[{"field":"v","resolver":"` + s + `"},{"field":"l[*].*","resolver":"max"}]}`)
	}
	f.Add(`{"version":1,"fields":[{"field":"[\"a.b\"][0]","resolver":"lww"}]}`)
	h := forked(f, `{"v":0,"l":[1]}`, nil, putting(f, "v", `{"a":[1]}`), putting(f, "v", `{"a":"b"}`), deleting(f, "v"), putting(f, "l[0]", `2`))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := crdt.ParsePolicy([]byte(text))
		if err != nil {
			return
		}
		v, err := p.View(replica1)
		require.NoError(t, err)
		got := h.Render(nil, v)
		if got.Exists {
			_, err = crdt.ParseJSON(got.JSON)
			require.NoError(t, err)
		}
		again, err := json.Marshal(p)
		require.NoError(t, err)
		q, err := crdt.ParsePolicy(again)
		if len(again) <= crdt.MaxPolicySize {
			require.NoError(t, err)
			twice, err := json.Marshal(q)
			require.NoError(t, err)
			require.Equal(t, string(again), string(twice))
		}
	})
}

// BenchmarkConflicts renders and counts a record of 1,000 fields that three
// replicas wrote. Wanted: below 5 ms.
func BenchmarkConflicts(b *testing.B) {
	edits := make([]func(*crdt.Edit) error, 3)
	for i := range edits {
		edits[i] = func(e *crdt.Edit) error {
			m := map[string]any{}
			for k := range 1000 {
				m[fmt.Sprint("field", k)] = fmt.Sprint("value ", k, " of ", i)
			}
			return e.Put(nil, m, crdt.Merge)
		}
	}
	h := forked(b, `{"w":0}`, nil, edits...)
	for _, name := range crdt.Resolvers() {
		v := viewOf(b, replica1, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Render(nil, v)
			}
		})
	}
}
