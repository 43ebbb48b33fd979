package replica_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
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
// that on either; with pieces of data in it from before.
func (p *pair) cloneOn(t *testing.T, id string, pieces ...[]byte) {
	write := func(s *side, base []byte, add int64, pieces ...[]byte) []byte {
		h := crdt.NewHistory()
		if base != nil {
			var err error
			h, err = crdt.Load(base)
			require.NoError(t, err)
			_, err = s.r.Import(context.Background(), key(id), base)
			require.NoError(t, err)
		}
		commit := func(edit func(e *crdt.Edit) error) {
			e := h.Begin(cloned, 1_600_000_000_000, nil)
			require.NoError(t, edit(e))
			c, err := e.Commit("")
			require.NoError(t, err)
			base = append(base, c.Raw()...)
			_, err = s.r.Import(context.Background(), key(id), c.Raw()) // a set of its own
			require.NoError(t, err)
		}
		if base == nil {
			commit(func(e *crdt.Edit) error { return e.Put(field("n"), crdt.Counter(0), crdt.Merge) })
		}
		commit(func(e *crdt.Edit) error { return e.Increment(field("n"), add) })
		for _, piece := range pieces {
			commit(func(e *crdt.Edit) error { return e.Put(field("data"), piece, crdt.Merge) })
		}
		return base
	}
	base := write(p.a, nil, 1, pieces...)
	write(p.a, slices.Clone(base), 10)
	write(p.b, slices.Clone(base), 100)
}

// A forked record keeps nothing else from being reconciled. It is noted again by a
// replica that has lost its note, reported, not asked for without end, and repaired.
func TestReconciliationOfAForkedRecord(t *testing.T) {
	for _, name := range []string{"dialler", "listener"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			p := newPair(t)
			p.cloneOn(t, "doc")
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
	p.cloneOn(t, "doc")
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

// noise returns n pieces that cannot be compressed.
func noise(n, size int) (all [][]byte) {
	src := rand.NewChaCha8([32]byte{byte(n)})
	for range n {
		b := make([]byte, size)
		_, _ = src.Read(b)
		all = append(all, b)
	}
	return all
}

// A history is asked for piece by piece, as far as it is long, and none of it twice.
func TestReconciliationOfALongHistory(t *testing.T) {
	long := noise(28, 256<<10) // 7 MiB, where an answer holds two
	ctx := context.Background()
	for _, name := range []string{"dialler", "listener"} {
		t.Run("what the "+name+" wrote itself", func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			lost := map[string]*side{"dialler": p.b, "listener": p.a}[name]
			put(t, lost.r, "doc", `{"n":1}`)
			p.sync(t)
			p.save(t, lost)
			for _, data := range long {
				require.NoError(t, lost.r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key("doc"), map[string]any{"data": data}) }))
			}
			p.sync(t)
			p.restore(t, lost)
			put(t, lost.r, "doc", `{"n":2}`)
			n := syncWith(t, p.b.r, p.link)
			require.Empty(t, bruteForce(t, p.a.r, p.b.r))
			requireEqual(t, p.a.r, p.b.r)
			require.Less(t, n.ChangesSent+n.ChangesReceived, len(long)+10)
		})
	}
	t.Run("under another filter, and the other side lacks something too", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		for i := range 100 {
			put(t, p.a.r, "doc", fmt.Sprintf(`{"n":%d}`, i))
		}
		p.sync(t)
		for _, data := range long {
			require.NoError(t, p.a.r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(key("doc"), map[string]any{"data": data}) }))
		}
		put(t, p.b.r, "doc", `{"n":-1}`)
		putMany(t, p.a.r, 300, 20, "by a")
		putMany(t, p.b.r, 400, 20, "by b")
		syncWith(t, p.b.r, p.link, replica.Only(notes("r-")))
		n := syncWith(t, p.b.r, p.link)
		require.Empty(t, bruteForce(t, p.a.r, p.b.r))
		require.Less(t, n.ChangesSent, 20, "what the other side has is not sent to it with the rest")
	})
	t.Run("a fork behind it", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		only := replica.Only(notes("r-"))
		syncWith(t, p.b.r, p.link, only)
		p.cloneOn(t, "doc", long...)
		p.cloneOn(t, "other", long[:20]...)
		putMany(t, p.a.r, 300, 20, "by a")
		putMany(t, p.b.r, 400, 20, "by b")
		syncWith(t, p.b.r, p.link, only)
		_, err := p.b.r.Sync(ctx, p.link)
		require.ErrorContains(t, err, "forked")
		require.Len(t, openForks(t, p.a.r), 2)
		require.Len(t, openForks(t, p.b.r), 2)
		require.Len(t, bruteForce(t, p.a.r, p.b.r), 2)
	})
}

// An answer holds what is enough at once, says how far it went, and the next one goes on
// there, whatever the asker has taken of it.
func TestAnAnswerGoesOnWhereTheOneBeforeEnded(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	records := []string{"doc", "other", "little"}
	pieces := noise(36, 200<<10)
	for i, data := range pieces {
		id, value := records[i%2], map[string]any{"data": data}
		if i%9 == 0 {
			id, value = "little", map[string]any{"n": int64(i)}
		}
		require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error { return tx.Put(key(id), value) }))
	}
	p := dialRaw(t, net.Link("slow", "r"))
	p.lost = true
	p.shake()
	// collect receives until an answer, or the end of the log.
	collect := func() (sets []transport.Set, answer *transport.Need) {
		for {
			switch f := p.recv().(type) {
			case *transport.Changes:
				if sets = append(sets, f.Sets...); f.End {
					return sets, nil
				}
				if f.Loose == 0 {
					p.send(&transport.Ack{Through: f.Through})
				}
			case *transport.Need:
				return sets, f
			}
		}
	}
	streamed, _ := collect()
	require.Len(t, streamed, len(pieces))
	all := func(refused int) {
		seen := map[string]bool{}
		ask := &transport.Need{ID: 1}
		for _, id := range records {
			ask.Haves = append(ask.Haves, transport.Have{Key: key(id), All: id == "doc"})
		}
		for len(ask.Haves) > 0 {
			p.send(ask)
			sets, answer := collect()
			bytes := 0
			for _, set := range sets {
				require.False(t, seen[string(set.Members[0].Data)], "sent twice")
				seen[string(set.Members[0].Data)] = true
				bytes += set.Size()
			}
			require.Less(t, bytes, 2<<20+300<<10)
			require.Less(t, ask.ID, uint64(5))
			next := &transport.Need{ID: ask.ID + 1, Behind: answer.Behind}
			for _, h := range answer.Haves {
				if h.All {
					require.Greater(t, answer.Behind, ask.Behind)
					next.Haves = append(next.Haves, transport.Have{Key: h.Key, All: h.Key == key("doc")})
				}
			}
			ask = next
		}
		require.Len(t, seen, len(pieces)-refused)
	}
	all(0)
	refusal := &transport.Ack{Through: crdt.Cursor{Epoch: p.epoch}}
	for _, set := range streamed {
		if m := set.Members[0]; m.ID == "doc" && len(refusal.Exceptions) < 12 { // more than an answer holds
			c, err := crdt.ParseChange(m.Data)
			require.NoError(t, err)
			refusal.Exceptions = append(refusal.Exceptions, transport.Exception{Collection: m.Collection, ID: m.ID, Hash: c.Hash(), State: transport.Refused, Code: "x"})
		}
	}
	p.send(refusal)
	all(len(refusal.Exceptions))
}
