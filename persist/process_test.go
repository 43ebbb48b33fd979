package persist_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// subprocess is main of the test binary when a test has started it.
func subprocess(role string) int {
	if err := runRole(role, os.Getenv("PERSIST_TEST_PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runRole(role, path string) error {
	if role == "refused" {
		return openRefused(path)
	}
	if name, ok := strings.CutPrefix(role, "cipher-"); ok {
		return runCipherRole(name, path)
	}
	mode := persist.Full
	if role == "loop-normal" {
		mode = persist.Normal
	}
	s, err := persist.Open(context.Background(), path, &persist.Options{Synchronous: mode})
	if err != nil {
		return err
	}
	defer s.Close()
	actor, err := s.NewIncarnation(context.Background())
	if err != nil {
		return err
	}
	write := func(id string) error {
		return s.Commit(context.Background(), func(tx *persist.Tx) error {
			_, err := edit(tx, key(id), actor, "{}")
			return err
		})
	}
	switch role {
	case "backup":
		return backupAndWait(s, path+".backup")
	case "index": // begins to build an index, over and over, a record a transaction
		for more := true; more; fmt.Println("entered") {
			if more, err = buildSome(s, 1, 5); err != nil {
				return err
			}
		}
	case "loop", "loop-normal": // commits until killed, and says what is committed
		for i := 0; ; i++ {
			id := fmt.Sprintf("%s-%d", actor, i)
			if err := write(id); err != nil {
				return err
			}
			fmt.Println(id)
		}
	case "on-demand": // commits the record that each line of input names
		fmt.Println("ready")
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if err := write(in.Text()); err != nil {
				return err
			}
			fmt.Println(in.Text())
		}
	}
	return nil
}

func startProcess(t *testing.T, role, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PERSIST_TEST_ROLE="+role, "PERSIST_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// Whatever was acknowledged is there after a kill -9, at any moment.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PERSIST_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PERSIST_TEST_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	path := tempPath(t)
	total := 0
	for round := range 32 {
		role := []string{"loop", "loop-normal"}[round%2]
		cmd := startProcess(t, role, path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		// In the middle of the n-th commit, or of opening the file.
		lines := rng.IntN(40)
		var acked []string
		scanner := bufio.NewScanner(out)
		for len(acked) < lines && scanner.Scan() {
			acked = append(acked, scanner.Text())
		}
		for range rng.IntN(2000) { // and a little more than a whole commit
			_ = rng.Uint64()
		}
		require.NoError(t, cmd.Process.Kill())
		for scanner.Scan() { // what it said before it died counts
			acked = append(acked, scanner.Text())
		}
		_ = cmd.Wait()
		total += len(acked)

		s, err := persist.Open(t.Context(), path, nil)
		require.NoError(t, err)
		require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error {
			for _, id := range acked {
				if rec, err := r.Record(key(id)); rec == nil || err != nil {
					t.Errorf("round %d: acknowledged record %s is lost (%v)", round, id, err)
				}
			}
			return nil
		}))
		require.Empty(t, problems(t, s))
		require.NoError(t, s.Close())
	}
	t.Logf("%d acknowledged commits", total)
	require.NotZero(t, total)
}

// demand is a process that commits what it is told to.
type demand struct {
	t   *testing.T
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Reader
}

func startDemand(t *testing.T, path string) *demand {
	cmd := startProcess(t, "on-demand", path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	d := &demand{t, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	})
	require.Equal(t, "ready", d.line())
	return d
}

func (d *demand) line() string {
	s, err := d.out.ReadString('\n')
	require.NoError(d.t, err)
	return strings.TrimSpace(s)
}

// commit returns once the process has committed the record.
func (d *demand) commit(id string) {
	_, err := fmt.Fprintln(d.in, id)
	require.NoError(d.t, err)
	require.Equal(d.t, id, d.line())
}

func TestTwoProcesses(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	other := startDemand(t, path)
	foreign := func() (is bool, generation uint64) {
		require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
			is, generation = tx.Foreign(), tx.Generation()
			return nil
		}))
		return is, generation
	}
	foreign()
	is, before := foreign()
	require.False(t, is)
	for i := range 20 {
		other.commit(fmt.Sprint("theirs-", i))
		require.ErrorIs(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
			require.True(t, tx.Foreign())
			return errMine
		}), errMine)
		is, now := foreign()
		require.True(t, is, "a transaction that failed has not dealt with it")
		require.Greater(t, now, before)
		before = now
		mustEdit(t, s, fmt.Sprint("ours-", i), "{}")
		mustEdit(t, s, fmt.Sprint("theirs-", i), "{}") // on top of theirs
	}
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error {
		require.EqualValues(t, 60, r.Head().LSN)
		return nil
	}))
}

// Both write as fast as they can.
func TestTwoProcessesAtOnce(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	cmd := startProcess(t, "loop-normal", path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	theirs := 1
	for i := range 100 {
		mustEdit(t, s, fmt.Sprint("ours-", i), "{}")
		require.True(t, lines.Scan())
		theirs++
	}
	require.NoError(t, cmd.Process.Kill())
	for lines.Scan() {
		theirs++
	}
	_ = cmd.Wait()
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error {
		require.GreaterOrEqual(t, r.Head().LSN, crdt.LSN(100+theirs))
		return nil
	}))
}

func TestSubscription(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	other := startDemand(t, path)
	sub := s.Subscribe()
	defer sub.Close()
	await := func(id string) time.Duration {
		for start := time.Now(); ; {
			select {
			case <-sub.C():
				if record(t, s, id) != nil {
					return time.Since(start)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no wake-up after a commit")
			}
		}
	}
	var took []time.Duration
	for i := range 10 {
		id := fmt.Sprint("theirs-", i)
		other.commit(id)
		took = append(took, await(id))
		mustEdit(t, s, fmt.Sprint("ours-", i), "{}")
		await(fmt.Sprint("ours-", i))
	}
	slices.Sort(took)
	t.Logf("wake-ups for another process's commits took %v", took)
	require.Less(t, took[len(took)/2], 100*time.Millisecond) // not all: the machine may be busy
}

// Commits of this process need no polling to be noticed.
func TestWakesAtOnce(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{PollInterval: -1})
	sub := s.Subscribe()
	defer sub.Close()
	for range 3 {
		require.Empty(t, sub.C())
		mustEdit(t, s, "a", "{}")
		mustEdit(t, s, "a", "{}")
		<-sub.C() // one for both
	}
}

// Nobody asks the file for news unless somebody wants to know.
func TestPollsOnlyWhenSubscribed(t *testing.T) {
	path := tempPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, err := persist.Open(context.Background(), path, nil)
		require.NoError(t, err)
		defer s.Close()
		polling := func() bool {
			synctest.Wait()
			b := make([]byte, 1<<20)
			return strings.Contains(string(b[:runtime.Stack(b, true)]), "persist.(*wakes).poll")
		}
		require.False(t, polling())
		one, two := s.Subscribe(), s.Subscribe()
		require.True(t, polling())
		one.Close()
		require.True(t, polling())
		two.Close()
		two.Close()
		require.False(t, polling())
		three := s.Subscribe()
		require.True(t, polling())
		require.NoError(t, s.Close())
		require.False(t, polling())
		three.Close()
	})
}
