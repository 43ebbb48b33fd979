package replica_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// What reconciliation brings comes out of snapshots as well, and goes onto them.
func TestReconciliationOfCompactedRecords(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, of := range map[string]func(p *pair) (lost, compacted *side){
		"the dialler lost, the other compacted":  func(p *pair) (_, _ *side) { return p.b, p.a },
		"the listener lost, the other compacted": func(p *pair) (_, _ *side) { return p.a, p.b },
		"the dialler lost, and had compacted":    func(p *pair) (_, _ *side) { return p.b, p.b },
		"the listener lost, and had compacted":   func(p *pair) (_, _ *side) { return p.a, p.a },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := newPair(t)
			lost, compacted := of(p)
			both := func(n int) {
				edits(t, p.a.r, rnd, "long", n)
				edits(t, p.b.r, rnd, "long", n)
				p.sync(t)
			}
			both(50)
			if lost == compacted {
				require.Equal(t, 1, compact(t, lost.r, &replica.CompactOptions{Key: key("long")}).Compacted)
			}
			p.save(t, lost)
			both(50)
			if lost != compacted {
				require.Equal(t, 1, compact(t, compacted.r, &replica.CompactOptions{Key: key("long")}).Compacted)
			}
			p.restore(t, lost)
			edits(t, lost.r, rnd, "long", 3)
			require.NotEmpty(t, bruteForce(t, p.a.r, p.b.r))
			p.sync(t)
			require.Empty(t, bruteForce(t, p.a.r, p.b.r))
			requireEqual(t, p.a.r, p.b.r)
			require.True(t, verify(t, p.b.r, p.link).Equal())
			n, err := p.b.r.Sync(context.Background(), p.link)
			require.NoError(t, err)
			require.Zero(t, n.ChangesSent+n.ChangesReceived, "it is made good once")
		})
	}
}

// cloneOn gives both sides a record that was copied with its actor, and written after
// that on either.
func (p *pair) cloneOn(t *testing.T) {
	h := crdt.NewHistory()
	e := h.Begin(cloned, 1_600_000_000_000, nil)
	require.NoError(t, e.Put(field("n"), crdt.Counter(1), crdt.Merge))
	base, err := e.Commit("")
	require.NoError(t, err)
	for i, s := range []*side{p.a, p.b} {
		_, err := s.r.Import(context.Background(), key("doc"), base.Raw())
		require.NoError(t, err)
		continueClone(t, s.r, base.Raw(), s.name, func(e *crdt.Edit) error { return e.Increment(field("n"), int64(10+90*i)) })
	}
}

// A forked record keeps nothing else from being reconciled. It is noted again by a
// replica that has lost its note, reported, not asked for without end, and repaired.
func TestReconciliationOfAForkedRecord(t *testing.T) {
	for _, name := range []string{"dialler", "listener"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			p := newPair(t)
			p.cloneOn(t)
			lost := map[string]*side{"dialler": p.b, "listener": p.a}[name]
			p.save(t, lost)
			exchange := func() {
				_, err := p.b.r.Sync(ctx, p.link)
				require.ErrorContains(t, err, "forked")
			}
			exchange()
			putMany(t, p.a.r, 300, 50, "by a")
			putMany(t, p.b.r, 400, 50, "by b")
			exchange()
			p.restore(t, lost)
			put(t, lost.r, "r-00001", `{"after":1}`)
			require.Greater(t, len(bruteForce(t, p.a.r, p.b.r)), 50)

			count := &countLink{Link: p.link}
			for range 2 {
				count.reset()
				_, err := p.b.r.Sync(ctx, count)
				require.ErrorContains(t, err, "not equal")
				require.Less(t, count.requests, 20)
				require.Equal(t, map[string]string{"doc": replica.DiffersHeads}, bruteForce(t, p.a.r, p.b.r))
			}
			require.Len(t, verify(t, p.b.r, p.link).Differences, 1)
			for _, s := range []*side{p.a, p.b} {
				require.Len(t, openForks(t, s.r), 1, s.name)
				requireClean(t, s.r)
			}

			repaired := 0
			for _, s := range []*side{p.a, p.b} {
				_, err := s.r.RepairFork(ctx, key("doc"))
				if !errors.Is(err, replica.ErrForkedElsewhere) {
					require.NoError(t, err)
					repaired++
				}
			}
			require.Equal(t, 1, repaired)
			require.Eventually(t, func() bool {
				_, err := p.b.r.Sync(ctx, p.link)
				return err == nil && len(bruteForce(t, p.a.r, p.b.r)) == 0
			}, time.Minute, time.Millisecond)
			requireEqual(t, p.a.r, p.b.r)
			require.Equal(t, `{"n":111}`, get(t, p.a.r, "doc"))
		})
	}
}

// Over a link that only pushes nothing is reconciled, and a peer that has lost its note
// of a fork gets it again all the same: its cursor shows that it was put back.
func TestAForkIsToldAgainByALinkThatPushes(t *testing.T) {
	ctx := context.Background()
	p := newPair(t)
	p.cloneOn(t)
	p.save(t, p.a)
	for range 2 {
		_, err := p.b.r.Sync(ctx, p.link, replica.PushOnly())
		require.ErrorContains(t, err, "forked")
		require.Len(t, openForks(t, p.a.r), 1)
	}
	p.restore(t, p.a)
	require.Empty(t, openForks(t, p.a.r))
	n, err := p.b.r.Sync(ctx, p.link, replica.PushOnly())
	require.ErrorContains(t, err, "forked")
	require.Equal(t, 1, n.Refused)
	require.Len(t, openForks(t, p.a.r), 1)
	n, err = p.b.r.Sync(ctx, p.link, replica.PushOnly())
	require.ErrorContains(t, err, "forked")
	require.Zero(t, n.ChangesSent, "it is refused, and not offered again")
}
