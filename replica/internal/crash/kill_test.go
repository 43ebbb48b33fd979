package crash_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

const usualKills = 100

var (
	kills = flag.Int("crash.kills", usualKills, "how many processes TestKill kills")
	seed  = flag.Uint64("crash.seed", 1, "of all random choices; 0: another one each time")
)

// times is how often a test does its thing, by its flag: less in a short run.
func times(n int) int {
	if testing.Short() {
		return max(1, n/5)
	}
	return n
}

// random returns the source of a test's choices, and logs how to have them again.
func random(t testing.TB) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-crash.seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// roundsOfALife is how many processes work on a file, one after the other, before it
// has grown so large that a new one is quicker.
const roundsOfALife = 25

// TestKill kills a process that works on a file, again and again: at any call that
// alters the file or at any moment. Nothing that was acknowledged is lost, nothing is
// half there, and the file goes on working, with its peers too.
func TestKill(t *testing.T) {
	rng := random(t)
	learnt := &habits{calls: map[string]int{}, lines: map[string]int{}, killed: map[string]int{}}
	n := times(*kills)
	for done := 0; done < n; done += roundsOfALife {
		t.Run(fmt.Sprint("from ", done), func(t *testing.T) {
			l := newLife(t, rng, learnt)
			for round := done; round < min(n, done+roundsOfALife); round++ {
				l.round(round)
			}
			l.end()
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("killed while at it, by role: %v", learnt.killed)
}

// habits is what is known of the roles from runs before.
type habits struct {
	calls, lines map[string]int // that a run makes
	killed       map[string]int // how often before it came to its end
}

// life is a file that processes are killed over, and those it syncs with.
type life struct {
	t    *testing.T
	rng  *rand.Rand
	know *habits
	path string
	old  string // a file of an old schema is made here
	key  int    // of the file; 0: it is not encrypted
	last [writers]int

	hub  *replica.Hub
	link transport.Link
	url  string
	peer *replica.Replica // dials the file's process
	stop func()
}

func newLife(t *testing.T, rng *rand.Rand, know *habits) *life {
	l := &life{t: t, rng: rng, know: know}
	l.serve(memory(t))
	dir := memory(t)
	l.path, l.old = filepath.Join(dir, "replica.db"), filepath.Join(dir, "old.db")
	author := openAt(t, filepath.Join(memory(t), "author.db"), nil)
	for n := 1; n <= 60; n++ {
		_, err := write(t.Context(), author, 0, n)
		require.NoError(t, err)
	}
	chunks, err := author.Export(t.Context(), work("one", 0))
	require.NoError(t, err)
	require.NoError(t, author.Close())
	require.NoError(t, os.WriteFile(chunksOf(l.path), chunks, 0o600))
	return l
}

// serve starts a hub, and a replica that only dials.
func (l *life) serve(dir string) {
	hub, err := replica.OpenHub(dir, &replica.Options{Keeper: true})
	require.NoError(l.t, err)
	links := httplink.Handler(&httplink.ServerOptions{Accept: hub.Accept})
	server := httptest.NewServer(links)
	l.hub, l.url = hub, server.URL+"/spaces/crew"
	l.link, err = httplink.New(l.url, nil)
	require.NoError(l.t, err)
	l.peer = openAt(l.t, filepath.Join(dir, "peer.db"), nil)
	l.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(l.t, links.Close(ctx))
		server.Close()
		require.NoError(l.t, hub.Close())
		require.NoError(l.t, l.peer.Close())
		http.DefaultClient.CloseIdleConnections()
	}
}

// end has all who met hold the same.
func (l *life) end() {
	_, err := l.peer.Sync(l.t.Context(), l.link)
	require.NoError(l.t, err)
	requireSound(l.t, l.peer)
	require.NoError(l.t, l.hub.With(l.t.Context(), "crew", func(hub *replica.Replica) error {
		requireSound(l.t, hub)
		require.Equal(l.t, l.last, written(l.t, hub))
		return nil
	}))
	l.stop()
}

// round has one process do something, kills it and looks at what is left.
func (l *life) round(n int) {
	o := l.order(n)
	l.prepare(o)
	say := fmt.Sprintf("round %d: %+v", n, *o)
	out := l.run(o)
	if out.err != "" {
		require.Fail(l.t, out.err, say)
	}
	acked := l.last
	if o.Role == "migrate" {
		acked = [writers]int{20}
	}
	for w, n := range out.wrote {
		acked[w] = max(acked[w], n)
	}
	r := l.open(o)
	requireSound(l.t, r)
	now := written(l.t, r)
	for w := range writers {
		require.GreaterOrEqual(l.t, now[w], acked[w], "%s: an acknowledged update of writer %d is lost", say, w)
		require.LessOrEqual(l.t, now[w], acked[w]+1, "%s: writer %d never wrote that", say, w)
	}
	if o.Role == "migrate" {
		require.NoError(l.t, r.Close())
		return
	}
	l.last = now
	l.inspect(o, out, r, say)
	for w := range writers {
		l.last[w]++
		_, err := write(l.t.Context(), r, w, l.last[w])
		require.NoError(l.t, err, say)
	}
	_, err := r.Sync(l.t.Context(), l.link)
	require.NoError(l.t, err, say)
	v, err := r.Verify(l.t.Context(), l.link, nil)
	require.NoError(l.t, err, say)
	require.True(l.t, v.Equal(), "%s: %+v", say, v)
	require.NoError(l.t, r.Close())
}

// order makes up what the next process does, and when it dies.
func (l *life) order(round int) *order {
	o := &order{Path: l.path, Key: l.key, URL: l.url, Round: round}
	names := slices.Sorted(maps.Keys(roles))
	for o.Role = ""; o.Role == ""; {
		o.Role = names[l.rng.IntN(len(names))]
		if encrypted := l.key != 0; o.Role == "encrypt" && encrypted || (o.Role == "rekey" || o.Role == "decrypt") && !encrypted {
			o.Role = ""
		}
	}
	switch o.Role {
	case "encrypt", "rekey":
		o.New = l.key%100 + 1
	case "migrate":
		o.Path, o.Key = l.old, 0
	}
	if most := l.know.calls[o.Role]; most > 0 && l.rng.IntN(3) > 0 {
		o.At, o.Torn = 1+l.rng.IntN(most), l.rng.IntN(3) == 0
	}
	return o
}

// prepare gives the process something to do.
func (l *life) prepare(o *order) {
	switch o.Role {
	case "sync":
		require.NoError(l.t, l.hub.With(l.t.Context(), "crew", func(hub *replica.Replica) error { return putMany(l.t, hub, o.Round) }))
	case "serve":
		require.NoError(l.t, putMany(l.t, l.peer, o.Round))
	case "migrate":
		makeOld(l.t, l.old, 1+o.Round%newestOld(l.t))
	case "backup":
		if o.Round%3 == 0 {
			require.NoError(l.t, os.RemoveAll(backupOf(l.path)))
		}
	}
}

func putMany(t *testing.T, r *replica.Replica, round int) error {
	return r.Update(t.Context(), func(tx *replica.Tx) (err error) {
		for i := range 50 {
			err = errors.Join(err, tx.Put(many(round, i), map[string]any{"N": i, "Round": round}))
		}
		return err
	})
}

// output is what a process said before it died.
type output struct {
	wrote  map[int]int // the last number of each writer
	begun  map[int]int // the same when it said "begun"
	ended  bool        // it came to the end of what it was told to do
	err    string
	synced sync.WaitGroup // with whom it served
}

// run runs the process until it is dead.
func (l *life) run(o *order) *output {
	text, err := json.Marshal(o)
	require.NoError(l.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orderEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(l.t, err)
	pipe, err := cmd.StdoutPipe()
	require.NoError(l.t, err)
	require.NoError(l.t, cmd.Start())
	deadline := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	patience := -1 // lines to read before it is killed
	if known := l.know.lines[o.Role]; o.At == 0 && known > 0 {
		patience = l.rng.IntN(known + 1)
	}
	out := &output{wrote: map[int]int{}}
	lines := 0
	finished := false
	for scanner := bufio.NewScanner(pipe); ; lines++ {
		if lines == patience {
			_ = cmd.Process.Kill()
		}
		if !scanner.Scan() {
			break
		}
		finished = l.hear(o, out, in, scanner.Text()) || finished
	}
	_ = cmd.Wait()
	out.synced.Wait()
	if finished {
		l.know.lines[o.Role] = max(l.know.lines[o.Role], lines)
	} else {
		l.know.killed[o.Role]++
	}
	return out
}

// hear takes down a line; true for the last one of a process that has done all.
func (l *life) hear(o *order, out *output, in io.Closer, line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "wrote":
		var w, n int
		_, err := fmt.Sscan(rest, &w, &n)
		require.NoError(l.t, err, line)
		out.wrote[w] = n
	case "begun":
		out.begun = maps.Clone(out.wrote)
	case "ended":
		out.ended = true
	case "at":
		out.synced.Go(func() {
			defer in.Close()
			link, err := httplink.New(rest+"/spaces/crew", nil)
			if err == nil {
				_, _ = l.peer.Sync(context.Background(), link) // the other side may die
			}
		})
	case "calls":
		n := 0
		_, err := fmt.Sscan(rest, &n)
		require.NoError(l.t, err, line)
		l.know.calls[o.Role] = max(l.know.calls[o.Role], n)
		return true
	default:
		out.err += line + "\n"
	}
	return false
}

// open opens the file with the key that it has to have after the process, or before.
func (l *life) open(o *order) *replica.Replica {
	keys := []int{o.Key}
	switch o.Role {
	case "encrypt", "rekey", "decrypt":
		keys = []int{o.New, o.Key, 0}
	}
	for _, k := range keys {
		r, err := replica.Open(context.Background(), o.Path, &replica.Options{Key: keyOf(k)})
		if err == nil {
			encrypted, err := r.Encrypted(l.t.Context()) // opening may have completed a decryption
			require.NoError(l.t, err)
			if !encrypted {
				k = 0
			}
			if o.Role != "migrate" {
				l.key = k
			}
			return r
		}
		if !errors.Is(err, replica.ErrWrongKey) && !errors.Is(err, replica.ErrEncrypted) && !errors.Is(err, replica.ErrNotEncrypted) {
			require.NoError(l.t, err)
		}
	}
	l.t.Fatalf("no key opens it: %+v", *o)
	return nil
}

// inspect looks at what the role alone has to leave.
func (l *life) inspect(o *order, out *output, r *replica.Replica, say string) {
	ctx := l.t.Context()
	has := func(i int) bool {
		_, err := r.Get(ctx, many(o.Round, i))
		require.True(l.t, err == nil || errors.Is(err, replica.ErrNotFound), "%s: %v", say, err)
		return err == nil
	}
	switch o.Role {
	case "put all":
		first, second := has(0), has(replica.PutAllRecords)
		require.Equal(l.t, first, has(replica.PutAllRecords-1), "%s: half of a set", say)
		require.Equal(l.t, second, has(manyRecords-1), "%s: half of a set", say)
		require.True(l.t, first || !second && !out.ended, say)
		require.True(l.t, second || !out.ended, say)
	case "import":
		chunks, err := r.Export(ctx, imported(o.Round))
		if errors.Is(err, replica.ErrNotFound) {
			require.False(l.t, out.ended, say)
			break
		}
		require.NoError(l.t, err, say)
		want, err := os.ReadFile(chunksOf(l.path))
		require.NoError(l.t, err)
		require.Equal(l.t, want, chunks, say)
	case "backup":
		l.inspectBackup(o, out, say)
	}
}

// inspectBackup opens the backup, which is a whole one if it is there at all.
func (l *life) inspectBackup(o *order, out *output, say string) {
	partial, err := filepath.Glob(backupOf(l.path) + ".partial-*")
	require.NoError(l.t, err)
	for _, p := range partial {
		require.NoError(l.t, os.Remove(p))
	}
	if _, err := os.Stat(backupOf(l.path)); err != nil {
		require.False(l.t, out.ended, say)
		return
	}
	var r *replica.Replica
	for k := 0; r == nil; k++ { // of an earlier round it may be one with another key
		require.LessOrEqual(l.t, k, 100, say)
		r, _ = replica.Open(context.Background(), backupOf(l.path), &replica.Options{Key: keyOf(k)})
	}
	requireSound(l.t, r)
	if then := written(l.t, r); out.ended {
		for w, n := range out.begun {
			require.GreaterOrEqual(l.t, then[w], n, say)
		}
	}
	require.NoError(l.t, r.Close())
}
