package crdt_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// corpusFile is a document that JavaScript saved, and what it shows of it.
type corpusFile struct {
	name      string
	data      []byte
	Heads     []string
	Value     any
	Changes   int
	Conflicts []struct {
		Path   []any
		Values map[string]any // by operation ID
	}
}

// corpus reads testdata/js/*.automerge.
func corpus(t testing.TB) (files []corpusFile) {
	t.Helper()
	names, err := filepath.Glob("testdata/js/*.automerge")
	require.NoError(t, err)
	require.Greater(t, len(names), 40)
	for _, name := range names {
		f := corpusFile{name: strings.TrimSuffix(filepath.Base(name), ".automerge")}
		f.data, err = os.ReadFile(name)
		require.NoError(t, err)
		want, err := os.ReadFile(strings.TrimSuffix(name, ".automerge") + ".json")
		require.NoError(t, err)
		d := json.NewDecoder(bytes.NewReader(want))
		d.UseNumber()
		require.NoError(t, d.Decode(&f))
		files = append(files, f)
	}
	return files
}

// canon writes a value as documents.mjs does. JavaScript does not tell the
// types of numbers apart; those are compared with the core's.
func canon(t testing.TB, v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case crdt.Text:
		return map[string]any{"text": string(v)}
	case string:
		return map[string]any{"str": v}
	case int64:
		return map[string]any{"num": float64(v)}
	case uint64:
		return map[string]any{"num": float64(v)}
	case float64:
		return map[string]any{"num": v}
	case crdt.Counter:
		return map[string]any{"counter": strconv.FormatInt(int64(v), 10)}
	case time.Time:
		return map[string]any{"time": json.Number(strconv.FormatInt(v.UnixMilli(), 10))}
	case []byte:
		return map[string]any{"bytes": base64.StdEncoding.EncodeToString(v)}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = canon(t, v[i])
		}
		return map[string]any{"list": list}
	case map[string]any:
		m := map[string]any{}
		for k := range v {
			m[k] = canon(t, v[k])
		}
		return map[string]any{"map": m}
	}
	require.FailNow(t, "unknown type", "%T", v)
	return nil
}

// numbered parses the numbers of what documents.mjs wrote.
func numbered(t testing.TB, v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for kind, content := range m {
		switch content := content.(type) {
		case string:
			if kind == "num" {
				f, err := strconv.ParseFloat(content, 64)
				require.NoError(t, err)
				return map[string]any{"num": f}
			}
		case []any:
			for i := range content {
				content[i] = numbered(t, content[i])
			}
		case map[string]any:
			for k := range content {
				content[k] = numbered(t, content[k])
			}
		}
	}
	return m
}

// requireSameValue compares canonical values; NaN equals itself.
func requireSameValue(t testing.TB, want, got any, msg ...any) {
	t.Helper()
	require.Equal(t, dumpValue(t, want), dumpValue(t, got), msg...)
}

func dumpValue(t testing.TB, v any) string {
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case float64:
			return strconv.FormatFloat(v, 'g', -1, 64) + map[bool]string{true: " signed"}[math.Signbit(v)]
		case []any:
			list := make([]any, len(v))
			for i := range v {
				list[i] = plain(v[i])
			}
			return list
		case map[string]any:
			m := map[string]any{}
			for k := range v {
				m[k] = plain(v[k])
			}
			return m
		}
		return v
	}
	b, err := json.MarshalIndent(plain(v), "", " ")
	require.NoError(t, err)
	return string(b)
}

// What JavaScript saved shows the same here: heads, value, conflicts.
func TestCorpusOfJavaScript(t *testing.T) {
	conflicts := 0
	for _, f := range corpus(t) {
		t.Run(f.name, func(t *testing.T) {
			changes, err := crdt.ParseChunks(f.data)
			require.NoError(t, err)
			require.Len(t, changes, f.Changes)
			h := crdt.NewHistory()
			for _, c := range changes {
				parsed, err := crdt.ParseChange(c.Raw())
				require.NoError(t, err)
				require.Equal(t, crdt.Fields(parsed), crdt.Fields(c))
				_, err = h.Add(c)
				require.NoError(t, err)
			}
			require.ElementsMatch(t, f.Heads, headsOf(h))
			requireSameValue(t, numbered(t, f.Value), canon(t, h.Value(nil)))
			conflicts += requireConflicts(t, f, h)

			doc := automerge.New()
			require.NoError(t, doc.LoadIncremental(join(changes)))
			require.Equal(t, coreHeads(doc), headsOf(h))
			require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil))
			again, err := crdt.Load(doc.Save())
			require.NoError(t, err)
			require.Equal(t, headsOf(h), headsOf(again))
		})
	}
	t.Logf("%d conflicts", conflicts)
	require.Greater(t, conflicts, 100)
}

