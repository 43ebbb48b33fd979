package replica_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// twins returns two replicas with n records in common, which have met, and the link
// from the second to the first.
func twins(t testing.TB, n int) (a, b *replica.Replica, link transport.Link) {
	net := network(t)
	dir := t.TempDir()
	quick := &replica.Options{Synchronous: persist.Normal}
	a, b = openAt(t, filepath.Join(dir, "a.db"), quick), openAt(t, filepath.Join(dir, "b.db"), quick)
	serve(t, net, "a", a)
	putMany(t, a, 0, n, "shared")
	link = net.Link("b", "a")
	syncWith(t, b, link)
	return a, b, link
}

// putMany writes records in sets of up to seven.
func putMany(t testing.TB, r *replica.Replica, from, n int, value string) {
	t.Helper()
	for n > 0 {
		set := min(n, 7)
		require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
			for i := range set {
				if err := tx.Put(key(fmt.Sprintf("r-%05d", from+i)), map[string]any{"v": value}); err != nil {
					return err
				}
			}
			return nil
		}))
		from, n = from+set, n-set
	}
}

func verify(t testing.TB, r *replica.Replica, link transport.Link, opts ...replica.LinkOption) replica.VerifyResult {
	t.Helper()
	v, err := r.Verify(context.Background(), link, nil, opts...)
	require.NoError(t, err)
	return v
}

// named maps the differing records to how they differ.
func named(v replica.VerifyResult) map[string]string {
	all := map[string]string{}
	for _, d := range v.Differences {
		all[d.Key.ID] = d.How
	}
	return all
}

// bruteForce compares two replicas record by record.
func bruteForce(t testing.TB, here, there *replica.Replica) map[string]string {
	h, o := allHeads(t, here), allHeads(t, there)
	all := map[string]string{}
	for k, heads := range h {
		switch {
		case o[k] == "":
			all[k.ID] = replica.DiffersThere
		case o[k] != heads:
			all[k.ID] = replica.DiffersHeads
		}
	}
	for k := range o {
		if h[k] == "" {
			all[k.ID] = replica.DiffersHere
		}
	}
	return all
}

// allHeads maps all records to their heads, deleted ones too unless nobody was ever shown
// them, read past the replica.
func allHeads(t testing.TB, r *replica.Replica) map[crdt.Key]string {
	s, err := persist.Open(context.Background(), r.Path(), nil)
	require.NoError(t, err)
	defer s.Close()
	all := map[crdt.Key]string{}
	require.NoError(t, s.Read(context.Background(), func(rd *persist.Reader) error {
		for it, err := range rd.Items("", "") {
			if err != nil {
				return err
			}
			if !it.Unseen {
				all[it.Key] = fmt.Sprintf("%x", it.Heads)
			}
		}
		return nil
	}))
	return all
}

func TestVerifyNamesWhatABruteForceComparisonFinds(t *testing.T) {
	for round := range 12 {
		seed := uint64(1000 + round)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			a, b, link := twins(t, rng.IntN(600))
			for step := range 4 { // the trees of the first comparison follow
				for _, r := range []*replica.Replica{a, b} {
					for range rng.IntN(12) {
						id := fmt.Sprintf("r-%05d", rng.IntN(700))
						if rng.IntN(4) > 0 {
							put(t, r, id, fmt.Sprintf(`{"x":%d}`, rng.IntN(1e6)))
						} else {
							err := r.Update(context.Background(), func(tx *replica.Tx) error { return tx.Delete(key(id)) })
							require.True(t, err == nil || errors.Is(err, replica.ErrNotFound), err)
						}
					}
				}
				want := bruteForce(t, b, a)
				got := verify(t, b, link)
				require.Equal(t, want, named(got), "step %d", step)
				require.Equal(t, len(want), got.Differing)
				require.Equal(t, len(want) == 0, got.Equal())
				require.Equal(t, len(allHeads(t, b)), got.Records)
				if rng.IntN(3) == 0 {
					syncWith(t, b, link)
				}
			}
			syncWith(t, b, link)
			got := verify(t, b, link)
			require.True(t, got.Equal())
			require.Empty(t, bruteForce(t, b, a))
		})
	}
}

