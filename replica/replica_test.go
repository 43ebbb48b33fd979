package replica_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

func TestUpdateIsAtomicOverRecords(t *testing.T) {
	r := open(t, nil)
	put(t, r, "1", `{"a":1}`)
	boom := errors.New("boom")
	ctx, cancel := context.WithCancel(context.Background())
	for name, end := range map[string]func() error{
		"error":     func() error { return boom },
		"cancelled": func() error { cancel(); return nil },
		"panic":     func() error { panic(boom) },
	} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, r)
			run := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = p.(error)
					}
				}()
				return r.Update(ctx, func(tx *replica.Tx) error {
					require.NoError(t, tx.Put(key("1"), map[string]any{"a": int64(2)}))
					require.NoError(t, tx.Put(key("2"), map[string]any{"b": int64(2)}))
					seen, err := tx.Get(key("1"))
					require.NoError(t, err)
					require.JSONEq(t, `{"a":2}`, string(seen))
					return end()
				})
			}
			require.Error(t, run())
			require.Equal(t, before, contents(t, r))
			ctx, cancel = context.WithCancel(context.Background())
		})
	}
	cancel()
	put(t, r, "1", `{"a":3}`)
	require.Equal(t, `{"a":3}`, get(t, r, "1"))
	requireClean(t, r)
}

func TestUpdateInsideUpdateIsRefused(t *testing.T) {
	r := open(t, nil)
	put(t, r, "1", `{"a":1}`)
	err := r.Update(context.Background(), func(tx *replica.Tx) error {
		return r.Update(context.Background(), func(*replica.Tx) error { return nil })
	})
	require.ErrorIs(t, err, replica.ErrNested)
}

func TestClosuresAtTheSameTime(t *testing.T) {
	r := open(t, nil)
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		return tx.Put(key("n"), map[string]any{"n": crdt.Counter(0)})
	}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 25 {
				err := r.Update(context.Background(), func(tx *replica.Tx) error {
					err := tx.Edit(key("n"), func(e *crdt.Edit) error { return e.Increment(crdt.Path{{Key: "n"}}, 1) })
					if (i+j)%5 == 0 {
						return errors.New("changed my mind")
					}
					return err
				})
				if (i+j)%5 != 0 {
					require.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, `{"n":160}`, get(t, r, "n"))
	requireClean(t, r)
}

func TestPutWritesOnlyWhatDiffers(t *testing.T) {
	r := open(t, nil)
	put(t, r, "1", `{"a":1,"b":[1,{"c":"x"}],"when":{"$time":"2026-11-21T10:00:00.000Z"},"n":{"$counter":5},"raw":{"$bytes":"AAE="}}`)
	heads, err := r.Heads(context.Background(), key("1"))
	require.NoError(t, err)
	put(t, r, "1", get(t, r, "1"))
	after, err := r.Heads(context.Background(), key("1"))
	require.NoError(t, err)
	require.Equal(t, heads, after)
}

func TestDelete(t *testing.T) {
	r := open(t, nil)
	put(t, r, "1", `{"a":1}`)
	del := func(tx *replica.Tx) error { return tx.Delete(key("1")) }
	require.NoError(t, r.Update(context.Background(), del))
	_, err := r.Get(context.Background(), key("1"))
	require.ErrorIs(t, err, replica.ErrNotFound)
	require.ErrorIs(t, r.Update(context.Background(), del), replica.ErrNotFound)
	put(t, r, "1", `{"a":2}`)
	require.Equal(t, `{"a":2}`, get(t, r, "1"))
	requireClean(t, r)
}

func TestBoundsOfAChangeSet(t *testing.T) {
	r := open(t, nil)
	err := r.Update(context.Background(), func(tx *replica.Tx) error {
		for i := range 9 {
			if err := tx.Put(key(fmt.Sprint(i)), map[string]any{"a": strings.Repeat("x", 1<<20)}); err != nil {
				return err
			}
		}
		return nil
	})
	require.ErrorIs(t, err, replica.ErrTooLarge)
	require.Empty(t, contents(t, r))
}

