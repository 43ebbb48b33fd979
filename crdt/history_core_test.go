package crdt_test

import (
	"fmt"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// coreValueOf turns what the core shows into what History.Value gives.
func coreValueOf(t testing.TB, v *automerge.Value) any {
	switch v.Kind() {
	case automerge.KindNull:
		return nil
	case automerge.KindBool:
		return v.Bool()
	case automerge.KindInt64:
		return v.Int64()
	case automerge.KindUint64:
		return v.Uint64()
	case automerge.KindFloat64:
		return v.Float64()
	case automerge.KindStr:
		return v.Str()
	case automerge.KindBytes:
		return v.Bytes()
	case automerge.KindTime:
		return v.Time()
	case automerge.KindCounter:
		n, err := v.Counter().Get()
		require.NoError(t, err)
		return crdt.Counter(n)
	case automerge.KindText:
		s, err := v.Text().Get()
		require.NoError(t, err)
		return crdt.Text(s)
	case automerge.KindList:
		values, err := v.List().Values()
		require.NoError(t, err)
		list := make([]any, len(values))
		for i, x := range values {
			list[i] = coreValueOf(t, x)
		}
		return list
	case automerge.KindMap:
		values, err := v.Map().Values()
		require.NoError(t, err)
		m := map[string]any{}
		for k, x := range values {
			m[k] = coreValueOf(t, x)
		}
		return m
	}
	require.FailNow(t, "unknown kind", "%v", v.Kind())
	return nil
}

// coreJSON is the core's materialisation in our JSON.
func coreJSON(t testing.TB, d *automerge.Doc) string {
	out, err := crdt.AppendJSON(nil, coreValueOf(t, d.Root()))
	require.NoError(t, err)
	return string(out)
}

func jsonOf(t testing.TB, h *crdt.History, v *crdt.View) string {
	out, err := h.AppendJSON(nil, v)
	require.NoError(t, err)
	boxed, err := crdt.AppendJSON(nil, h.Value(v))
	require.NoError(t, err)
	require.Equal(t, string(boxed), string(out), "Value and AppendJSON")
	return string(out)
}

func coreHeads(d *automerge.Doc) (heads []string) {
	for _, h := range d.Heads() {
		heads = append(heads, h.String())
	}
	return heads
}

func headsOf(h *crdt.History) (heads []string) {
	for _, x := range h.Heads() {
		heads = append(heads, x.String())
	}
	return heads
}

// TestHistoryEqualsCore adds what the core wrote, in several orders, and compares
// after every change.
func TestHistoryEqualsCore(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := seeded(t, seed)
			var changes []*crdt.Change
			for _, c := range coreHistory(t, rng, 30) {
				parsed, err := crdt.ParseChange(c.Save())
				require.NoError(t, err)
				changes = append(changes, parsed)
			}
			for range 3 {
				h, doc := crdt.NewHistory(), automerge.New()
				for _, c := range shuffled(rng, changes) {
					added, err := h.Add(c)
					require.NoError(t, err)
					require.True(t, added)
					require.NoError(t, doc.LoadIncremental(c.Raw()))
					require.Equal(t, coreHeads(doc), headsOf(h))
					require.Equal(t, coreJSON(t, doc), jsonOf(t, h, nil))
				}
			}
		})
	}
}
