package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// writers is how many write at the same time. Each numbers its updates, 1, 2, ..., and
// writes every number into two records of its own by one update.
const writers = 3

// recent is how many of its last numbers a record holds, each in a field of its own: a
// gap among them is an update that was lost under a later one.
const recent = 8

var errOnPurpose = errors.New("this update fails on purpose")

func work(kind string, writer int) crdt.Key {
	return crdt.Key{Collection: "work", ID: fmt.Sprint(kind, "-", writer)}
}

// write makes one update with the writer's next number. Now and then another one, which
// nothing may be left of, goes before it.
func write(ctx context.Context, r *replica.Replica, writer, n int) (crdt.LSN, error) {
	number := func(n int) func(*replica.Tx) error {
		return func(tx *replica.Tx) error {
			v := map[string]any{"n": n, fmt.Sprint("f", n%recent): n}
			return errors.Join(tx.Put(work("one", writer), v), tx.Put(work("two", writer), v))
		}
	}
	if n%4 == 0 {
		err := r.Update(ctx, func(tx *replica.Tx) error { return errors.Join(number(-n)(tx), errOnPurpose) })
		if !errors.Is(err, errOnPurpose) || errors.Is(err, persist.ErrDiskFull) {
			return 0, err
		}
	}
	return r.UpdateLSN(ctx, number(n))
}

// written returns the last number of each writer, having looked at all that is there.
func written(t testing.TB, r *replica.Replica) (last [writers]int) {
	t.Helper()
	for w := range writers {
		last[w] = numberOf(t, r, work("one", w))
		require.Equal(t, last[w], numberOf(t, r, work("two", w)), "half of an update")
	}
	return last
}

func numberOf(t testing.TB, r *replica.Replica, k crdt.Key) int {
	t.Helper()
	text, err := r.Get(context.Background(), k)
	if errors.Is(err, replica.ErrNotFound) {
		return 0
	}
	require.NoError(t, err)
	var v map[string]int
	require.NoError(t, json.Unmarshal(text, &v))
	n := v["n"]
	require.Positive(t, n, "of an update that failed")
	for i := max(1, n-recent+1); i <= n; i++ {
		require.Equal(t, i, v[fmt.Sprint("f", i%recent)], "%s: an update between others is lost: %s", k, text)
	}
	return n
}

// requireSound has all of the file checked.
func requireSound(t testing.TB, r *replica.Replica) {
	t.Helper()
	require.NoError(t, r.Check(context.Background(), func(p replica.Problem) { t.Errorf("check: %+v", p) }))
	st, err := r.Status(context.Background())
	require.NoError(t, err)
	require.Zero(t, st.Forked, "an actor has used a sequence number twice")
	require.Zero(t, st.Quarantined)
	require.False(t, t.Failed())
}

// memory returns a folder that costs no disk's time where the system has one, gone with
// the test.
func memory(t testing.TB) string {
	t.Helper()
	parent := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "godwit-crash-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func openAt(t testing.TB, path string, o *replica.Options) *replica.Replica {
	t.Helper()
	r, err := replica.Open(context.Background(), path, o)
	require.NoError(t, err)
	return r
}

// keyOf returns the numbered key of a file; 0: none.
func keyOf(n int) (k replica.Key) {
	if n != 0 {
		k, _ = replica.NewKey(fmt.Appendf(nil, "%032d", n))
	}
	return k
}
