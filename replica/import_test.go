package replica_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// saved returns a file of crdt's corpus, and the heads of its history.
func saved(t testing.TB, name string) ([]byte, crdt.Heads) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "crdt", "testdata", "js", name+".automerge"))
	require.NoError(t, err)
	h, err := crdt.Load(b)
	require.NoError(t, err)
	return b, h.Heads()
}

func headsOf(t testing.TB, r *replica.Replica, id string) crdt.Heads {
	t.Helper()
	chunks, err := r.Export(context.Background(), key(id))
	require.NoError(t, err)
	h, err := crdt.Load(chunks)
	require.NoError(t, err)
	return h.Heads()
}

// What JavaScript saved becomes a record, goes on being edited, and reaches a
// peer, all with equal heads.
func TestImport(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "a", a)
	for _, name := range []string{"scalars", "conflicts", "edits", "typing", "older", "actors", "deletions", "deflated", "backwards", "twice"} {
		file, heads := saved(t, name)
		n, err := a.Import(ctx, key(name), file)
		require.NoError(t, err, name)
		require.Positive(t, n)
		require.Equal(t, heads, headsOf(t, a, name))
		n, err = a.Import(ctx, key(name), file)
		require.NoError(t, err, name)
		require.Zero(t, n, "again")
		put(t, a, name, `{"edited":true}`)
		_, err = a.Import(ctx, key(name), file)
		require.NoError(t, err, "an older state")
	}
	syncWith(t, b, net.Link("b", "a"))
	for _, name := range []string{"scalars", "edits", "actors"} {
		require.Equal(t, headsOf(t, a, name), headsOf(t, b, name), name)
		require.JSONEq(t, get(t, a, name), get(t, b, name), name)
	}
}

// A later state of the same document merges into what was imported and edited.
func TestImportMerges(t *testing.T) {
	ctx := context.Background()
	r := open(t, nil)
	early, _ := saved(t, "scalars")
	late, heads := saved(t, "incremental")
	n, err := r.Import(ctx, key("1"), early)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	put(t, r, "1", `{"mine":1}`)
	n, err = r.Import(ctx, key("1"), late)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Len(t, headsOf(t, r, "1"), 2)
	require.Subset(t, headsOf(t, r, "1"), heads)
	require.Contains(t, get(t, r, "1"), `"later":"appended"`)
	require.Contains(t, get(t, r, "1"), `"mine":1`)
}

// Whatever is wrong with a file, nothing of it is taken.
func TestImportIsAllOrNothing(t *testing.T) {
	ctx := context.Background()
	r, other := open(t, nil), open(t, nil)
	put(t, r, "mine", `{"a":1}`)
	put(t, other, "mine", `{"b":1}`)
	mine, err := r.Export(ctx, key("mine"))
	require.NoError(t, err)
	file, _ := saved(t, "scalars")
	changes, _ := saved(t, "changes")
	_, rest, err := crdt.NextChunk(changes)
	require.NoError(t, err)
	bundle, err := os.ReadFile("../crdt/testdata/js/bundle.refused")
	require.NoError(t, err)
	forged := claim(t, mine)

	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty tail":   {append(bytes.Clone(file), 0), "no chunk begins here"},
		"flipped":      {append(bytes.Clone(file[:len(file)-1]), file[len(file)-1]^1), "checksum"},
		"bundle":       {append(bytes.Clone(file), bundle...), "type 3"},
		"missing deps": {rest, "missing dependencies"},
		"forged":       {append(bytes.Clone(file), forged...), "claims to be written by this replica"},
		"no chunk":     {[]byte(`{"a":1}`), "no chunk begins here"},
	} {
		n, err := r.Import(ctx, key("new"), c.file)
		require.ErrorContains(t, err, c.want, name)
		require.Zero(t, n)
		_, err = r.Get(ctx, key("new"))
		require.ErrorIs(t, err, replica.ErrNotFound, name)
	}
	_, err = r.Import(ctx, crdt.Key{Collection: "_godwit", ID: "x"}, file)
	require.ErrorIs(t, err, replica.ErrReserved)
	_, err = r.Import(ctx, crdt.Key{Collection: "notes"}, file)
	require.Error(t, err)
	_, err = r.Import(ctx, key("mine"), mine)
	require.NoError(t, err, "what this replica wrote itself, and has")
	require.Equal(t, `{"a":1}`, get(t, r, "mine"))
}

// claim returns a change by the author of the first change in chunks, which that
// author did not write.
func claim(t testing.TB, chunks []byte) []byte {
	changes, err := crdt.ParseChunks(chunks)
	require.NoError(t, err)
	h := crdt.NewHistory()
	e := h.Begin(changes[0].Actor(), 1, nil)
	require.NoError(t, e.Put(crdt.Path{{Key: "forged"}}, true, crdt.Merge))
	c, err := e.Commit("")
	require.NoError(t, err)
	return c.Raw()
}
