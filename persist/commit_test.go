package persist_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

var errMine = errors.New("mine")

func nop(*persist.Tx) error { return nil }

func TestCommitIsReadBack(t *testing.T) {
	s := open(t, tempPath(t), nil)
	want := mustEdit(t, s, "a", `{"n":1}`)
	require.Equal(t, want, record(t, s, "a"))
	require.EqualValues(t, 1, want.RID)
	require.EqualValues(t, 1, want.LSN)
	want = mustEdit(t, s, "a", `{"n":2}`)
	require.Equal(t, want, record(t, s, "a"))
	require.EqualValues(t, 2, want.LSN)
	require.Nil(t, record(t, s, "b"))
}

// together commits the closures in one transaction, in order, and returns what
// each call of Commit gave. The first holds the others up until they wait, for
// which a bubble knows the moment.
func together(t *testing.T, check func(s *persist.Store, errs []error), fns ...func(*persist.Tx) error) {
	path := tempPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, err := persist.Open(context.Background(), path, nil)
		require.NoError(t, err)
		defer s.Close()
		errs := make([]error, len(fns))
		gate := make(chan struct{})
		var wg sync.WaitGroup
		for i, fn := range fns {
			wg.Go(func() {
				defer func() {
					if p := recover(); p != nil {
						errs[i] = fmt.Errorf("panic: %v", p)
					}
				}()
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
		check(s, errs)
	})
}

func put(id string) func(*persist.Tx) error {
	return func(tx *persist.Tx) error {
		_, err := edit(tx, key(id), "actor", "{}")
		return err
	}
}

// after runs the closure and then fails with err.
func after(fn func(*persist.Tx) error, err error) func(*persist.Tx) error {
	return func(tx *persist.Tx) error {
		if e := fn(tx); e != nil {
			return e
		}
		return err
	}
}

func TestGroup(t *testing.T) {
	panics := func(tx *persist.Tx) error {
		_ = put("undone")(tx)
		panic("oh")
	}
	cases := []struct {
		name string
		fns  []func(*persist.Tx) error
		want []string // errors, "" for none
		kept []string // ids
	}{
		{"all succeed", []func(*persist.Tx) error{put("a"), put("b"), put("c")}, []string{"", "", ""}, []string{"a", "b", "c"}},
		{"the first fails", []func(*persist.Tx) error{after(put("undone"), errMine), put("b"), put("c")}, []string{"mine", "", ""}, []string{"b", "c"}},
		{"a later one fails", []func(*persist.Tx) error{put("a"), after(put("undone"), errMine), put("c")}, []string{"", "mine", ""}, []string{"a", "c"}},
		{"the last fails", []func(*persist.Tx) error{put("a"), put("b"), after(put("undone"), errMine)}, []string{"", "", "mine"}, []string{"a", "b"}},
		{"the first panics", []func(*persist.Tx) error{panics, put("b")}, []string{"panic: oh", ""}, []string{"b"}},
		{"a later one panics", []func(*persist.Tx) error{put("a"), panics, put("c")}, []string{"", "panic: oh", ""}, []string{"a", "c"}},
		{"all fail", []func(*persist.Tx) error{after(put("undone"), errMine), panics}, []string{"mine", "panic: oh"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			together(t, func(s *persist.Store, errs []error) {
				for i, want := range c.want {
					if want == "" {
						require.NoError(t, errs[i])
					} else {
						require.EqualError(t, errs[i], want)
					}
				}
				for _, id := range c.kept {
					require.NotNil(t, record(t, s, id), id)
				}
				require.Nil(t, record(t, s, "undone"))
				require.Empty(t, problems(t, s))
				mustEdit(t, s, "later", "{}") // positions were restored
				require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) error {
					require.EqualValues(t, len(c.kept)+1, r.Head().LSN)
					return nil
				}))
			}, c.fns...)
		})
	}
}

func TestHooks(t *testing.T) {
	var events []string
	hooked := func(name string, err error) func(*persist.Tx) error {
		return func(tx *persist.Tx) error {
			events = append(events, "run "+name)
			for _, n := range []string{"1", "2"} {
				tx.OnCommit(func() { events = append(events, "commit "+name+n) })
				tx.OnRollback(func() { events = append(events, "rollback "+name+n) })
			}
			return err
		}
	}
	together(t, func(s *persist.Store, errs []error) {
		require.Equal(t, []string{
			"run a", "run b", "rollback b2", "rollback b1", "run c",
			"commit a1", "commit a2", "commit c1", "commit c2",
		}, events)
	}, hooked("a", nil), hooked("b", errMine), hooked("c", nil))

	events = nil
	s := open(t, tempPath(t), nil)
	require.ErrorIs(t, s.Commit(t.Context(), hooked("a", errMine)), errMine)
	require.Equal(t, []string{"run a", "rollback a2", "rollback a1"}, events)
}