// asTexts turns strings into texts: getConflicts shows both as plain strings.
func asTexts(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = asTexts(v[i])
		}
	case map[string]any:
		if s, ok := v["str"].(string); ok && len(v) == 1 {
			return map[string]any{"text": s}
		}
		for k := range v {
			v[k] = asTexts(v[k])
		}
	}
	return v
}

// requireConflicts compares with getConflicts, which also lists rivals of equal
// value.
func requireConflicts(t testing.TB, f corpusFile, h *crdt.History) int {
	want := map[string]any{}
	for _, c := range f.Conflicts {
		values := map[string]any{}
		distinct := map[string]bool{}
		for id, v := range c.Values {
			values[id] = asTexts(numbered(t, v))
			distinct[dumpValue(t, values[id])] = true
		}
		var path crdt.Path
		for _, step := range c.Path {
			if s, ok := step.(string); ok {
				path = append(path, crdt.Step{Key: s})
				continue
			}
			i, err := step.(json.Number).Int64()
			require.NoError(t, err)
			path = append(path, crdt.Step{Index: int(i), InList: true})
		}
		if len(distinct) > 1 {
			want[path.String()] = values
		}
	}
	got := map[string]any{}
	for _, c := range h.Conflicts(nil) {
		values := map[string]any{}
		distinct := map[string]bool{}
		for _, x := range c.Candidates {
			if !x.Deleted && !x.Hidden { // JavaScript shows neither
				values[x.Op.String()] = asTexts(canon(t, x.Value))
				distinct[dumpValue(t, values[x.Op.String()])] = true
			}
		}
		if len(distinct) > 1 {
			got[c.Path.String()] = values
		}
	}
	require.ElementsMatch(t, sortedKeys(want), sortedKeys(got))
	for path := range want {
		requireSameValue(t, want[path], got[path], path)
	}
	return len(want)
}

// The corpus holds what the format has, all of it behind documents.
func TestCorpusCoversTheFormat(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range corpus(t) {
		for rest := f.data; len(rest) > 0; {
			chunk, after, err := crdt.NextChunk(rest)
			require.NoError(t, err)
			seen["chunk "+strconv.Itoa(int(chunk[8]))] = true
			rest = after
		}
		changes, err := crdt.ParseChunks(f.data)
		require.NoError(t, err)
		for _, c := range changes {
			for _, op := range c.Ops() {
				seen["action "+strconv.Itoa(int(op.Action))] = true
				seen["kind "+strconv.Itoa(int(op.Value.Kind()))] = true
			}
		}
	}
	for _, want := range slices.Concat(
		[]string{"chunk 0", "chunk 1", "chunk 2", "action 0", "action 1", "action 2", "action 3", "action 4", "action 5", "action 7"},
		[]string{"kind 0", "kind 1", "kind 2", "kind 3", "kind 4", "kind 5", "kind 6", "kind 7", "kind 8", "kind 9"}) {
		require.True(t, seen[want], want)
	}
}

// A bundle is refused by name.
func TestBundleIsRefused(t *testing.T) {
	b, err := os.ReadFile("testdata/js/bundle.refused")
	require.NoError(t, err)
	for _, parse := range []func([]byte) error{
		func(b []byte) error { _, err := crdt.ParseChunks(b); return err },
		func(b []byte) error { _, err := crdt.ParseDocument(b); return err },
		func(b []byte) error { _, err := crdt.ParseChange(b); return err },
	} {
		var invalid *crdt.InvalidError
		require.ErrorAs(t, parse(b), &invalid)
		require.Contains(t, invalid.Detail, "type 3")
	}
}
