package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/bundle"
)

// writeBundle writes a bundle of r into a file.
func writeBundle(t *testing.T, r *replica.Replica, since *bundle.Info) (string, bundle.Info) {
	f, err := os.Create(filepath.Join(t.TempDir(), "b"))
	require.NoError(t, err)
	info, err := r.WriteBundle(context.Background(), f, since, nil)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return f.Name(), info
}

func applyBundle(t *testing.T, r *replica.Replica, file string) (replica.Counts, error) {
	return r.Sync(context.Background(), bundle.Link(file, nil), replica.PullOnly())
}

// A chain of bundles moves the cursor: what they brought is not sent again.
func TestBundlesGoOn(t *testing.T) {
	from, to := open(t, &replica.Options{Space: "crew"}), open(t, nil)
	var last *bundle.Info
	for i := range 3 {
		put(t, from, fmt.Sprint(i), `{"v":1}`)
		file, info := writeBundle(t, from, last)
		n, err := applyBundle(t, to, file)
		require.NoError(t, err)
		require.Equal(t, 1, n.ChangesReceived)
		last = &info
	}
	net := network(t)
	serve(t, net, "from", from)
	n := syncWith(t, to, net.Link("to", "from"))
	require.Zero(t, n.ChangesReceived, "the cursor has moved")
	requireEqual(t, from, to)

	put(t, to, "back", `{"v":2}`)
	n = syncWith(t, to, net.Link("to", "from"))
	require.Equal(t, 1, n.ChangesSent, "an ack of a file is no receipt")
}

// A set larger than a frame, and many of them.
func TestBundlesOfManySets(t *testing.T) {
	from, to := open(t, &replica.Options{Space: "crew", Synchronous: persist.Normal}), open(t, nil)
	require.NoError(t, from.Update(context.Background(), func(tx *replica.Tx) error {
		for i := range 4100 {
			if err := tx.Put(key(fmt.Sprint(i)), map[string]any{"text": fmt.Sprintf("%0100d", i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	for i := range 300 {
		put(t, from, fmt.Sprint(i), fmt.Sprintf(`{"v":%d}`, i))
	}
	file, info := writeBundle(t, from, nil)
	require.Equal(t, 301, info.Sets)
	_, err := applyBundle(t, to, file)
	require.NoError(t, err)
	requireEqual(t, from, to)
}

// Whoever was restored from a backup has another log: an earlier bundle of the lost one is
// no beginning, and what comes of the new one is taken by all.
func TestBundleOfARestoredReplica(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	a, err := replica.Open(context.Background(), path, &replica.Options{Space: "crew"})
	require.NoError(t, err)
	put(t, a, "1", `{"v":1}`)
	require.NoError(t, a.Close())
	backup, err := os.ReadFile(path)
	require.NoError(t, err)

	a, err = replica.Open(context.Background(), path, nil)
	require.NoError(t, err)
	put(t, a, "1", `{"v":2}`)
	put(t, a, "lost", `{"v":2}`)
	to := open(t, nil)
	file, lost := writeBundle(t, a, nil)
	_, err = applyBundle(t, to, file)
	require.NoError(t, err)
	require.NoError(t, a.Close())

	require.NoError(t, os.WriteFile(path, backup, 0o600))
	a, err = replica.Open(context.Background(), path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	put(t, a, "new", `{"v":3}`)
	_, err = a.WriteBundle(context.Background(), &brokenWriter{}, &lost, nil)
	require.ErrorIs(t, err, replica.ErrOtherLog)
	file, _ = writeBundle(t, a, nil)
	_, err = applyBundle(t, to, file)
	require.NoError(t, err)
	get(t, to, "new")

	net := network(t)
	serve(t, net, "to", to)
	syncWith(t, a, net.Link("a", "to"))
	requireEqual(t, a, to)
	get(t, a, "lost")
}

func TestBundleErrors(t *testing.T) {
	from := open(t, &replica.Options{Space: "crew"})
	put(t, from, "1", `{"v":1}`)
	_, err := from.WriteBundle(context.Background(), &brokenWriter{}, nil, nil)
	require.ErrorIs(t, err, os.ErrClosed)
	file, _ := writeBundle(t, from, nil)
	other := open(t, &replica.Options{Space: "fleet"})
	_, err = applyBundle(t, other, file)
	require.ErrorContains(t, err, `the space "crew", the other "fleet"`)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = from.WriteBundle(ctx, &brokenWriter{}, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }
