package crdt_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"unicode/utf16"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// richText is a document of testdata/js/marks.json: what JavaScript shows of a
// text, with positions in UTF-16.
type richText struct {
	Changes []byte
	Heads   []string
	Text    string
	Marks   []struct {
		Start, End int
		Name       string
		Value      any
	}
	Spans   []map[string]any
	Cursors []struct {
		Cursor   string
		Position int
	}
}

func richTexts(t testing.TB) (docs []richText) {
	b, err := os.ReadFile("testdata/js/marks.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &docs))
	require.NotEmpty(t, docs)
	return docs
}

var textPath = crdt.Path{{Key: "t"}}

func loadChunks(t testing.TB, chunks []byte) *crdt.History {
	h := crdt.NewHistory()
	for len(chunks) > 0 {
		chunk, rest, err := crdt.NextChunk(chunks)
		require.NoError(t, err)
		c, err := crdt.ParseChange(chunk)
		require.NoError(t, err)
		_, err = h.Add(c)
		require.NoError(t, err)
		chunks = rest
	}
	return h
}

// plainSpans are Spans in the form of JavaScript.
func plainSpans(t testing.TB, h *crdt.History) (plain []map[string]any) {
	spans, err := h.Spans(textPath, nil)
	require.NoError(t, err)
	for _, s := range spans {
		m := map[string]any{"type": "text", "value": s.Text}
		if s.Block != nil {
			m = map[string]any{"type": "block", "value": s.Block}
		} else if s.Marks != nil {
			m["marks"] = s.Marks
		}
		plain = append(plain, m)
	}
	return plain
}

func toJSON(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// TestMarksEqualJavaScript reads texts that JavaScript made.
func TestMarksEqualJavaScript(t *testing.T) {
	for i, d := range richTexts(t) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			h := loadChunks(t, d.Changes)
			require.Equal(t, d.Heads, headsOf(h))
			require.EqualValues(t, d.Text, h.Value(nil)["t"])
			marks, err := h.Marks(textPath, nil)
			require.NoError(t, err)
			type mark struct {
				Start, End int
				Name       string
				Value      any
			}
			var got, want []mark
			for _, m := range marks {
				got = append(got, mark{toUTF16(t, h, m.From), toUTF16(t, h, m.To), m.Name, m.Value})
			}
			for _, m := range d.Marks {
				want = append(want, mark(m))
			}
			require.Equal(t, toJSON(t, want), toJSON(t, got))
			require.JSONEq(t, toJSON(t, d.Spans), toJSON(t, plainSpans(t, h)))
			for _, c := range d.Cursors {
				a, err := crdt.ParseAnchor(c.Cursor)
				require.NoError(t, err)
				require.Equal(t, c.Cursor, a.String())
				at, err := h.Position(textPath, nil, a)
				require.NoError(t, err)
				require.Equal(t, c.Position, toUTF16(t, h, at), c.Cursor)
			}
		})
	}
}

func toUTF16(t testing.TB, h *crdt.History, pos int) int {
	at, err := h.Convert(textPath, nil, pos, crdt.CodePoints, crdt.UTF16)
	require.NoError(t, err)
	return at
}

// TestMarkedTyping types at the ends of marks that expand in all ways.
func TestMarkedTyping(t *testing.T) {
	for x, want := range map[crdt.Expand]string{
		crdt.ExpandAfter:  `ab<[cde]>f -> abB[cdeA]f`,
		crdt.ExpandNone:   `ab<[cde]>f -> abB[cde]Af`,
		crdt.ExpandBefore: `ab<[cde]>f -> ab[Bcde]Af`,
		crdt.ExpandBoth:   `ab<[cde]>f -> ab[BcdeA]f`,
	} {
		h := crdt.NewHistory()
		put(t, h, "t", crdt.Text("abcdef"), crdt.Merge)
		commit(t, h, func(e *crdt.Edit) error { return e.Mark(textPath, 2, 5, "bold", true, x) })
		commit(t, h, func(e *crdt.Edit) error { return e.Splice(textPath, 5, 0, "A") })
		commit(t, h, func(e *crdt.Edit) error { return e.Splice(textPath, 2, 0, "B") })
		got := ""
		spans, err := h.Spans(textPath, nil)
		require.NoError(t, err)
		for _, s := range spans {
			if s.Marks != nil {
				s.Text = "[" + s.Text + "]"
			}
			got += s.Text
		}
		require.Equal(t, want, "ab<[cde]>f -> "+got)
		mustEqualCore(t, h)
	}
}

