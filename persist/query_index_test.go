package persist_test

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

func TestQueriesUseIndexes(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	index(t, s, "n", "sub.city")
	for _, c := range []struct {
		q    persist.Query
		want string
		not  string
	}{
		{persist.Query{Where: persist.Where("n", persist.Eq, 1)}, "SEARCH f USING PRIMARY KEY (key=?)", "TEMP B-TREE"},
		{persist.Query{Where: persist.Where("n", persist.Gt, 1), OrderBy: []persist.Order{{Field: "n"}}}, "SEARCH f USING PRIMARY KEY (key>? AND key<?)", "TEMP B-TREE"},
		{persist.Query{Where: persist.Where("sub.city", persist.Prefix, "Os")}, "SEARCH f USING PRIMARY KEY (key>? AND key<?)", ""},
		{persist.Query{Where: persist.Where(`["sub"].city`, persist.Eq, "Oslo")}, "SEARCH f USING PRIMARY KEY (key=?)", "TEMP B-TREE"},
		{persist.Query{Where: persist.Where("n", persist.In, []int{1, 2})}, "SEARCH f USING PRIMARY KEY (key=?)", ""},
		{persist.Query{Where: persist.Where("sub.city", persist.Exists, false)}, "SEARCH f USING PRIMARY KEY (key=?)", ""},
		{persist.Query{OrderBy: []persist.Order{{Field: "n", Desc: true}}}, "SCAN f", "TEMP B-TREE"},
		{persist.Query{OrderBy: []persist.Order{{Field: "n"}}, After: &persist.View{ID: "a", JSON: []byte(`{"n":1}`)}}, "SEARCH f USING PRIMARY KEY", "TEMP B-TREE"},
		{persist.Query{Where: persist.And(persist.Where("b", persist.Eq, true), persist.Where("n", persist.Lt, 5))}, "SEARCH f USING PRIMARY KEY (key<?)", ""},
		{persist.Query{Where: persist.And(persist.Where("n", persist.Lt, 5), persist.Where("sub.city", persist.Eq, "x"))}, "SEARCH f USING PRIMARY KEY (key=?)", ""},
		{persist.Query{Where: persist.Or(persist.Where("n", persist.Eq, 1), persist.Where("b", persist.Eq, true))}, "records_key", "SEARCH f"},
		{persist.Query{Where: persist.Where("n", persist.Ne, 1)}, "records_key", "SEARCH f"},
		{persist.Query{Where: persist.And(persist.Where("$id", persist.In, []string{"a"}), persist.Where("n", persist.Lt, 5))}, "(collection=? AND id=?)", "SEARCH f"},
		{persist.Query{OrderBy: []persist.Order{{Field: "$id", Desc: true}}}, "records_key", "TEMP B-TREE"},
	} {
		got := plan(t, s, c.q)
		require.Contains(t, got, c.want)
		if c.not != "" {
			require.NotContains(t, got, c.not)
		}
	}
}

