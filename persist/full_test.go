package persist_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// fill appends changes until the disk is full.
func fill(tx *persist.Tx) error {
	rec, err := tx.Record(key("first"))
	if err != nil {
		return err
	}
	for {
		row := &persist.LogRow{RID: rec.RID, Key: rec.Key, Hash: crdt.Hash{1}, Data: make([]byte, 100_000)}
		if err := tx.Append(row); err != nil {
			return err
		}
	}
}

// A disk that is full fails whom it concerns, and the store goes on.
func TestFull(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	mustEdit(t, s, "first", "{}")
	persist.LimitPages(t, s, 100)
	err := s.Commit(t.Context(), fill)
	require.ErrorIs(t, err, persist.ErrDiskFull)
	require.ErrorContains(t, err, path)
	require.Equal(t, []string{"rolled back"}, rolledBack(t, s))
	require.Empty(t, problems(t, s))
	mustEdit(t, s, "small", "{}")
	persist.LimitPages(t, s, 1<<30)
	mustEdit(t, s, "later", "{}")
	require.Empty(t, problems(t, s))
}

func rolledBack(t *testing.T, s *persist.Store) (events []string) {
	require.Error(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
		tx.OnCommit(func() { events = append(events, "committed") })
		tx.OnRollback(func() { events = append(events, "rolled back") })
		return fill(tx)
	}))
	return events
}

// SQLite may give up the whole transaction: then all who share it are told.
func TestFullForAll(t *testing.T) {
	path := tempPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, err := persist.Open(context.Background(), path, nil)
		require.NoError(t, err)
		defer s.Close()
		mustEdit(t, s, "first", "{}")
		persist.LimitPages(t, s, 100)
		gate := make(chan struct{})
		errs := make([]error, 3)
		var wg sync.WaitGroup
		for i, fn := range []func(*persist.Tx) error{put("a"), fill, put("c")} {
			wg.Go(func() {
				errs[i] = s.Commit(context.Background(), func(tx *persist.Tx) error {
					if i == 0 {
						<-gate
					}
					return fn(tx)
				})
			})
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		require.Error(t, errs[1])
		for i, id := range []string{0: "a", 2: "c"} {
			if id != "" {
				require.Equal(t, errs[i] == nil, record(t, s, id) != nil, "%s: %v", id, errs[i])
			}
		}
		require.Empty(t, problems(t, s))
		mustEdit(t, s, "later", "{}")
	})
}

// A commit that fails is everybody's error, and nothing of it stays.
func TestCommitFails(t *testing.T) {
	var undone []string
	hooked := func(id string, fn func(*persist.Tx) error) func(*persist.Tx) error {
		return func(tx *persist.Tx) error {
			tx.OnRollback(func() { undone = append(undone, id) })
			return fn(tx)
		}
	}
	together(t, func(s *persist.Store, errs []error) {
		require.ErrorContains(t, errs[0], "commit")
		require.ErrorIs(t, errs[1], errMine, "it had failed before")
		require.ErrorContains(t, errs[2], "commit")
		require.Equal(t, []string{"b", "c", "a"}, undone)
		require.Nil(t, record(t, s, "a"))
		require.Nil(t, record(t, s, "c"))
		require.Empty(t, problems(t, s))
		mustEdit(t, s, "a", "{}")
		require.Empty(t, problems(t, s))
	}, hooked("a", func(tx *persist.Tx) error {
		persist.FailCommit(tx)
		return put("a")(tx)
	}), hooked("b", after(put("b"), errMine)), hooked("c", put("c")))
}
