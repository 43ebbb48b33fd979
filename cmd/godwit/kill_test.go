package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"
)

// godwit runs the program, in this process, and returns what it printed.
func godwit(args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		return "", fmt.Errorf("godwit %s: exit code %d: %s", strings.Join(args, " "), code, stderr.String())
	}
	return stdout.String(), nil
}

func mustGodwit(t testing.TB, args ...string) string {
	t.Helper()
	out, err := godwit(args...)
	require.NoError(t, err)
	return out
}

// start runs the program in the background until the test ends.
func start(t testing.TB, stdin io.Reader, args ...string) *process {
	t.Helper()
	cmd := exec.Command("godwit", args...)
	cmd.Stdin = stdin
	p, err := startProcess(cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

// startWatch runs watch on the collection rows, and creates the file if need be.
func startWatch(t testing.TB, db string) *process {
	t.Helper()
	mustGodwit(t, "--db", db, "policy", "rows", "automerge")
	p := start(t, nil, "--db", db, "watch", "rows")
	_, err := p.await(regexp.MustCompile("^watching rows$"))
	require.NoError(t, err)
	return p
}

// sameHeads compares the heads of every record of two replicas, and returns how
// many there are.
func sameHeads(collection, a, b string) (int, error) {
	list, err := godwit("--db", a, "ls", collection)
	if err != nil {
		return 0, err
	}
	other, err := godwit("--db", b, "ls", collection)
	if err != nil {
		return 0, err
	}
	if list != other {
		return 0, fmt.Errorf("the values differ:\n%s\n%s", list, other)
	}
	lines := strings.Split(strings.TrimSpace(list), "\n")
	for i, line := range lines {
		var rec struct{ ID string }
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			return i, err
		}
		heads, err := godwit("--db", a, "heads", collection+"/"+rec.ID)
		if err != nil {
			return i, err
		}
		others, err := godwit("--db", b, "heads", collection+"/"+rec.ID)
		if err != nil {
			return i, err
		}
		if heads != others || heads == "" {
			return i, fmt.Errorf("the heads of %s differ: %s and %s", rec.ID, heads, others)
		}
	}
	return len(lines), nil
}

// status is what the tests read of status --json.
type status struct {
	Records, Changes, Conflicted int64
}

func statusOfFile(t testing.TB, db string) (st status) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(mustGodwit(t, "--db", db, "status", "--json")), &st))
	return st
}

// rows is NDJSON of n records.
func rows(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":%d,"name":"row %d","even":%v}`+"\n", i, i, i%2 == 0)
	}
	return b.String()
}

// TestKillImport kills an import in the middle. The same command again gives
// what an import without a mishap gives, and writes nothing twice.
func TestKillImport(t *testing.T) {
	dir := t.TempDir()
	db, whole := filepath.Join(dir, "killed.db"), filepath.Join(dir, "whole.db")
	file := filepath.Join(dir, "rows.ndjson")
	const n = 3500
	require.NoError(t, os.WriteFile(file, []byte(rows(n)), 0o600))

	watch := startWatch(t, db)
	in, feed := io.Pipe() // never closed: the import waits for more
	imp := start(t, in, "--db", db, "import", "rows", "-")
	_, err := io.WriteString(feed, rows(2600))
	require.NoError(t, err)
	_, err = watch.await(regexp.MustCompile(`"id":"1999"`))
	require.NoError(t, err)
	require.NoError(t, imp.cmd.Process.Kill())
	require.NoError(t, feed.Close())
	code, err := imp.finish()
	require.NoError(t, err)
	require.Equal(t, -1, code)
	require.Equal(t, status{Records: 2000, Changes: 2000}, statusOfFile(t, db), "two whole sets")

	mustGodwit(t, "--db", db, "import", "rows", file)
	mustGodwit(t, "--db", whole, "import", "rows", file)
	require.Equal(t, status{Records: n, Changes: n}, statusOfFile(t, db))
	require.Equal(t, mustGodwit(t, "--db", whole, "export", "rows"), mustGodwit(t, "--db", db, "export", "rows"))
	mustGodwit(t, "--db", db, "import", "rows", file)
	require.Equal(t, status{Records: n, Changes: n}, statusOfFile(t, db), "an import that was complete writes nothing")
	mustGodwit(t, "--db", db, "doctor")
}