// TestMarks marks again, unmarks, and marks parts.
func TestMarks(t *testing.T) {
	h := crdt.NewHistory()
	put(t, h, "t", crdt.Text("héllo 𝄞 world"), crdt.Merge)
	require.Empty(t, marksOf(t, h))
	commit(t, h, func(e *crdt.Edit) error {
		require.NoError(t, e.Mark(textPath, 0, 9, "bold", true, crdt.ExpandAfter))
		require.NoError(t, e.Mark(textPath, 3, 7, "link", "http://x", crdt.ExpandNone))
		require.NoError(t, e.Mark(textPath, 9, 13, "bold", true, crdt.ExpandAfter))
		return e.Unmark(textPath, 2, 4, "bold", crdt.ExpandNone)
	})
	require.Equal(t, `[{"From":0,"To":2,"Name":"bold","Value":true},{"From":4,"To":13,"Name":"bold","Value":true},`+
		`{"From":3,"To":7,"Name":"link","Value":"http://x"}]`, marksOf(t, h))
	commit(t, h, func(e *crdt.Edit) error { return e.Mark(textPath, 3, 5, "link", int64(7), crdt.ExpandNone) })
	require.Contains(t, marksOf(t, h), `{"From":3,"To":5,"Name":"link","Value":7},{"From":5,"To":7,"Name":"link","Value":"http://x"}]`)
	commit(t, h, func(e *crdt.Edit) error { return e.Mark(textPath, 7, 9, "link", "http://y", crdt.ExpandNone) })
	require.Contains(t, marksOf(t, h), `{"From":5,"To":7,"Name":"link","Value":"http://x"},{"From":7,"To":9,"Name":"link","Value":"http://y"}]`)
	commit(t, h, func(e *crdt.Edit) error { return e.Splice(textPath, 0, 13, "new") })
	require.NotContains(t, marksOf(t, h), "link")
	mustEqualCore(t, h)
}

func marksOf(t testing.TB, h *crdt.History) string {
	marks, err := h.Marks(textPath, nil)
	require.NoError(t, err)
	if marks == nil {
		return ""
	}
	return toJSON(t, marks)
}

func TestMarkErrors(t *testing.T) {
	h := crdt.NewHistory()
	put(t, h, "t", crdt.Text("abc"), crdt.Merge)
	put(t, h, "l", []any{int64(1)}, crdt.Merge)
	e := h.Begin(replica1.Actor([8]byte{}), 2e12, nil)
	for want, err := range map[string]error{
		"cannot mark from 2 to 2": e.Mark(textPath, 2, 2, "b", true, 0),
		"cannot mark from -1":     e.Mark(textPath, -1, 2, "b", true, 0),
		"the text has 3":          e.Mark(textPath, 1, 4, "b", true, 0),
		"not empty":               e.Mark(textPath, 1, 2, "", true, 0),
		"valid UTF-8":             e.Mark(textPath, 1, 2, "\xff", true, 0),
		"a scalar, not []":        e.Mark(textPath, 1, 2, "b", []int{1}, 0),
		"invalid UTF-8 in":        e.Mark(textPath, 1, 2, "b", "\xff", 0),
		"no such way":             e.Mark(textPath, 1, 2, "b", true, 4),
		"it is no text":           e.Mark(crdt.Path{{Key: "l"}}, 0, 1, "b", true, 0),
		"no such field":           e.Mark(crdt.Path{{Key: "x"}}, 0, 1, "b", true, 0),
	} {
		require.ErrorIs(t, err, crdt.ErrEdit, want)
		require.ErrorContains(t, err, want)
	}
	c, err := e.Commit("")
	require.NoError(t, err)
	require.Nil(t, c)
	for _, p := range []string{"l", "l[0]", "x", "t[0]", ""} {
		_, err := h.Marks(pathOf(t, p), nil)
		require.ErrorIs(t, err, crdt.ErrPlace, p)
		_, err = h.Spans(pathOf(t, p), nil)
		require.ErrorIs(t, err, crdt.ErrPlace, p)
	}
}