// The way back through a record's changes is right whatever the order of
// Append and PutRecord, and across closures of one transaction.
func TestChangesFollowEachOther(t *testing.T) {
	recordFirst := func(tx *persist.Tx) error { // two changes, said before they are there
		rec, err := tx.Record(key("a"))
		if err != nil {
			return err
		}
		var rows []*persist.LogRow
		for range 2 {
			rec.Clock["actor"]++
			rec.LSN = tx.Head().LSN + crdt.LSN(len(rows)) + 1
			data := chunk("actor", rec.Clock["actor"], rec.Heads...)
			row := &persist.LogRow{Set: crdt.SetID{9}, RID: rec.RID, Key: rec.Key, Hash: hashOf(data), Data: data}
			rec.Heads = crdt.Heads{row.Hash}
			rows = append(rows, row)
		}
		if err := tx.PutRecord(rec); err != nil {
			return err
		}
		for _, row := range rows {
			if err := tx.Append(row); err != nil {
				return err
			}
		}
		return nil
	}
	together(t, func(s *persist.Store, errs []error) {
		require.NoError(t, errors.Join(errs...))
		require.Empty(t, problems(t, s))
		require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) error {
			var seqs []uint64
			for data, err := range r.Changes(1) {
				require.NoError(t, err)
				c, err := crdt.ParseChange(data)
				require.NoError(t, err)
				seqs = append(seqs, c.Seq())
			}
			require.Equal(t, []uint64{1, 2, 3, 4, 5}, seqs)
			return nil
		}))
	}, put("a"), put("b"), put("a"), recordFirst, put("a"))
}

// A method that fails has failed the closure, whatever that returns.
func TestOverlookedError(t *testing.T) {
	s := open(t, tempPath(t), nil)
	err := s.Commit(t.Context(), func(tx *persist.Tx) error {
		require.NoError(t, put("a")(tx))
		_ = tx.PutRecord(&persist.Record{RID: tx.NewRID(), Key: key("a")}) // there is one
		return nil
	})
	require.ErrorContains(t, err, "insert record")
	require.Nil(t, record(t, s, "a"))
}

func TestKeptTx(t *testing.T) {
	s := open(t, tempPath(t), nil)
	var kept *persist.Tx
	require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error { kept = tx; return nil }))
	require.Error(t, put("a")(kept))
	require.Nil(t, record(t, s, "a"))
}

func TestNestedCommit(t *testing.T) {
	s, other := open(t, tempPath(t), nil), open(t, tempPath(t), nil)
	err := s.Commit(t.Context(), func(*persist.Tx) error {
		require.NoError(t, other.Commit(context.Background(), nop))
		return s.Commit(context.Background(), nop)
	})
	require.ErrorIs(t, err, persist.ErrNested)
	require.NoError(t, s.Commit(t.Context(), nop))
}

func TestCancelledWhileWaiting(t *testing.T) {
	path := tempPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, err := persist.Open(context.Background(), path, nil)
		require.NoError(t, err)
		defer s.Close()
		first, second := make(chan error, 1), make(chan error, 1)
		gate := make(chan struct{})
		ctx1, cancel1 := context.WithCancel(context.Background())
		ctx2, cancel2 := context.WithCancel(context.Background())
		go func() {
			first <- s.Commit(ctx1, func(tx *persist.Tx) error { <-gate; return put("taken")(tx) })
		}()
		synctest.Wait()
		go func() { second <- s.Commit(ctx2, put("withdrawn")) }()
		synctest.Wait()
		cancel2()
		require.ErrorIs(t, <-second, context.Canceled)
		cancel1() // too late: it was started, so its outcome is told
		synctest.Wait()
		require.Empty(t, first)
		close(gate)
		require.NoError(t, <-first)
		require.NotNil(t, record(t, s, "taken"))
		require.Nil(t, record(t, s, "withdrawn"))
		require.ErrorIs(t, s.Commit(ctx1, nop), context.Canceled)
	})
}

func TestGoexit(t *testing.T) {
	s := open(t, tempPath(t), nil)
	for range 2 {
		done := make(chan bool)
		go func() {
			finished := false
			defer func() { done <- finished }()
			_ = s.Commit(context.Background(), func(tx *persist.Tx) error {
				_ = put("gone")(tx)
				runtime.Goexit()
				return nil
			})
			finished = true
		}()
		require.False(t, <-done, "the caller goes on though its closure did not")
	}
	require.Nil(t, record(t, s, "gone"))
	mustEdit(t, s, "a", "{}")
}

func TestClosed(t *testing.T) {
	s := open(t, tempPath(t), nil)
	sub := s.Subscribe()
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Commit(t.Context(), nop), persist.ErrClosed)
	require.ErrorIs(t, s.Read(t.Context(), func(*persist.Reader) error { return nil }), persist.ErrClosed)
	require.ErrorIs(t, s.Check(t.Context(), nil), persist.ErrClosed)
	_, err := s.NewIncarnation(t.Context())
	require.ErrorIs(t, err, persist.ErrClosed)
	sub.Close()
	s.Subscribe().Close()
}

func TestIncarnations(t *testing.T) {
	for _, mode := range []persist.Synchronous{persist.Full, persist.Normal} {
		s := open(t, tempPath(t), &persist.Options{Synchronous: mode})
		a, err := s.NewIncarnation(t.Context())
		require.NoError(t, err)
		b, err := s.NewIncarnation(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, a, b)
		id, _ := s.Identity()
		got, ok := a.Replica()
		require.True(t, ok)
		require.Equal(t, id, got)
		require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) error {
			known, err := r.IsActor(a)
			require.NoError(t, err)
			require.True(t, known)
			known, err = r.IsActor("actor")
			require.NoError(t, err)
			require.False(t, known)
			return nil
		}))
	}
}

func TestConcurrentCommits(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				fn := put(fmt.Sprint(w, "-", i))
				if i%5 == 4 {
					fn = after(fn, errMine)
				}
				err := s.Commit(context.Background(), fn)
				if i%5 == 4 && !errors.Is(err, errMine) || i%5 != 4 && err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) error {
		st, err := r.Stats()
		require.NoError(t, err)
		require.EqualValues(t, 8*40, st.Records)
		require.EqualValues(t, 8*40, st.Changes)
		return nil
	}))
}
