package crash_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/replica/internal/crash"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

var cuts = flag.Int("crash.cuts", 200, "how many power cuts TestPowerCut simulates")

// cutsOfARun is how many power cuts one recording is cut at.
const cutsOfARun = 25

// TestPowerCut records what a replica does to its disk, and then cuts the power at any
// call of it: what was synced is there, of the rest any part. At FULL nothing that was
// acknowledged is lost, at NORMAL what is left is all up to some moment; and in neither
// case is anything written later that a peer has already in another version.
func TestPowerCut(t *testing.T) {
	rng := random(t)
	lost, n := 0, times(*cuts)
	for done := 0; done < n; done += cutsOfARun {
		mode := []persist.Synchronous{persist.Full, persist.Normal}[done/cutsOfARun%2]
		t.Run(fmt.Sprint("from ", done), func(t *testing.T) {
			p := record(t, rng, mode)
			lost += p.cut(min(cutsOfARun, n-done))
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("%d changes lost at NORMAL", lost)
	require.NotZero(t, lost, "nothing that was not synced was ever dropped")
}

// past is what happened to a replica while its disk was recorded.
type past struct {
	t    *testing.T
	rng  *rand.Rand
	mode persist.Synchronous
	rec  *crash.Recording
	id   crdt.ReplicaID

	mu    sync.Mutex // guards acks
	acks  []ack
	peers []met            // in time
	chain map[int64][]byte // of the log in the end, by lsn
}

// ack is an acknowledged update.
type ack struct {
	at        int // calls made so far
	lsn       crdt.LSN
	writer, n int
}

// met is how the peer was when a session with it was over.
type met struct {
	at   int    // calls made so far
	path string // of a copy
}

// lastMet returns the copy of the peer after so many calls.
func (p *past) lastMet(calls int) (path string) {
	for _, m := range p.peers {
		if m.at <= calls {
			path = m.path
		}
	}
	return path
}

// record has a replica do all kinds of things.
func record(t *testing.T, rng *rand.Rand, mode persist.Synchronous) *past {
	dir := memory(t)
	p := &past{t: t, rng: rng, mode: mode, chain: map[int64][]byte{}}
	var err error
	p.rec, err = crash.Record(dir)
	require.NoError(t, err)
	peer := openAt(t, filepath.Join(memory(t), "peer.db"), nil)
	path := filepath.Join(dir, "replica.db")
	r := p.open(path, 0)
	p.id = r.ID()
	key := 0
	for range 12 + rng.IntN(12) {
		switch rng.IntN(10) {
		case 0:
			p.meet(r, peer)
		case 1:
			require.NoError(t, r.Close())
			r = p.open(path, key)
		case 2:
			_, err := r.Compact(t.Context(), &replica.CompactOptions{MinBytes: 1, Vacuum: rng.IntN(2) == 0}, nil)
			require.NoError(t, err)
		case 3:
			require.NoError(t, r.SetPolicy(t.Context(), "work", crdt.Policy{Default: []string{crdt.ResolverLWW, crdt.ResolverMax}[rng.IntN(2)]}, nil))
		case 4:
			key = p.changeKey(r, key)
		default:
			p.write(r, 1+rng.IntN(8))
		}
	}
	p.write(r, 3)
	require.NoError(t, r.Close())
	require.NoError(t, p.rec.Stop())
	p.meetBy(peer)
	require.NoError(t, peer.Close())
	p.readLog(path)
	return p
}

func (p *past) open(path string, key int) *replica.Replica {
	return openAt(p.t, path, &replica.Options{Synchronous: p.mode, Key: keyOf(key)})
}

// write has all writers make n updates, at the same time.
func (p *past) write(r *replica.Replica, n int) {
	from := written(p.t, r)
	var all sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		all.Go(func() {
			for i := from[w] + 1; i <= from[w]+n && errs[w] == nil; i++ {
				var lsn crdt.LSN
				if lsn, errs[w] = write(context.Background(), r, w, i); errs[w] == nil {
					p.mu.Lock()
					p.acks = append(p.acks, ack{p.rec.Now(), lsn, w, i})
					p.mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(p.t, err)
	}
}

// changeKey encrypts or decrypts, or changes the key.
func (p *past) changeKey(r *replica.Replica, key int) int {
	var err error
	switch {
	case key == 0:
		key = 1 + p.rng.IntN(9)
		err = r.Encrypt(p.t.Context(), keyOf(key))
	case p.rng.IntN(2) == 0:
		key = key%9 + 1
		err = r.Rekey(p.t.Context(), keyOf(key))
	default:
		key = 0
		err = r.Decrypt(p.t.Context())
	}
	require.NoError(p.t, err)
	return key
}

// meet has the peer get everything, synced or not, and tell what it has.
func (p *past) meet(r, peer *replica.Replica) {
	_, err := write(p.t.Context(), peer, writers, numberOf(p.t, peer, work("one", writers))+1)
	require.NoError(p.t, err)
	syncBoth(p.t, r, peer)
	p.meetBy(peer)
}

// meetBy keeps a copy of the peer.
func (p *past) meetBy(peer *replica.Replica) {
	path := filepath.Join(memory(p.t), "peer.db")
	require.NoError(p.t, peer.Backup(p.t.Context(), path, nil))
	p.peers = append(p.peers, met{at: p.rec.Now(), path: path})
}

func syncBoth(t *testing.T, a, b *replica.Replica) {
	t.Helper()
	net := memlink.New(1)
	_, err := net.Listen("b", func(ctx context.Context, c transport.Conn) error { return b.Accept(ctx, c, transport.FullGrant()) })
	require.NoError(t, err)
	_, err = a.Sync(t.Context(), net.Link("a", "b"))
	require.NoError(t, err)
	v, err := a.Verify(t.Context(), net.Link("a", "b"), nil)
	require.NoError(t, err)
	require.True(t, v.Equal(), "%+v", v)
	require.NoError(t, net.Close())
}

func (p *past) readLog(path string) { p.chain = chainOf(p.t, path) }

// chainOf returns the running hash of the log up to each position.
func chainOf(t *testing.T, path string) map[int64][]byte {
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT lsn, chain FROM log")
	require.NoError(t, err)
	defer rows.Close()
	all := map[int64][]byte{}
	for rows.Next() {
		var lsn int64
		var chain []byte
		require.NoError(t, rows.Scan(&lsn, &chain))
		all[lsn] = chain
	}
	require.NoError(t, rows.Err())
	return all
}

// cut cuts the power n times; it returns how many changes were lost that were
// acknowledged.
func (p *past) cut(n int) (lost int) {
	at := make([]int, n)
	for i := range at {
		at[i] = 1 + p.rng.IntN(p.rec.Now())
	}
	slices.Sort(at)
	disk := crash.NewDisk(p.rec)
	dir := memory(p.t)
	for i, calls := range at {
		disk.Advance(calls)
		folder := filepath.Join(dir, fmt.Sprint(i))
		require.NoError(p.t, os.Mkdir(folder, 0o700))
		require.NoError(p.t, disk.Cut(p.rng, folder))
		lost += p.restart(calls, filepath.Join(folder, "replica.db"))
		require.NoError(p.t, os.RemoveAll(folder))
	}
	return lost
}

// restart goes on after a cut.
func (p *past) restart(calls int, path string) (lost int) {
	t := p.t
	r := p.openAny(path)
	requireSound(t, r)
	head, err := r.Head(t.Context())
	require.NoError(t, err)
	if head.LSN > 0 {
		require.Equal(t, p.chain[int64(head.LSN)], head.Chain[:], "after %d calls the log is another one", calls)
	}
	now := written(t, r)
	for _, a := range p.acks {
		if a.at > calls || a.n <= now[a.writer] {
			continue
		}
		lost++
		require.Equal(t, persist.Normal, p.mode, "after %d calls update %d of writer %d is lost, which was acknowledged after %d", calls, a.n, a.writer, a.at)
		require.Greater(t, a.lsn, head.LSN, "after %d calls update %d of writer %d is missing from the log's middle", calls, a.n, a.writer)
	}
	for w := range writers {
		_, err := write(t.Context(), r, w, now[w]+1)
		require.NoError(t, err)
	}
	if at := p.lastMet(calls); at != "" {
		require.Equal(t, p.id, r.ID())
		p.meetAgain(r, at)
	}
	require.NoError(t, r.Close())
	return lost
}

// openAny opens the file with the key that it has; at FULL, however it was written.
func (p *past) openAny(path string) *replica.Replica {
	var err error
	for key := range 10 {
		var r *replica.Replica
		if r, err = replica.Open(context.Background(), path, &replica.Options{Key: keyOf(key)}); err == nil {
			return r
		}
	}
	require.NoError(p.t, err)
	return nil
}

// meetAgain syncs with the peer as it was when the power was cut: it may have what was
// lost here.
func (p *past) meetAgain(r *replica.Replica, at string) {
	copied := at + ".copy"
	b, err := os.ReadFile(at)
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(copied, b, 0o600))
	peer := openAt(p.t, copied, nil)
	syncBoth(p.t, r, peer)
	requireSound(p.t, r)
	requireSound(p.t, peer)
	require.NoError(p.t, peer.Close())
	require.NoError(p.t, os.Remove(copied))
}