// hub is a serve process.
func hub(t testing.TB, data, listen string) (p *process, addr string) {
	t.Helper()
	p = start(t, nil, "serve", "--data", data, "--listen", listen)
	m, err := p.await(regexp.MustCompile(`^http://(.*)$`))
	require.NoError(t, err)
	return p, m[1]
}

// TestKillSync kills either side while changes are under way. The same commands
// again end with equal heads everywhere.
func TestKillSync(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	const n = 4000
	require.NoError(t, os.WriteFile(path("rows"), []byte(rows(n)), 0o600))
	mustGodwit(t, "--db", path("a.db"), "import", "rows", path("rows"))
	served, addr := hub(t, path("hub"), "127.0.0.1:0")
	url := "http://" + addr + "/spaces/crew"

	// The hub dies as soon as something has arrived there.
	mustGodwit(t, "--db", path("new.db"), "sync", url) // the hub creates the space
	watch := startWatch(t, path("hub/crew.db"))
	sync := start(t, nil, "--db", path("a.db"), "sync", url)
	_, err := watch.await(regexp.MustCompile(`"id":"0"`))
	require.NoError(t, err)
	require.NoError(t, served.cmd.Process.Kill())
	_, err = served.finish()
	require.NoError(t, err)
	_, err = sync.finish() // 0 if it was done before, else 1
	require.NoError(t, err)
	_, addr = hub(t, path("hub"), addr)
	require.Contains(t, url, addr)
	mustGodwit(t, "--db", path("a.db"), "sync", url)

	// A client dies as soon as something has arrived there.
	connect := start(t, nil, "--db", path("b.db"), "connect", url)
	_, err = connect.await(regexp.MustCompile(`"id":"0"`))
	require.NoError(t, err)
	require.NoError(t, connect.cmd.Process.Kill())
	_, err = connect.finish()
	require.NoError(t, err)
	mustGodwit(t, "--db", path("b.db"), "sync", url)

	for _, db := range []string{"a.db", "b.db", "hub/crew.db"} {
		require.Equal(t, status{Records: n, Changes: n}, statusOfFile(t, path(db)), db)
		require.Equal(t, exportHeads(t, path("a.db")), exportHeads(t, path(db)), db)
		mustGodwit(t, "--db", path(db), "doctor")
	}
}

// exportHeads returns the history of some records, spread over the collection.
func exportHeads(t testing.TB, db string) (all []string) {
	t.Helper()
	for i := 0; i < 4000; i += 97 {
		all = append(all, mustGodwit(t, "--db", db, "heads", fmt.Sprintf("rows/%d", i)))
	}
	return all
}

// TestExportAutomerge has automerge-go read a conflicted record.
func TestExportAutomerge(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	_, addr := hub(t, filepath.Join(dir, "hub"), "127.0.0.1:0")
	url := "http://" + addr + "/spaces/crew"
	mustGodwit(t, "--db", a, "put", "notes/1", `{"title":"Tides","list":[1,{"deep":true}],"n":{"$counter":5},"text":{"$text":"sea"}}`)
	mustGodwit(t, "--db", a, "sync", url)
	mustGodwit(t, "--db", b, "sync", url)
	mustGodwit(t, "--db", a, "put", "notes/1", `{"title":"Ebb","list":[1,{"deep":false}]}`)
	mustGodwit(t, "--db", b, "put", "notes/1", `{"title":"Flow","text":"the sea"}`)
	for _, db := range []string{a, b, a} {
		mustGodwit(t, "--db", db, "sync", url)
	}
	require.Equal(t, int64(1), statusOfFile(t, a).Conflicted)

	doc, err := automerge.Load([]byte(mustGodwit(t, "--db", b, "export", "notes/1", "--automerge")))
	require.NoError(t, err)
	var heads []string
	for _, h := range doc.Heads() {
		heads = append(heads, h.String())
	}
	require.Equal(t, strings.Fields(mustGodwit(t, "--db", b, "heads", "notes/1")), heads)
	value, err := automerge.As[map[string]any](doc.Root(), nil)
	require.NoError(t, err)
	got, err := json.Marshal(value)
	require.NoError(t, err)
	require.JSONEq(t, mustGodwit(t, "--db", b, "get", "notes/1"), string(got))
	_, err = automerge.Load(doc.Save())
	require.NoError(t, err)
}
