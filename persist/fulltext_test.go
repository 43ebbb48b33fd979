//go:build sqlite_fts5

package persist_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

func ensureText(t testing.TB, s *persist.Store, fields ...string) (changed bool) {
	t.Helper()
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) (err error) {
		changed, err = tx.EnsureText("notes", fields)
		return err
	}))
	return changed
}

// follow brings the full text up to date, and returns in how many transactions.
func follow(t testing.TB, s *persist.Store) (n int) {
	t.Helper()
	ctx := context.Background()
	for more := true; more; n++ {
		require.NoError(t, s.Commit(ctx, func(tx *persist.Tx) error {
			text, err := tx.TextIndex("notes")
			if err != nil {
				return err
			}
			more, err = tx.UpdateText(ctx, text)
			return err
		}))
	}
	return n
}

func TestFullText(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, map[string]string{
		"a": `{"title":"The Tides","body":"They come and go, at Ålesund as elsewhere."}`,
		"b": `{"title":"Salt","body":"Of the sea; no tides here"}`,
		"c": `{"title":["Sea","shore"],"body":7}`,
		"d": `{"title":"\"quoted\" NEAR(x) OR y*"}`,
	})
	require.True(t, ensureText(t, s, "title", "body"))
	require.False(t, ensureText(t, s, "title", "body"))
	follow(t, s)
	for _, c := range []struct {
		where persist.Cond
		want  string
	}{
		{persist.Search("tides"), "a b"},
		{persist.Search("TIDES come"), "a"},
		{persist.Search("tides", "title"), "a"},
		{persist.Search("alesund"), "a"},
		{persist.Search("tid*"), "a b"},
		{persist.Search("tid"), ""},
		{persist.Search("sea"), "b c"},
		{persist.Search("shore", "title", "body"), "c"},
		{persist.Search("7"), ""},
		{persist.Search(`"quoted"`), "d"},
		{persist.Search("NEAR(x)"), "d"},
		{persist.Search("tides OR salt"), ""},
		{persist.Search("title:tides"), ""},
		{persist.Search("-tides ^ { }"), "a b"}, // signs are no words
		{persist.And(persist.Search("tides"), persist.Not(persist.Search("salt"))), "a"},
		{persist.And(persist.Search("tides"), persist.Where("title", persist.Eq, "Salt")), "b"},
	} {
		t.Run(fmt.Sprint(c.where), func(t *testing.T) {
			require.Equal(t, strings.Fields(c.want), ids(t, s, persist.Query{Where: c.where}))
		})
	}
	for _, words := range []string{"", " ", "- ^", "\x00", "\xff", strings.Repeat("x ", 65)} {
		_, err := queryIDs(s, persist.Query{Where: persist.Search(words)})
		var e *persist.QueryError
		require.ErrorAs(t, err, &e, "%q", words)
	}
	_, err := queryIDs(s, persist.Query{Where: persist.Search("x", "other")})
	require.ErrorContains(t, err, "field other: is not in the collection's full text")

	require.True(t, ensureText(t, s, "body"))
	follow(t, s)
	require.Equal(t, []string{"b"}, ids(t, s, persist.Query{Where: persist.Search("sea")}))
	require.True(t, ensureText(t, s))
	_, err = queryIDs(s, persist.Query{Where: persist.Search("sea")})
	require.ErrorContains(t, err, "no full text")
}

// TestFullTextFollows holds the full text against the records after random writes,
// deletions, changes of views, and gaps in what it follows; with a store that is closed
// half-way.
func TestFullTextFollows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := tempPath(t)
	s, err := persist.Open(context.Background(), path, &persist.Options{Synchronous: persist.Normal})
	require.NoError(t, err)
	words := strings.Fields("tide salt sea shore moon")
	have := map[string]string{}
	write := func(n int) {
		require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
			for range n {
				id, text := fmt.Sprintf("%04d", rnd.IntN(1500)), words[rnd.IntN(5)]+" "+words[rnd.IntN(5)]
				rec, err := edit(tx, key(id), "actor", `{"text":"`+text+`"}`)
				if err != nil {
					return err
				}
				switch have[id] = text; rnd.IntN(8) {
				case 0:
					delete(have, id)
					rec.Deleted, rec.JSON = true, nil
				case 1: // as a rebuild does, which leaves the log alone
					have[id] = "moon"
					rec.Deleted, rec.JSON = false, []byte(`{"text":"moon"}`)
					if err := tx.AddView(rec.RID); err != nil {
						return err
					}
				default:
					rec.Deleted = false
				}
				if err := tx.PutRecord(rec); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	check := func() {
		for _, w := range words {
			var want []string
			for id, text := range have {
				if strings.Contains(text, w) {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			require.Equal(t, want, ids(t, s, persist.Query{Where: persist.Search(w)}))
		}
	}
	write(1200)
	ensureText(t, s, "text")
	for round := range 4 {
		if round == 0 { // a part, then another opening goes on
			require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
				text, err := tx.TextIndex("notes")
				require.NoError(t, err)
				more, err := tx.UpdateText(context.Background(), text)
				require.True(t, more)
				return err
			}))
			write(300)
			require.NoError(t, s.Close())
			s = open(t, path, &persist.Options{Synchronous: persist.Normal})
		}
		require.Greater(t, follow(t, s), 1)
		check()
		require.Equal(t, 1, follow(t, s), "nothing was left to do")
		write(700)
		if round == 2 { // what it has not read is gone
			require.NoError(t, s.Close())
			raw(t, path, "DELETE FROM views WHERE seq < (SELECT max(seq) FROM views)")
			s = open(t, path, &persist.Options{Synchronous: persist.Normal})
		}
	}
	follow(t, s)
	check()
}