// marked is one site that edits a text with marks.
type marked struct {
	h     *crdt.History
	actor crdt.ActorID
}

// TestMarksConverge has three sites edit and mark one text at random. The core
// takes all of it, shows the same text and saves it so that it loads again; every
// site shows the same marks; Marks and Spans agree; anchors stay where a model of
// the text says.
//
// With GODWIT_MARKS_OUT=FILE it writes what it made, for check_marks.mjs.
func TestMarksConverge(t *testing.T) {
	var made []map[string]any
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			first := crdt.NewHistory()
			put(t, first, "t", crdt.Text("The 𝄞 quick fox"), crdt.Merge)
			var sites []*marked
			for i := range 3 {
				s := &marked{h: crdt.NewHistory(), actor: crdt.ReplicaID{byte(i)}.Actor([8]byte{byte(rng.Uint32())})}
				pullAll(t, s.h, first)
				sites = append(sites, s)
			}
			for range 40 {
				s := sites[rng.IntN(3)]
				if rng.IntN(4) == 0 {
					pullAll(t, s.h, sites[rng.IntN(3)].h)
					continue
				}
				n := len([]rune(string(h0(s.h))))
				from := rng.IntN(n + 1)
				to := min(n, from+rng.IntN(6))
				name := []string{"bold", "link", "é"}[rng.IntN(3)]
				x := crdt.Expand(rng.IntN(4))
				e := s.h.Begin(s.actor, 2e12, nil)
				switch {
				case rng.IntN(2) == 0 || from == to:
					require.NoError(t, e.Splice(textPath, from, (to-from)*rng.IntN(2), []string{"x", "yz", "é𝄞", ""}[rng.IntN(4)]))
				case rng.IntN(4) == 0:
					require.NoError(t, e.Unmark(textPath, from, to, name, x))
				default:
					value := []any{true, "http://x", "http://y", int64(7), -1.5, false}[rng.IntN(6)]
					require.NoError(t, e.Mark(textPath, from, to, name, value, x))
				}
				c, err := e.Commit("")
				require.NoError(t, err)
				if c != nil {
					again, err := crdt.ParseChange(c.Raw())
					require.NoError(t, err)
					require.Equal(t, c.Ops(), again.Ops())
				}
			}
			for range 2 {
				for _, s := range sites {
					for _, from := range sites {
						pullAll(t, s.h, from.h)
					}
				}
			}
			h := sites[0].h
			for _, s := range sites {
				require.Equal(t, h.Heads(), s.h.Heads())
				require.Equal(t, plainSpans(t, h), plainSpans(t, s.h))
				require.Equal(t, marksOf(t, h), marksOf(t, s.h))
			}
			requireMarksAgree(t, h)
			doc := automerge.New()
			var raw []byte
			for c := range h.Changes() {
				raw = append(raw, c.Raw()...)
			}
			require.NoError(t, doc.LoadIncremental(raw))
			again, err := automerge.Load(doc.Save())
			require.NoError(t, err)
			require.Equal(t, headsOf(h), coreHeads(again))
			require.Equal(t, jsonOf(t, h, nil), coreJSON(t, again))
			marks := []map[string]any{}
			spans, _ := h.Marks(textPath, nil)
			for _, m := range spans {
				marks = append(marks, map[string]any{"name": m.Name, "value": m.Value,
					"start": toUTF16(t, h, m.From), "end": toUTF16(t, h, m.To)})
			}
			made = append(made, map[string]any{"changes": raw, "heads": headsOf(h), "text": h0(h), "marks": marks, "spans": plainSpans(t, h)})
		})
	}
	if out := os.Getenv("GODWIT_MARKS_OUT"); out != "" {
		require.NoError(t, os.WriteFile(out, []byte(toJSON(t, made)), 0o600))
	}
}

func h0(h *crdt.History) crdt.Text { return h.Value(nil)["t"].(crdt.Text) }

func pullAll(t testing.TB, to, from *crdt.History) {
	for c := range from.Changes() {
		_, err := to.Add(c)
		require.NoError(t, err)
	}
}

