package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

func TestMain(m *testing.M) {
	for env, run := range map[string]func(path string) error{openIdleEnv: openIdle, importEnv: importMany} {
		path := os.Getenv(env)
		if path == "" {
			continue
		}
		if err := run(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path, url, ok := strings.Cut(os.Getenv(uploadEnv), " "); ok {
		if err := upload(path, url); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// open opens a new replica in a folder of the test's own.
func open(t testing.TB, o *replica.Options) *replica.Replica {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
}

func openAt(t testing.TB, path string, o *replica.Options) *replica.Replica {
	t.Helper()
	r, err := replica.Open(context.Background(), path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func key(id string) crdt.Key { return crdt.Key{Collection: "notes", ID: id} }

// put merges a JSON object into a record.
func put(t testing.TB, r *replica.Replica, id, object string) {
	t.Helper()
	v, err := crdt.ParseJSON([]byte(object))
	require.NoError(t, err)
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error { return tx.Put(key(id), v) }))
}

func get(t testing.TB, r *replica.Replica, id string) string {
	t.Helper()
	v, err := r.Get(context.Background(), key(id))
	require.NoError(t, err)
	return string(v)
}

// serve lets others reach the replica under a name, until the test ends.
func serve(t testing.TB, net *memlink.Network, name string, r *replica.Replica) {
	t.Helper()
	_, err := net.Listen(name, func(ctx context.Context, c transport.Conn) error { return r.Accept(ctx, c, transport.FullGrant()) })
	require.NoError(t, err)
}

// network returns a reliable network that is closed before the replicas are.
func network(t testing.TB) *memlink.Network {
	net := memlink.New(1)
	t.Cleanup(func() { require.NoError(t, net.Close()) })
	return net
}

func syncWith(t testing.TB, r *replica.Replica, link transport.Link, opts ...replica.LinkOption) replica.Counts {
	t.Helper()
	n, err := r.Sync(context.Background(), link, opts...)
	require.NoError(t, err)
	return n
}

// requireEqual holds all records of the replicas against each other, heads and
// values, and checks each file.
func requireEqual(t testing.TB, all ...*replica.Replica) {
	t.Helper()
	var want map[string]string
	for i, r := range all {
		got := contents(t, r)
		if i == 0 {
			want = got
		}
		require.Equal(t, want, got)
		requireClean(t, r)
	}
}

// contents maps each record that ever existed to its heads and value.
func contents(t testing.TB, r *replica.Replica) map[string]string {
	t.Helper()
	ctx := context.Background()
	got := map[string]string{}
	names, err := r.Collections(ctx)
	require.NoError(t, err)
	for _, name := range names {
		for it, err := range r.List(ctx, name, 0) {
			require.NoError(t, err)
			heads, err := r.Heads(ctx, it.Key)
			require.NoError(t, err)
			got[it.Key.String()] = fmt.Sprint(heads, string(it.Value))
		}
	}
	return got
}

func requireClean(t testing.TB, r *replica.Replica) {
	t.Helper()
	require.NoError(t, r.Check(context.Background(), func(p replica.Problem) { t.Errorf("check: %+v", p) }))
}
