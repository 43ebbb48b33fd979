package crdt_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// traceEdit is one edit of a recorded editing session.
type traceEdit struct {
	pos, del int
	ins      string
}

// readTrace reads the automerge-paper editing trace, in the format of
// github.com/josephg/editing-traces.
func readTrace(b testing.TB) (edits []traceEdit, end string) {
	f, err := os.Open("testdata/automerge-paper.json.gz")
	require.NoError(b, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(b, err)
	var trace struct {
		EndContent string
		Txns       []struct{ Patches [][3]any }
	}
	require.NoError(b, json.NewDecoder(z).Decode(&trace))
	for _, t := range trace.Txns {
		for _, p := range t.Patches {
			edits = append(edits, traceEdit{int(p[0].(float64)), int(p[1].(float64)), p[2].(string)})
		}
	}
	return edits, trace.EndContent
}

// BenchmarkTrace applies a recorded session of one author, one change an edit,
// and loads the changes again. Wanted: x-faster >= 2 and x-load >= 5, and at most
// a third of the memory.
func BenchmarkTrace(b *testing.B) {
	edits, end := readTrace(b)
	for b.Loop() {
		before := resident()
		start := time.Now()
		h := crdt.NewHistory()
		path := key("text")
		commit := func(edit func(*crdt.Edit) error) {
			e := h.Begin(benchActor, 1.7e12, nil)
			err := edit(e)
			if err == nil {
				_, err = e.Commit("")
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		commit(func(e *crdt.Edit) error { return e.Put(path, crdt.Text(""), crdt.Merge) })
		for _, x := range edits {
			commit(func(e *crdt.Edit) error { return e.Splice(path, x.pos, x.del, x.ins) })
		}
		here := time.Since(start)
		b.ReportMetric(float64(resident()-before)/1e6, "MB/godwit")
		b.ReportMetric(float64(h.Size())/1e6, "MB/Size")
		require.Equal(b, end, string(h.Value(nil)["text"].(crdt.Text)))
		var raw [][]byte
		for c := range h.Changes() {
			raw = append(raw, c.Raw())
		}
		load := loadTrace(b, raw, end)
		runtime.KeepAlive(h)
		core, coreLoad, mb := coreTrace(b, edits)
		report(b, here, core, len(edits))
		b.ReportMetric(float64(load.Milliseconds()), "ms/godwit-load")
		b.ReportMetric(float64(coreLoad.Milliseconds()), "ms/core-load")
		b.ReportMetric(float64(coreLoad)/float64(load), "x-load")
		b.ReportMetric(mb, "MB/core")
	}
}

func loadTrace(b *testing.B, raw [][]byte, end string) time.Duration {
	start := time.Now()
	h := crdt.NewHistory()
	for _, r := range raw {
		c, err := crdt.ParseChange(r)
		if err == nil {
			_, err = h.Add(c)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(start)
	require.Equal(b, end, string(h.Value(nil)["text"].(crdt.Text)))
	return took
}

func coreTrace(b *testing.B, edits []traceEdit) (apply, load time.Duration, mb float64) {
	runtime.GC()
	before := resident()
	start := time.Now()
	doc := automerge.New()
	require.NoError(b, doc.RootMap().Set("text", automerge.NewText("")))
	v, err := doc.RootMap().Get("text")
	require.NoError(b, err)
	text := v.Text()
	for _, x := range edits {
		if err := text.Splice(x.pos, x.del, x.ins); err != nil {
			b.Fatal(err)
		}
		if _, err := doc.Commit(""); err != nil {
			b.Fatal(err)
		}
	}
	apply = time.Since(start)
	mb = float64(resident()-before) / 1e6
	saved := doc.Save()
	start = time.Now()
	_, err = automerge.Load(saved)
	require.NoError(b, err)
	return apply, time.Since(start), mb
}

// resident returns the resident memory of the process in bytes, after a
// collection; 0 where there is no /proc.
func resident() int {
	runtime.GC()
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, _ := strconv.Atoi(strings.TrimSpace(strings.Split(rest, "kB")[0]))
	return kb << 10
}