// requireMarksAgree holds Marks against Spans, character by character.
func requireMarksAgree(t testing.TB, h *crdt.History) {
	marks, err := h.Marks(textPath, nil)
	require.NoError(t, err)
	spans, err := h.Spans(textPath, nil)
	require.NoError(t, err)
	at := 0
	for _, s := range spans {
		for range []rune(s.Text) {
			var here map[string]any
			for _, m := range marks {
				if m.From <= at && at < m.To {
					if here == nil {
						here = map[string]any{}
					}
					here[m.Name] = m.Value
				}
			}
			require.Equal(t, s.Marks, here, "at %d", at)
			at++
		}
	}
	require.Len(t, []rune(string(h0(h))), at)
}

// TestConvert holds conversions against the text, between edits.
func TestConvert(t *testing.T) {
	rng := seeded(t, 5)
	h := crdt.NewHistory()
	put(t, h, "t", crdt.Text(""), crdt.Merge)
	for range 300 {
		n := len([]rune(string(h0(h))))
		commit(t, h, func(e *crdt.Edit) error {
			at := rng.IntN(n + 1)
			return e.Splice(textPath, at, min(n-at, rng.IntN(3)), []string{"a", "é", "€uro", "𝄞𝄞", "abc"}[rng.IntN(5)])
		})
		runes := []rune(string(h0(h)))
		at := rng.IntN(len(runes) + 1)
		head := string(runes[:at])
		want := [3]int{at, len(utf16.Encode(runes[:at])), len(head)}
		for from := range crdt.Unit(3) {
			for to := range crdt.Unit(3) {
				got, err := h.Convert(textPath, nil, want[from], from, to)
				require.NoError(t, err)
				require.Equal(t, want[to], got, "%d in %d to %d", want[from], from, to)
			}
		}
	}
	for _, pos := range []int{-1, 1 << 20} {
		_, err := h.Convert(textPath, nil, pos, crdt.UTF16, crdt.UTF8)
		require.ErrorIs(t, err, crdt.ErrPlace)
	}
	put(t, h, "t", crdt.Text("a𝄞b"), crdt.Replace)
	for pos, want := range []int{0, 1, 1, 2, 3} { // 2 cuts the pair
		got, err := h.Convert(textPath, nil, pos, crdt.UTF16, crdt.CodePoints)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for pos, want := range []int{0, 1, 1, 1, 1, 3, 4} {
		got, err := h.Convert(textPath, nil, pos, crdt.UTF8, crdt.UTF16)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestManyMarks reads, and types into, a text in which somebody has put 50,000
// marks within each other, of one name and of many. A quadratic step would take
// minutes.
func TestManyMarks(t *testing.T) {
	for _, names := range []int{1, 1 << 20} {
		const n = 50_000
		ops := []crdt.Op{
			{InMap: true, Key: "t", Action: crdt.MakeText},
			{Obj: crdt.Ref{Counter: 1}, Insert: true, Action: crdt.Set, Value: crdt.String("a")},
		}
		ref := crdt.Ref{Counter: 2}
		for i := range uint32(n) {
			begin := crdt.Ref{Counter: 3 + 2*i}
			ops = append(ops,
				crdt.Op{Obj: crdt.Ref{Counter: 1}, Elem: ref, Insert: true, Action: crdt.Mark, Expand: true,
					MarkName: fmt.Sprint("m", int(i)%names), Value: crdt.Int(int64(i))},
				crdt.Op{Obj: crdt.Ref{Counter: 1}, Elem: begin, Insert: true, Action: crdt.Mark})
			ref = begin
		}
		ops = append(ops, crdt.Op{Obj: crdt.Ref{Counter: 1}, Elem: ref, Insert: true, Action: crdt.Set, Value: crdt.String("b")})
		c, err := crdt.Build(crdt.Draft{Actors: []crdt.ActorID{"x"}, Seq: 1, StartOp: 1, Ops: ops})
		require.NoError(t, err)
		h := crdt.NewHistory()
		_, err = h.Add(c)
		require.NoError(t, err)
		commit(t, h, func(e *crdt.Edit) error { return e.Splice(textPath, 1, 0, "x") })
		commit(t, h, func(e *crdt.Edit) error { return e.Splice(textPath, 3, 0, "y") })
		require.EqualValues(t, "axby", h0(h))
		marks, err := h.Marks(textPath, nil)
		require.NoError(t, err)
		require.Len(t, marks, min(n, names))
		_, err = h.Spans(textPath, nil)
		require.NoError(t, err)
	}
}
