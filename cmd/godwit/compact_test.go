package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// longHistories fills a file with records of 500 changes each.
func longHistories(t testing.TB, db string, records int) {
	t.Helper()
	ctx := context.Background()
	r, err := replica.Open(ctx, db, nil)
	require.NoError(t, err)
	for i := range 500 {
		require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error {
			for n := range records {
				if err := tx.Put(crdt.Key{Collection: "rows", ID: fmt.Sprint(n)}, map[string]any{"n": i, "text": crdt.Text(fmt.Sprint("edit ", i*i))}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, r.Close())
}

func exportAll(t testing.TB, db string, records int) (all []string) {
	t.Helper()
	for n := range records {
		all = append(all, mustGodwit(t, "--db", db, "export", fmt.Sprint("rows/", n), "--automerge"))
	}
	return all
}

// compacted is what the test reads of compact --json.
type compacted struct {
	Records, Compacted int
}

// TestKillCompact kills compact again and again until one run comes to its end.
// Whatever was done by then, each record exports what it did before, byte by byte.
func TestKillCompact(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	const records = 24
	db := filepath.Join(t.TempDir(), "a.db")
	longHistories(t, db, records)
	before := exportAll(t, db, records)
	killed := 0
	for range 8 {
		p := start(t, nil, "--db", db, "compact")
		select {
		case <-time.After(time.Duration(80+rnd.IntN(200)) * time.Millisecond):
		case <-p.done:
		}
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
		if p.cmd.ProcessState.ExitCode() == -1 {
			killed++
		}
		require.Contains(t, mustGodwit(t, "--db", db, "doctor"), "has no problems")
		require.Equal(t, before, exportAll(t, db, records))
		require.Equal(t, status{Records: records, Changes: records * 500}, statusOfFile(t, db))
	}
	t.Logf("killed %d times", killed)
	require.Positive(t, killed)
	var last compacted
	require.NoError(t, json.Unmarshal([]byte(mustGodwit(t, "--db", db, "compact", "--json")), &last))
	require.Equal(t, last.Records, last.Compacted)
	require.Equal(t, before, exportAll(t, db, records))
	require.Contains(t, mustGodwit(t, "--db", db, "compact", "rows/1", "--vacuum"), "1 left as they are")
	require.Contains(t, mustGodwit(t, "--db", db, "doctor"), "has no problems")
}

// TestDoctorRepairs has two files into which copies of one program's document came.
func TestDoctorRepairs(t *testing.T) {
	dir := t.TempDir()
	a, b, hub := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db"), filepath.Join(dir, "hub")
	for db, text := range map[string]string{a: "ours", b: "theirs"} {
		h := crdt.NewHistory()
		e := h.Begin("cloned", 1_700_000_000_000, nil)
		require.NoError(t, e.Put(nil, map[string]any{text: 1}, crdt.Merge))
		c, err := e.Commit("")
		require.NoError(t, err)
		r, err := replica.Open(context.Background(), db, nil)
		require.NoError(t, err)
		_, err = r.Import(context.Background(), crdt.Key{Collection: "notes", ID: "1"}, c.Raw())
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	p := start(t, nil, "serve", "--data", hub, "--listen", "127.0.0.1:0")
	url, err := p.await(regexp.MustCompile(`^(http://.*)$`))
	require.NoError(t, err)
	space := url[1] + "/spaces/crew"
	mustGodwit(t, "--db", a, "sync", space)
	_, err = godwit("--db", b, "sync", space)
	require.ErrorContains(t, err, "forked")
	require.Contains(t, mustGodwit(t, "--db", b, "status"), "forked      1 times")
	text := mustGodwit(t, "--db", b, "doctor")
	require.Contains(t, text, "forked   notes/1: actor "+crdt.ActorID("cloned").String()+" has two changes with sequence 1")
	if strings.Contains(text, "gives way: doctor --repair") {
		require.NotContains(t, mustGodwit(t, "--db", b, "doctor", "--repair"), "forked   notes/1")
		mustGodwit(t, "--db", b, "sync", space)
		require.NotContains(t, mustGodwit(t, "--db", b, "doctor"), "denied", "what the hub refused was offered in another form")
		require.JSONEq(t, `{"ours":1,"theirs":1}`, mustGodwit(t, "--db", b, "get", "notes/1"))
	} else {
		require.Contains(t, mustGodwit(t, "--db", b, "doctor", "--repair"), "repair it there")
	}
}

// TestWatchPolicy is told of what another policy shows, by another process.
func TestWatchPolicy(t *testing.T) {
	dir := t.TempDir()
	a, hub := filepath.Join(dir, "a.db"), filepath.Join(dir, "hub")
	p := start(t, nil, "serve", "--data", hub, "--listen", "127.0.0.1:0")
	url, err := p.await(regexp.MustCompile(`^(http://.*)$`))
	require.NoError(t, err)
	for _, name := range []string{"b", "a"} {
		db := filepath.Join(dir, name+".db")
		mustGodwit(t, "--db", db, "put", "rows/1", fmt.Sprintf(`{"by":%q}`, name))
		mustGodwit(t, "--db", db, "sync", url[1]+"/spaces/crew")
	}
	mustGodwit(t, "--db", a, "policy", "rows", "lww")
	w := startWatch(t, a)                               // sets automerge
	mustGodwit(t, "--db", a, "policy", "rows", "local") // automerge may have shown either
	mustGodwit(t, "--db", a, "policy", "rows", "remote")
	_, err = w.await(regexp.MustCompile(`^{"kind":"view","lsn":\d+,"collection":"rows","id":"1","deleted":false,"value":{"by":"b"},"origin":"local","hash":"","time":0,"diff":\[\],"conflict":"","conflicts":1,"query":"","position":"[0-9a-f.]+"}$`))
	require.NoError(t, err)
}