func TestIndexesAreUsedWhenTheyAreReady(t *testing.T) {
	path := tempPath(t)
	s, err := persist.Open(context.Background(), path, nil)
	require.NoError(t, err)
	objects := map[string]string{}
	for i := range 100 {
		objects[fmt.Sprintf("%03d", i)] = fmt.Sprintf(`{"n":%d}`, i%10)
	}
	shown(t, s, objects)
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for i := range 2 {
			created, err := tx.EnsureIndex("notes", []string{"n", `["n"]`}[i])
			require.NoError(t, err)
			require.Equal(t, i == 0, created)
		}
		return nil
	}))
	want := persist.Query{Where: persist.Where("n", persist.Eq, 3)}
	_, err = buildSome(s, 30, 2)
	require.NoError(t, err)
	require.NotContains(t, plan(t, s, want), "SEARCH f")
	require.Len(t, ids(t, s, want), 10)
	require.NoError(t, s.Close()) // the next opening goes on
	s = open(t, path, nil)
	shown(t, s, map[string]string{"003": `{"n":4}`, "099": `{"n":3}`, "new": `{"n":3}`})
	build(t, s)
	require.Contains(t, plan(t, s, want), "SEARCH f")
	require.Len(t, ids(t, s, want), 11)
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		dropped, err := tx.DropIndex("notes", `["n"]`)
		require.True(t, dropped)
		return err
	}))
	require.Len(t, ids(t, s, want), 11)
	require.NotContains(t, plan(t, s, want), "SEARCH f")
	for i := range persist.MaxIndexes + 1 {
		err := s.Commit(context.Background(), func(tx *persist.Tx) error {
			_, err := tx.EnsureIndex("notes", fmt.Sprintf("f%d", i))
			return err
		})
		require.Equal(t, i == persist.MaxIndexes, err != nil)
	}
	for _, bad := range []string{"", "a[0]", `a"`, strings.Repeat("a", 10<<10)} {
		var e *persist.QueryError
		require.ErrorAs(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
			_, err := tx.EnsureIndex("others", bad)
			return err
		}), &e)
	}
}

// TestIndexesOfHostileNames: whatever a collection or field is called, it is a name.
func TestIndexesOfHostileNames(t *testing.T) {
	s := open(t, tempPath(t), nil)
	ctx := context.Background()
	for _, name := range []string{"it's", `"quoted"`, "x'); DROP TABLE records; --", "ü", "records", "field_1", "?1"} {
		k := crdt.Key{Collection: name, ID: "1"}
		field := crdt.Path{{Key: strings.ReplaceAll(name, `"`, "")}}
		object, err := crdt.AppendJSON(nil, map[string]any{field[0].Key: "v"})
		require.NoError(t, err)
		require.NoError(t, s.Commit(ctx, func(tx *persist.Tx) error {
			if _, err := tx.EnsureIndex(name, field.String()); err != nil {
				return err
			}
			_, err := edit(tx, k, "actor", string(object))
			return err
		}))
		build(t, s)
		require.NoError(t, s.Read(ctx, func(r *persist.Reader) error {
			n, err := r.Count(ctx, persist.Query{Collection: name, Where: persist.Where(field.String(), persist.Eq, "v")})
			require.Equal(t, int64(1), n, name)
			return err
		}))
		rows := mustSelect(t, s, fmt.Sprintf(`SELECT count(*) AS n FROM "%s" WHERE "%s" = 'v'`, strings.ReplaceAll(name, `"`, `""`), field[0].Key))
		require.Equal(t, []string{"n=1"}, rows)
	}
}

func TestCheckFindsWhatAnIndexLacks(t *testing.T) {
	path := tempPath(t)
	s, err := persist.Open(context.Background(), path, nil)
	require.NoError(t, err)
	shown(t, s, several)
	index(t, s, "n")
	require.NoError(t, s.Close())
	raw(t, path, "DELETE FROM field_1 WHERE id = 'a'", "UPDATE field_1 SET key = 9 WHERE id = 'b'")
	s = open(t, path, nil)
	var found []string
	require.NoError(t, s.Check(context.Background(), func(p persist.Problem) {
		if p.Kind == "index" {
			found = append(found, p.Key.ID+": "+p.Detail)
		}
	}))
	require.Equal(t, []string{"a: it is not in the index on n", "b: it is not in the index on n",
		"b: it is in the index with another value, or should not be on n"}, found)
}

