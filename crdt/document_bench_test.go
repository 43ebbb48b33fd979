package crdt_test

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// textDocument is what the core saves after n edits of one text at random
// places, a change each.
func textDocument(b testing.TB, n int) []byte {
	rng := seeded(b, 1)
	h := crdt.NewHistory()
	var raw []byte
	length := 0
	for i := range n {
		e := h.Begin(benchActor, 1.7e12+int64(i), nil)
		switch {
		case i == 0:
			require.NoError(b, e.Put(key("text"), crdt.Text(""), crdt.Merge))
		case length > 10 && i%5 == 0:
			require.NoError(b, e.Splice(key("text"), rng.IntN(length), 1, ""))
			length--
		default:
			require.NoError(b, e.Splice(key("text"), rng.IntN(length+1), 0, string(rune('a'+i%26))))
			length++
		}
		c, err := e.Commit("")
		require.NoError(b, err)
		raw = append(raw, c.Raw()...)
	}
	doc := automerge.New()
	require.NoError(b, doc.LoadIncremental(raw))
	return doc.Save()
}

func loadDocument(b testing.TB, saved []byte) *crdt.History {
	h, err := crdt.Load(saved)
	require.NoError(b, err)
	return h
}

func coreText(b testing.TB, saved []byte) string {
	doc, err := automerge.Load(saved)
	require.NoError(b, err)
	v, err := doc.RootMap().Get("text")
	require.NoError(b, err)
	s, err := v.Text().Get()
	require.NoError(b, err)
	return s
}

// BenchmarkDocument loads a document of 50,000 text edits and shows the text,
// beside the core. Wanted: x-faster >= 3.
func BenchmarkDocument(b *testing.B) { benchDocument(b, textDocument(b, 50_000)) }

// BenchmarkDocumentTrace is BenchmarkDocument for the automerge-paper trace,
// a change an edit. Wanted: x-faster >= 5.
func BenchmarkDocumentTrace(b *testing.B) { benchDocument(b, traceDocument(b)) }

func benchDocument(b *testing.B, saved []byte) {
	want := coreText(b, saved)
	var parse, all, core time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		runtime.GC()
		start := time.Now()
		_, err := crdt.ParseDocument(saved)
		parse += time.Since(start)
		require.NoError(b, err)
		runtime.GC()
		start = time.Now()
		h := loadDocument(b, saved)
		got := string(h.Value(nil)["text"].(crdt.Text))
		all += time.Since(start)
		if got != want {
			b.Fatal("other text than the core's")
		}
		runtime.GC()
		start = time.Now()
		coreText(b, saved)
		core += time.Since(start)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(saved)), "bytes")
	b.ReportMetric(float64(parse.Milliseconds())/float64(rounds), "ms/parse")
	b.ReportMetric(float64(all.Milliseconds())/float64(rounds), "ms/godwit")
	b.ReportMetric(float64(core.Milliseconds())/float64(rounds), "ms/core")
	b.ReportMetric(float64(core)/float64(all), "x-faster")
}

// traceDocument is the automerge-paper trace as the core saves it.
func traceDocument(b testing.TB) []byte {
	edits, _ := readTrace(b)
	h := crdt.NewHistory()
	var raw []byte
	for i := range len(edits) + 1 {
		e := h.Begin(benchActor, 1.7e12+int64(i), nil)
		if i == 0 {
			require.NoError(b, e.Put(key("text"), crdt.Text(""), crdt.Merge))
		} else {
			x := edits[i-1]
			require.NoError(b, e.Splice(key("text"), x.pos, x.del, x.ins))
		}
		c, err := e.Commit("")
		require.NoError(b, err)
		raw = append(raw, c.Raw()...)
	}
	doc := automerge.New()
	require.NoError(b, doc.LoadIncremental(raw))
	return doc.Save()
}

// TestDocumentMemory loads the trace's document in two processes, here and in
// the core, and compares their peaks. Wanted: less than a third.
func TestDocumentMemory(t *testing.T) {
	if file := os.Getenv("GODWIT_LOAD_DOCUMENT"); file != "" {
		measureLoad(t, file)
		return
	}
	saved := traceDocument(t)
	file := t.TempDir() + "/trace.automerge"
	require.NoError(t, os.WriteFile(file, saved, 0o600))
	peak := func(by string) int {
		cmd := exec.Command(os.Args[0], "-test.run=TestDocumentMemory$", "-test.v")
		cmd.Env = append(os.Environ(), "GODWIT_LOAD_DOCUMENT="+file, "GODWIT_LOAD_BY="+by)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		_, rest, _ := strings.Cut(string(out), "VmHWM:")
		kb, err := strconv.Atoi(strings.TrimSpace(strings.Split(rest, "kB")[0]))
		require.NoError(t, err, string(out))
		return kb >> 10
	}
	idle, ours, core := peak("none"), peak("godwit"), peak("core")
	t.Logf("peak MB of a process that loads %d bytes: idle %d, here %d, core %d", len(saved), idle, ours, core)
	require.Less(t, ours, core/3)
}

func measureLoad(t *testing.T, file string) {
	saved, err := os.ReadFile(file)
	require.NoError(t, err)
	switch os.Getenv("GODWIT_LOAD_BY") {
	case "godwit":
		h := loadDocument(t, saved)
		require.NotEmpty(t, h.Value(nil))
		runtime.KeepAlive(h)
	case "core":
		coreText(t, saved)
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			t.Log(line)
		}
	}
}
