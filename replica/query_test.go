package replica_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

func queryIDs(t testing.TB, r *replica.Replica, q replica.Query) []string {
	t.Helper()
	q.Collection = "notes"
	got := []string{}
	for it, err := range r.Query(context.Background(), q) {
		require.NoError(t, err)
		require.Equal(t, "notes", it.Key.Collection)
		got = append(got, it.Key.ID)
	}
	return got
}

// many writes n records with n = 0..9 in turn.
func many(t testing.TB, r *replica.Replica, n int) {
	t.Helper()
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		for i := range n {
			if err := tx.Put(key(fmt.Sprintf("%04d", i)), map[string]any{"n": i % 10}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestQueriesOfManyPages: more than is read at once comes whole and in order, with limit
// and offset; while the loop goes on records may change.
func TestQueriesOfManyPages(t *testing.T) {
	r := open(t, nil)
	many(t, r, 1000)
	down := []replica.Order{{Field: "n", Desc: true}}
	var want []string
	for n := 9; n >= 0; n-- {
		for i := 990; i >= 0; i -= 10 {
			want = append(want, fmt.Sprintf("%04d", i+n))
		}
	}
	for range 2 {
		require.Equal(t, want, queryIDs(t, r, replica.Query{OrderBy: down}))
		for _, limit := range []int{1, 255, 256, 257, 700, 1001} {
			require.Equal(t, want[:min(limit, 1000)], queryIDs(t, r, replica.Query{OrderBy: down, Limit: limit}), limit)
			from := want[100:]
			require.Equal(t, from[:min(limit, 900)], queryIDs(t, r, replica.Query{OrderBy: down, Limit: limit, Offset: 100}), limit)
		}
		require.NoError(t, r.EnsureIndex(t.Context(), "notes", "n"))
		require.NoError(t, r.BuildIndexes(t.Context()))
	}
	var got []string
	for it, err := range r.Query(t.Context(), replica.Query{Collection: "notes", Where: replica.Where("n", replica.Lt, 9)}) {
		require.NoError(t, err)
		if got = append(got, it.Key.ID); len(got) == 300 { // the choice of the rest is made
			put(t, r, "0997", `{"n":9}`)
			put(t, r, "0998", `{"n":1,"more":true}`)
			require.NoError(t, r.Update(t.Context(), func(tx *replica.Tx) error { return tx.Delete(key("0996")) }))
			put(t, r, "1000", `{"n":1}`)
		}
		if it.Key.ID == "0998" {
			require.Contains(t, string(it.Value), "more")
		}
	}
	require.Len(t, got, 900-2)
	require.NotContains(t, got, "0996")
	require.NotContains(t, got, "0997")

	last := replica.Item{}
	got = nil
	for more := true; more; {
		more = false
		for it, err := range r.Query(t.Context(), replica.Query{Collection: "notes", OrderBy: down, Limit: 90, After: last}) {
			require.NoError(t, err)
			got, more, last = append(got, it.Key.ID), true, it
		}
	}
	require.Equal(t, queryIDs(t, r, replica.Query{OrderBy: down}), got)
}

// TestQueriesSeeThePolicy: what a query selects by is what Get shows, also when the
// rebuild after a change of the policy was cut short; and so are the indexes.
func TestQueriesSeeThePolicy(t *testing.T) {
	r := torn(t, 300)
	require.NoError(t, r.EnsureIndex(t.Context(), "notes", "by"))
	require.NoError(t, r.BuildIndexes(t.Context()))
	for i, p := range []string{crdt.ResolverLWW, crdt.ResolverFWW, crdt.ResolverLWW, crdt.ResolverFWW} {
		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: p}, func(int) { cancel() }), context.Canceled)
		want := map[string]string{crdt.ResolverLWW: "b", crdt.ResolverFWW: "a"}[p]
		for _, by := range []string{"by", "also"}[i%2:] {
			n, err := r.Count(t.Context(), replica.Query{Collection: "notes", Where: replica.Where(by, replica.Eq, want)})
			require.NoError(t, err)
			require.Equal(t, int64(300), n)
		}
		for row, err := range r.SQL(t.Context(), "SELECT count(*) FROM notes WHERE also = ?", want) {
			require.NoError(t, err)
			require.Equal(t, []any{int64(300)}, row.Values)
		}
	}
	require.NoError(t, r.Check(t.Context(), func(p replica.Problem) { t.Errorf("check: %+v", p) }))
}