// TestIndexKilled kills a process while it builds an index; another one goes on.
func TestIndexKilled(t *testing.T) {
	path := tempPath(t)
	s, err := persist.Open(context.Background(), path, &persist.Options{Synchronous: persist.Normal})
	require.NoError(t, err)
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for i := range 3000 {
			rec := &persist.Record{Key: key(fmt.Sprint(i)), JSON: fmt.Appendf(nil, `{"n":%d}`, i%7), Heads: crdt.Heads{{1}}, Clock: crdt.Clock{"a": 1}}
			if err := tx.PutRecord(rec); err != nil {
				return err
			}
		}
		_, err := tx.EnsureIndex("notes", "n")
		return err
	}))
	require.NoError(t, s.Close())
	for range 3 {
		cmd := startProcess(t, "index", path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		require.True(t, bufio.NewScanner(out).Scan())
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	s = open(t, path, nil)
	require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) error {
		all, err := r.Indexes("notes")
		require.False(t, all[0].Ready)
		return err
	}))
	build(t, s)
	require.Len(t, ids(t, s, persist.Query{Where: persist.Where("n", persist.Eq, 3)}), 3000/7+1)
	require.NoError(t, s.Check(context.Background(), func(p persist.Problem) { require.NotEqual(t, "index", p.Kind, p) }))
}

// TestIndexOfSeveralRuns has records so far apart that an index of them is built in
// several runs, which writes and deletions come between.
func TestIndexOfSeveralRuns(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	write := func(id string, n int) {
		require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
			_, err := edit(tx, key(id), "actor", fmt.Sprintf(`{"n":%d}`, n))
			return err
		}))
	}
	for i := range 30 {
		write(fmt.Sprintf("%02d", i), i%3)
		if i%10 == 9 {
			require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
				for range 60_000 {
					tx.NewRID()
				}
				return nil
			}))
		}
	}
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		_, err := tx.EnsureIndex("notes", "n")
		return err
	}))
	for i := range 5 {
		_, err := buildSome(s, 3, 2)
		require.NoError(t, err)
		write(fmt.Sprintf("%02d", 6*i), 7)
	}
	runs := 0
	for more := true; more; runs++ {
		var err error
		more, err = buildSome(s, 3, -1)
		require.NoError(t, err)
	}
	require.Greater(t, runs, 2)
	require.Len(t, ids(t, s, persist.Query{Where: persist.Where("n", persist.Eq, 7)}), 5)
	require.Len(t, ids(t, s, persist.Query{Where: persist.Where("n", persist.Lt, 7)}), 25)
	require.NoError(t, s.Check(context.Background(), func(p persist.Problem) { require.NotEqual(t, "index", p.Kind, p) }))
}

// TestIndexDroppedMeanwhile: who builds an index that somebody drops, and declares again,
// does nothing to the new one.
func TestIndexDroppedMeanwhile(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	ctx := context.Background()
	declare := func(tx *persist.Tx) error { _, err := tx.EnsureIndex("notes", "n"); return err }
	require.NoError(t, s.Commit(ctx, declare))
	require.NoError(t, s.Read(ctx, func(r *persist.Reader) error {
		x, rids, err := r.Unbuilt(ctx)
		require.NoError(t, err)
		require.Len(t, rids, len(several))
		enter := func(tx *persist.Tx) error { return tx.EnterIndex(ctx, x, rids[3:], true) }
		require.NoError(t, s.Commit(ctx, func(tx *persist.Tx) error {
			_, err := tx.DropIndex("notes", "n")
			return err
		}))
		require.NoError(t, s.Commit(ctx, enter))
		require.NoError(t, s.Commit(ctx, declare))
		return s.Commit(ctx, enter)
	}))
	require.NoError(t, s.Read(ctx, func(r *persist.Reader) error { // and a record that is deleted meanwhile
		x, rids, err := r.Unbuilt(ctx)
		require.NoError(t, err)
		return s.Commit(ctx, func(tx *persist.Tx) error {
			rec, err := tx.Record(key("a"))
			require.NoError(t, err)
			rec.Deleted = true
			require.NoError(t, tx.PutRecord(rec))
			return tx.EnterIndex(ctx, x, rids, true)
		})
	}))
	require.Len(t, ids(t, s, persist.Query{OrderBy: []persist.Order{{Field: "n"}}}), len(several)-1)
	require.NoError(t, s.Check(ctx, func(p persist.Problem) { require.NotEqual(t, "index", p.Kind, p) }))
}