func TestVerifyChangesNothing(t *testing.T) {
	a, b, link := twins(t, 20)
	put(t, a, "only-a", `{"x":1}`)
	put(t, b, "only-b", `{"x":1}`)
	before := []any{atRest(t, a), atRest(t, b)}
	require.Equal(t, map[string]string{"only-a": replica.DiffersHere, "only-b": replica.DiffersThere}, named(verify(t, b, link)))
	require.Equal(t, before, []any{atRest(t, a), atRest(t, b)})
	require.Equal(t, 1, syncWith(t, b, link).ChangesSent, "and the sync after it sends as ever")
	v := verify(t, b, link)
	require.True(t, v.Equal())
	require.Len(t, v.Fingerprint, 32)
	require.Equal(t, 22, v.Records)
}

func status(t testing.TB, r *replica.Replica) replica.Status {
	st, err := r.Status(context.Background())
	require.NoError(t, err)
	for i := range st.Peers {
		st.Peers[i].Seen = time.Time{}
		if p := &st.Peers[i]; p.Read.LSN == 0 {
			p.Read = crdt.Cursor{} // nothing, of whichever epoch
		}
	}
	return st
}

// atRest returns what a replica says of itself once its sessions are over.
func atRest(t testing.TB, r *replica.Replica) (st replica.Status) {
	require.Eventually(t, func() bool {
		st = status(t, r)
		return !slices.ContainsFunc(st.Peers, func(p replica.PeerStatus) bool { return p.State == replica.StateConnected })
	}, time.Minute, time.Millisecond)
	return st
}

// Whatever the two files of a pair lost, the next sync makes them equal.
func TestALossIsMadeGood(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, p *pair){
		"the dialler's tail": func(t *testing.T, p *pair) {
			p.save(t, p.b)
			p.edit(t)
			p.restore(t, p.b)
		},
		"the listener's tail": func(t *testing.T, p *pair) {
			p.save(t, p.a)
			p.edit(t)
			p.restore(t, p.a)
		},
		"both tails": func(t *testing.T, p *pair) {
			p.save(t, p.a)
			p.save(t, p.b)
			p.edit(t)
			p.third(t)
			p.restore(t, p.a)
			p.restore(t, p.b)
			p.third(t)
		},
		"the middle: it goes on writing after the loss": func(t *testing.T, p *pair) {
			p.save(t, p.b)
			p.edit(t)
			p.restore(t, p.b)
			putMany(t, p.b.r, 300, 100, "after")
			put(t, p.b.r, "r-00001", `{"after":1}`)
		},
		"all: it is as it was before they met": func(t *testing.T, p *pair) {
			p.edit(t)
			p.b.saved = p.b.empty
			p.restore(t, p.b)
			put(t, p.b.r, "r-00001", `{"after":1}`)
		},
		"what it wrote itself, more than is pushed at once": func(t *testing.T, p *pair) {
			p.save(t, p.b)
			noise, rng := make([]byte, 400<<10), rand.NewChaCha8([32]byte{1})
			for i := range 40 { // 21 MB
				_, _ = rng.Read(noise)
				put(t, p.b.r, fmt.Sprint("large-", i), fmt.Sprintf(`{"x":%q}`, base64.StdEncoding.EncodeToString(noise)))
			}
			p.sync(t)
			p.restore(t, p.b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			lose(t, p)
			p.sync(t)
			require.Empty(t, bruteForce(t, p.a.r, p.b.r))
			requireEqual(t, p.a.r, p.b.r)
			n, err := p.b.r.Sync(context.Background(), p.link)
			require.NoError(t, err)
			require.Zero(t, n.ChangesSent+n.ChangesReceived, "it is made good once")
		})
	}
}