func TestTypedQueries(t *testing.T) {
	r := open(t, nil)
	type Note struct {
		N    int       `json:"n"`
		Due  time.Time `godwit:"due,index"`
		Tags []string  `json:"tags"`
	}
	notes := replica.NewCollection[Note](r, "notes")
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		require.NoError(t, notes.Put(t.Context(), fmt.Sprint(i), Note{i, day.AddDate(0, 0, i), []string{"x"}}))
	}
	put(t, r, "bad", `{"n":"no number","due":{"$time":"2026-01-09T00:00:00Z"}}`)
	var got []string
	q := replica.Query{Collection: "others", Where: replica.Where("due", replica.Gt, day.AddDate(0, 0, 2))}
	for id, res := range notes.Query(t.Context(), q) {
		if id == "bad" {
			require.ErrorContains(t, res.Err, "notes/bad")
		} else {
			require.NoError(t, res.Err)
			require.Equal(t, fmt.Sprint(res.Value.N), id)
		}
		got = append(got, id)
	}
	require.Equal(t, []string{"3", "4", "bad"}, got)
	require.NoError(t, notes.EnsureIndexes(t.Context()))
	newer := replica.NewCollection[struct {
		Number int `godwit:"number,index"`
	}](r, "notes", replica.WithLens(2, replica.Rename("n", "number")))
	require.NoError(t, newer.EnsureIndexes(t.Context()))
	all, err := r.Indexes(t.Context(), "notes")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "due n", all[0].Field+" "+all[1].Field)
	values, err := r.Distinct(t.Context(), replica.Query{Collection: "notes", Limit: 2}, "n")
	require.NoError(t, err)
	require.Equal(t, "[0 1]", fmt.Sprintf("%s", values))
	text, err := r.Plan(t.Context(), replica.Query{Collection: "notes"})
	require.NoError(t, err)
	require.Contains(t, text, "SEARCH r USING INDEX records_key")
	ok, err := r.Matches(t.Context(), q, "9", []byte(`{"due":{"$time":"2027-01-01T00:00:00Z"}}`))
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = r.Matches(t.Context(), q, "9", nil)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestQueriesThatCannotBe(t *testing.T) {
	r := open(t, nil)
	put(t, r, "1", `{"n":1}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wrong := replica.Query{Collection: "notes", Where: replica.Where("n", "~", 1)}
	var e *replica.QueryError
	for _, err := range r.Query(t.Context(), wrong) {
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, err, "query notes: query: field n ~: unknown operator")
	}
	for _, q := range []replica.Query{{Collection: "a/b"}, {Collection: ""}} {
		_, err := r.Count(t.Context(), q)
		require.ErrorAs(t, err, &e)
	}
	_, err := r.CountBy(t.Context(), replica.Query{Collection: "notes"}, "a[0]")
	require.ErrorAs(t, err, &e)
	require.ErrorAs(t, r.EnsureIndex(t.Context(), "notes", "n", "a[0]"), &e)
	all, err := r.Indexes(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, all, "nothing of it")
	for _, err := range r.SQL(t.Context(), "DELETE FROM notes") {
		require.ErrorIs(t, err, replica.ErrSQL)
	}
	for _, err := range r.Query(ctx, replica.Query{Collection: "notes"}) {
		require.ErrorIs(t, err, context.Canceled)
	}
	for _, err := range r.SQL(ctx, "SELECT * FROM notes") {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Equal(t, []string{"1"}, queryIDs(t, r, replica.Query{}))
	require.NoError(t, r.Close())
	for _, err := range r.Query(t.Context(), replica.Query{Collection: "notes"}) {
		require.ErrorIs(t, err, replica.ErrClosed)
	}
	for _, err := range r.SQL(t.Context(), "SELECT * FROM notes") {
		require.ErrorIs(t, err, replica.ErrClosed)
	}
	require.ErrorIs(t, r.EnsureIndex(t.Context(), "notes", "n"), replica.ErrClosed)
	require.ErrorIs(t, r.BuildIndexes(t.Context()), replica.ErrClosed)
}

// TestTheNextOpeningBuildsIndexes: an index that nobody built is built after Open.
func TestTheNextOpeningBuildsIndexes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	r, err := replica.Open(t.Context(), path, nil)
	require.NoError(t, err)
	many(t, r, 2500)
	require.NoError(t, r.DeclareIndex(t.Context(), "notes", "n"))
	require.NoError(t, r.Close())
	r = openAt(t, path, nil)
	require.Eventually(t, func() bool {
		all, err := r.Indexes(t.Context(), "notes")
		require.NoError(t, err)
		return len(all) == 1 && all[0].Ready
	}, 30*time.Second, 5*time.Millisecond)
	require.Len(t, queryIDs(t, r, replica.Query{Where: replica.Where("n", replica.Eq, 3)}), 250)
	require.NoError(t, r.DropIndex(t.Context(), "notes", "n", "none"))
	require.Len(t, queryIDs(t, r, replica.Query{Where: replica.Where("n", replica.Eq, 3)}), 250)
}
