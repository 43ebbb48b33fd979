package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

func fileKey(t testing.TB, b byte) replica.Key {
	k, err := replica.NewKey(bytes.Repeat([]byte{b}, replica.KeySize))
	require.NoError(t, err)
	return k
}

// An encrypted replica does what others do: it syncs, is compacted, checked, and its
// constraints are looked into by SQL.
func TestEncryptedReplica(t *testing.T) {
	ctx := t.Context()
	net := network(t)
	a, b := open(t, &replica.Options{Key: fileKey(t, 1)}), open(t, &replica.Options{Key: fileKey(t, 2)})
	serve(t, net, "b", b)
	for i := range 40 {
		put(t, a, "1", fmt.Sprintf(`{"email":"ada@example.org","n":%d}`, i))
	}
	put(t, a, "2", `{"email":"ada@example.org","author":["nobody","1"]}`)
	require.NoError(t, a.SetConstraints(ctx, "notes", replica.Constraints{
		Unique: []string{"email"}, References: []replica.Reference{{Field: "author", Collection: "notes"}}}))
	syncWith(t, a, net.Link("a", "b"))
	want := violations(t, a, "notes")
	require.Len(t, want, 2)
	require.Equal(t, want, violations(t, b, "notes"))
	_, err := a.Compact(ctx, &replica.CompactOptions{MinBytes: 1, Vacuum: true}, nil)
	require.NoError(t, err)
	require.NoError(t, a.Rekey(ctx, fileKey(t, 3)))
	require.NoError(t, b.Decrypt(ctx))
	put(t, b, "1", `{"n":1000}`)
	syncWith(t, a, net.Link("a", "b"))
	for _, r := range []*replica.Replica{a, b} {
		require.Equal(t, want, violations(t, r, "notes"))
	}
	requireEqual(t, a, b)
	requireEncrypted(t, a, true)
	requireEncrypted(t, b, false)
	require.NoError(t, a.Close())
	file, err := os.ReadFile(a.Path())
	require.NoError(t, err)
	require.NotContains(t, string(file), "example.org")
	_, err = replica.Open(ctx, a.Path(), &replica.Options{Key: fileKey(t, 1)})
	require.ErrorIs(t, err, replica.ErrWrongKey, "the first key")
}

// What is indexed is plain text, so it has to be declared.
func TestEncryptedIndex(t *testing.T) {
	ctx := t.Context()
	r := open(t, &replica.Options{Key: fileKey(t, 1)})
	put(t, r, "1", `{"title":"Tides","secret":"Rumpelstiltskin"}`)
	require.ErrorIs(t, r.EnsureIndex(ctx, "notes", "title"), replica.ErrPlainIndex)
	require.NoError(t, r.SetPlaintext(ctx, "notes", "title"))
	require.NoError(t, r.EnsureIndex(ctx, "notes", "title"))
	require.NoError(t, r.BuildIndexes(ctx))
	require.ErrorIs(t, r.EnsureIndex(ctx, "notes", "secret"), replica.ErrPlainIndex)
	require.ErrorIs(t, r.SetPlaintext(ctx, "notes"), replica.ErrPlainIndex)
	for _, field := range []string{"title", "secret"} {
		n, err := r.Count(ctx, replica.Query{Collection: "notes", Where: replica.Where(field, replica.Exists, true)})
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
	}
	require.NoError(t, r.Close())
	file, err := os.ReadFile(r.Path())
	require.NoError(t, err)
	require.NotContains(t, string(file), "Rumpelstiltskin")
	require.Contains(t, string(file), "Tides", "declared")
}

func requireEncrypted(t testing.TB, r *replica.Replica, want bool) {
	t.Helper()
	yes, err := r.Encrypted(context.Background())
	require.NoError(t, err)
	require.Equal(t, want, yes)
}

// A hub's spaces are encrypted with its key.
func TestEncryptedHub(t *testing.T) {
	dir := t.TempDir()
	use := func(key replica.Key) error {
		h, err := replica.OpenHub(dir, &replica.Options{Key: key})
		require.NoError(t, err)
		defer h.Close()
		return h.With(t.Context(), "crew", func(r *replica.Replica) error {
			put(t, r, "1", `{"title":"Rumpelstiltskin"}`)
			return nil
		})
	}
	require.NoError(t, use(fileKey(t, 1)))
	require.ErrorIs(t, use(fileKey(t, 2)), replica.ErrWrongKey)
	require.ErrorIs(t, use(replica.Key{}), replica.ErrEncrypted)
	require.NoError(t, use(fileKey(t, 1)))
	file, err := os.ReadFile(filepath.Join(dir, "crew.db"))
	require.NoError(t, err)
	require.NotContains(t, string(file), "Rumpelstiltskin")
}

// BenchmarkUpdateEncrypted holds the same update of an encrypted replica against one
// of a plain one. At most 1.25 times is wanted.
func BenchmarkUpdateEncrypted(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			plain := benchReplica(b, m.mode)
			sealed := open(b, &replica.Options{Synchronous: m.mode, Key: fileKey(b, 1)})
			fill(b, sealed, 1000)
			alternate(b, 200, "plain", func(i int) error { return setCount(plain, strconv.Itoa(i)) },
				"times-plain", func(i int) error { return setCount(sealed, strconv.Itoa(i)) })
		})
	}
}

// A backup of an encrypted replica is encrypted with the same key.
func TestEncryptedBackup(t *testing.T) {
	r := open(t, &replica.Options{Key: fileKey(t, 1)})
	put(t, r, "1", `{"title":"Rumpelstiltskin"}`)
	path := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, r.Backup(t.Context(), path, nil))
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(file), "Rumpelstiltskin")
	_, err = replica.Open(t.Context(), path, nil)
	require.ErrorIs(t, err, replica.ErrEncrypted)
	require.Equal(t, `{"title":"Rumpelstiltskin"}`, get(t, openAt(t, path, &replica.Options{Key: fileKey(t, 1)}), "1"))
}