func TestBadKeys(t *testing.T) {
	r := open(t, nil)
	for _, k := range []crdt.Key{
		{}, {Collection: "a"}, {ID: "a"}, {Collection: "a/b", ID: "c"}, {Collection: "a", ID: "b/c"},
		{Collection: "a", ID: "b\x00"}, {Collection: "a", ID: "\xff"}, {Collection: "a", ID: strings.Repeat("x", 10_000)},
		{Collection: "_godwit", ID: "x"},
	} {
		err := r.Update(context.Background(), func(tx *replica.Tx) error { return tx.Put(k, map[string]any{"a": 1}) })
		var typed *replica.Error
		require.ErrorAs(t, err, &typed, "%q", k)
	}
}

func TestPolicies(t *testing.T) {
	a, b := diverged(t)
	ctx := context.Background()
	fields := func(field, resolver string) crdt.Policy {
		return crdt.Policy{Fields: []crdt.FieldPolicy{{Field: field, Resolver: resolver}}}
	}
	before := contents(t, a)
	for _, p := range []crdt.Policy{{Default: "local"}, fields("v", "local"), fields("*", "local")} {
		require.NoError(t, a.SetPolicy(ctx, "notes", p, nil))
		require.NoError(t, b.SetPolicy(ctx, "notes", p, nil))
		require.Equal(t, `{"v":"a"}`, get(t, a, "x"))
		require.Equal(t, `{"v":"b"}`, get(t, b, "x"))
		requireClean(t, a)
	}
	require.NoError(t, a.SetPolicy(ctx, "notes", crdt.Policy{Default: "remote"}, nil))
	require.Equal(t, `{"v":"b"}`, get(t, a, "x"))
	require.Error(t, a.SetPolicy(ctx, "notes", crdt.Policy{Default: "nonsense"}, nil))
	require.NoError(t, a.SetPolicy(ctx, "notes", crdt.Policy{}, nil))
	require.Equal(t, before, contents(t, a))

	v, err := a.View(ctx, key("x"), crdt.Policy{Default: "lww"})
	require.NoError(t, err)
	w, err := b.View(ctx, key("x"), crdt.Policy{Default: "lww"})
	require.NoError(t, err)
	require.Equal(t, string(v), string(w))
}

// diverged returns two replicas in sync whose record x has a conflict in v.
func diverged(t *testing.T) (a, b *replica.Replica) {
	net := network(t)
	a, b = open(t, nil), open(t, nil)
	serve(t, net, "b", b)
	put(t, a, "x", `{"v":"old"}`)
	syncWith(t, a, net.Link("a", "b"))
	put(t, a, "x", `{"v":"a"}`)
	put(t, b, "x", `{"v":"b"}`)
	syncWith(t, a, net.Link("a", "b"))
	requireEqual(t, a, b)
	return a, b
}

func TestConflictsAndResolve(t *testing.T) {
	a, b := diverged(t)
	var found []replica.Conflict
	for c, err := range a.Conflicts(context.Background(), "") {
		require.NoError(t, err)
		found = append(found, c)
	}
	require.Len(t, found, 1)
	require.Equal(t, "v", found[0].Path.String())
	require.Len(t, found[0].Candidates, 2)
	pick := found[0].Candidates[1]
	require.False(t, pick.Winner)
	require.NoError(t, a.Update(context.Background(), func(tx *replica.Tx) error {
		return tx.Edit(key("x"), func(e *crdt.Edit) error { return e.Resolve(found[0].Path, pick.Op) })
	}))
	require.Equal(t, fmt.Sprintf(`{"v":%q}`, pick.Value), get(t, a, "x"))
	for range a.Conflicts(context.Background(), "notes") {
		t.Error("the conflict is still there")
	}
	_ = b
}

func TestTwoOpeningsOfOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.db")
	a, b := openAt(t, path, nil), openAt(t, path, nil)
	for i := range 10 {
		put(t, a, "x", fmt.Sprintf(`{"a":%d}`, i))
		put(t, b, "x", fmt.Sprintf(`{"b":%d}`, i))
	}
	require.Equal(t, `{"a":9,"b":9}`, get(t, a, "x"))
	requireEqual(t, a, b)
	for range a.Conflicts(context.Background(), "") {
		t.Error("two openings that see each other made a conflict")
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	for i := range 3 {
		r, err := replica.Open(context.Background(), path, nil)
		require.NoError(t, err)
		put(t, r, "x", fmt.Sprintf(`{"a":%d}`, i))
		requireClean(t, r)
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		require.ErrorIs(t, r.Update(context.Background(), func(*replica.Tx) error { return nil }), replica.ErrClosed)
		_, err = r.Get(context.Background(), key("x"))
		require.ErrorIs(t, err, replica.ErrClosed)
	}
}