// pair is two replicas that can be put back to an old copy of their files.
type pair struct {
	a, b *side
	c    *replica.Replica // a third one, which remembers
	net  *memlink.Network
	link transport.Link
}

type side struct {
	name, path   string
	saved, empty string
	r            *replica.Replica
	listener     *memlink.Listener
	lives        int
}

func newPair(t *testing.T) *pair {
	p := &pair{net: network(t), c: open(t, &replica.Options{Synchronous: persist.Normal})}
	p.a, p.b = p.side(t, "a"), p.side(t, "b")
	p.link = p.net.Link("b", "a")
	putMany(t, p.a.r, 0, 150, "shared")
	put(t, p.b.r, "own", `{"x":1}`)
	p.sync(t)
	return p
}

func (p *pair) side(t *testing.T, name string) *side {
	s := &side{name: name, path: filepath.Join(t.TempDir(), name+".db")}
	s.r = openAt(t, s.path, &replica.Options{Synchronous: persist.Normal})
	require.NoError(t, s.r.Close())
	s.empty = s.path + ".empty"
	copyFile(t, s.path, s.empty)
	p.open(t, s)
	return s
}

func (p *pair) open(t *testing.T, s *side) {
	s.r = openAt(t, s.path, &replica.Options{Synchronous: persist.Normal})
	var err error
	s.listener, err = p.net.Listen(s.name, func(ctx context.Context, c transport.Conn) error { return s.r.Accept(ctx, c, transport.FullGrant()) })
	require.NoError(t, err)
}

func (p *pair) save(t *testing.T, s *side) {
	require.NoError(t, s.listener.Close())
	require.NoError(t, s.r.Close())
	s.saved = s.path + ".saved"
	copyFile(t, s.path, s.saved)
	p.open(t, s)
}

func (p *pair) restore(t *testing.T, s *side) {
	require.NoError(t, s.listener.Close())
	require.NoError(t, s.r.Close())
	s.lives++
	s.path = fmt.Sprintf("%s.%d", s.path, s.lives)
	copyFile(t, s.saved, s.path)
	p.open(t, s)
}

func (p *pair) sync(t *testing.T) { syncWith(t, p.b.r, p.link) }

// third has the third replica exchange with both.
func (p *pair) third(t *testing.T) {
	for range 2 {
		syncWith(t, p.c, p.net.Link("c", "a"))
		syncWith(t, p.c, p.net.Link("c", "b"))
	}
}

// edit has both sides write and exchange it.
func (p *pair) edit(t *testing.T) {
	putMany(t, p.a.r, 100, 100, "by a")
	putMany(t, p.b.r, 180, 100, "by b")
	require.NoError(t, p.b.r.Update(context.Background(), func(tx *replica.Tx) error { return tx.Delete(key("r-00007")) }))
	p.sync(t)
	putMany(t, p.b.r, 10, 10, "by b again")
	p.sync(t)
}

// Both sides write while they reconcile.
func TestReconciliationAmongWrites(t *testing.T) {
	p := newPair(t)
	p.save(t, p.b)
	p.edit(t)
	p.restore(t, p.b)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			for _, r := range []*replica.Replica{p.a.r, p.b.r} {
				_ = r.Update(context.Background(), func(tx *replica.Tx) error {
					return tx.Put(key(fmt.Sprintf("r-%05d", i%200)), map[string]any{"n": int64(i)})
				})
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	doubtful := readOf(t, p.a.r) // stays in the file until reconciliation is done
	c, err := p.b.r.Connect(p.link)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return readOf(t, p.a.r) != doubtful }, time.Minute, 10*time.Millisecond)
	close(stop)
	<-done
	require.NoError(t, c.Close())
	p.sync(t)
	require.Empty(t, bruteForce(t, p.a.r, p.b.r))
	requireEqual(t, p.a.r, p.b.r)
}
