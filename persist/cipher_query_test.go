package persist_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
)

func setPlain(s *persist.Store, fields ...string) error {
	return s.Commit(context.Background(), func(tx *persist.Tx) error { return tx.SetPlainFields("notes", fields) })
}

// An index holds what it is over as plain text, so the field has to be declared.
func TestIndexesOfEncryptedFiles(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	index(t, s, "n")
	require.ErrorIs(t, s.Encrypt(t.Context(), newKey(t, 1)), persist.ErrPlainIndex)
	other := open(t, path, nil)
	mustEdit(t, other, "z", `{"n":1}`) // the file is not encrypted
	require.NoError(t, setPlain(s, `["n"]`, "sub"))
	require.NoError(t, s.Encrypt(t.Context(), newKey(t, 1)))

	declare := func(field string) error {
		return s.Commit(t.Context(), func(tx *persist.Tx) error { _, err := tx.EnsureIndex("notes", field); return err })
	}
	require.ErrorIs(t, declare("sub.city"), persist.ErrPlainIndex)
	require.ErrorContains(t, declare("sub.city"), "field sub.city of notes")
	require.NoError(t, setPlain(s, "n", "sub.city"))
	index(t, s, "sub.city")
	require.ErrorIs(t, setPlain(s, "n"), persist.ErrPlainIndex)
	require.NoError(t, s.Read(t.Context(), func(r *persist.Reader) error {
		fields, err := r.PlainFields("notes")
		require.Equal(t, []string{"n", "sub.city"}, fields)
		return err
	}))
	if full, err := hasFullText(s); full && err == nil {
		text := func(field string) error {
			return s.Commit(t.Context(), func(tx *persist.Tx) error { _, err := tx.EnsureText("notes", []string{field}); return err })
		}
		require.ErrorIs(t, text("tags"), persist.ErrPlainIndex)
		require.NoError(t, text("sub.city"))
	}
	where := func(field string, v any) persist.Query {
		return persist.Query{Where: persist.Where(field, persist.Eq, v)}
	}
	require.Contains(t, plan(t, s, where("sub.city", "Oslo")), "SEARCH f USING PRIMARY KEY (key=?)")
	require.Equal(t, []string{"a"}, ids(t, s, where("sub.city", "Oslo")))
	mustEdit(t, s, "a", `{"sub":{"city":"Bergen"},"n":1}`)
	require.Equal(t, []string{"a"}, ids(t, s, where("sub.city", "Bergen")))
	require.Empty(t, ids(t, s, where("sub.city", "Oslo")))
	require.Equal(t, []string{"sub=" + `{"city":"Bergen"}`}, mustSelect(t, s, "SELECT sub FROM notes WHERE _id = 'a'"))

	// Whoever has the key keeps up, also with SQL alone.
	keyed := open(t, path, &persist.Options{Key: newKey(t, 1)})
	require.NoError(t, s.Rekey(t.Context(), newKey(t, 1)))
	require.Equal(t, []string{`sub={"city":"Bergen"}`}, mustSelect(t, keyed, "SELECT sub FROM notes WHERE _id = 'a'"))
	require.Equal(t, []string{"a"}, ids(t, keyed, where("sub.city", "Bergen")))
	_, err := selects(other, "SELECT sub FROM notes WHERE _id = 'a'")
	require.ErrorIs(t, err, persist.ErrEncrypted)
	require.NoError(t, s.Decrypt(t.Context()))
	require.Equal(t, []string{"a"}, ids(t, s, where("sub.city", "Bergen")))
	require.Empty(t, problemsOf(t, s, "index"))
}

func hasFullText(s *persist.Store) (has bool, err error) {
	err = s.Read(context.Background(), func(r *persist.Reader) (err error) {
		has, err = r.HasFullText()
		return err
	})
	return has, err
}

// problemsOf returns what Check finds of a kind.
func problemsOf(t testing.TB, s *persist.Store, kind string) (all []persist.Problem) {
	for _, p := range problems(t, s) {
		if p.Kind == kind {
			all = append(all, p)
		}
	}
	return all
}

// TestEncryptedQueriesAgainstAModel holds random queries against a loop in Go while
// the file goes from plain to encrypted, to another key, and back.
func TestEncryptedQueriesAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	opts := &persist.Options{Synchronous: persist.Normal}
	m := &model{t: t, rnd: rnd, records: map[string][2]int{}}
	var s *persist.Store
	opts.AfterStep(func(step string) {
		if step == "records" || step == "fold" {
			m.write(s, 5)
			m.check(s)
		}
	})
	s = open(t, tempPath(t), opts)
	require.NoError(t, setPlain(s, "f", "sub.g"))
	index(t, s, "f")
	m.write(s, 60)
	for i, change := range []func() error{
		func() error { return s.Encrypt(t.Context(), newKey(t, 1)) },
		func() error { return s.Rekey(t.Context(), newKey(t, 2)) },
		func() error { return s.Decrypt(t.Context()) },
	} {
		require.NoError(t, change())
		if i == 0 {
			index(t, s, "sub.g")
		}
		for range 60 {
			m.check(s)
		}
		require.Empty(t, problemsOf(t, s, "index"))
	}
}
