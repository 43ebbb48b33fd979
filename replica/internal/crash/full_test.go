package crash_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/replica/internal/crash"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

var fulls = flag.Int("crash.full", 100, "how often TestDiskFull fills the disk")

// fullsOfALife is how often the disk of one file is full, before a new one is quicker.
const fullsOfALife = 25

// TestDiskFull has the disk full from the n-th write on, once or until there is space
// again. What needs it fails and says so, and leaves nothing; all else goes on; and when
// there is space the same works.
func TestDiskFull(t *testing.T) {
	rng := random(t)
	hits, writes := map[string]int{}, map[string]int{}
	for done := 0; done < times(*fulls); {
		t.Run(fmt.Sprint("from ", done), func(t *testing.T) {
			s := newStick(t, rng, writes)
			defer s.close()
			for range fullsOfALife {
				role := s.fill()
				hits[role]++
			}
			s.requireWhole()
		})
		if t.Failed() {
			break
		}
		done = 0
		for _, n := range hits {
			done += n
		}
		done -= hits[""]
	}
	t.Logf("disk full, by role: %v", hits)
}

// disk counts the writes below some folders, and is full when it is told to be.
type disk struct {
	folder atomic.Pointer[string] // which is on it
	at     atomic.Int64           // the write that finds it full; 0: none
	once   atomic.Bool            // only that one
	calls  atomic.Int64
	found  atomic.Int64 // writes that found it full
}

func (d *disk) ask(c *crash.Call) crash.Code {
	if c.Op != crash.Write || !strings.HasPrefix(c.Path, *d.folder.Load()+"/") {
		return crash.OK
	}
	n, at := d.calls.Add(1), d.at.Load()
	if at == 0 || n < at || d.once.Load() && n > at {
		return crash.OK
	}
	d.found.Add(1)
	return crash.Full
}

// stick is a file on a disk that is full now and then, and a peer on another.
type stick struct {
	t       *testing.T
	rng     *rand.Rand
	writes  map[string]int // that a role makes, as far as known
	disk    *disk
	path    string
	key     int
	r, peer *replica.Replica
	net     *memlink.Network
	link    transport.Link
	last    [writers]int
	round   int
}

func newStick(t *testing.T, rng *rand.Rand, writes map[string]int) *stick {
	s := &stick{t: t, rng: rng, writes: writes, disk: &disk{}, path: filepath.Join(memory(t), "replica.db")}
	folder := filepath.Dir(s.path)
	s.disk.folder.Store(&folder)
	require.NoError(t, crash.Intercept(s.disk.ask))
	s.r = openAt(t, s.path, nil)
	s.peer = openAt(t, filepath.Join(memory(t), "peer.db"), &replica.Options{Keeper: true})
	s.net = memlink.New(1)
	_, err := s.net.Listen("peer", func(ctx context.Context, c transport.Conn) error { return s.peer.Accept(ctx, c, transport.FullGrant()) })
	require.NoError(t, err)
	s.link = s.net.Link("stick", "peer")
	author := openAt(t, filepath.Join(memory(t), "author.db"), nil)
	for n := 1; n <= 60; n++ {
		_, err := write(t.Context(), author, 0, n)
		require.NoError(t, err)
	}
	chunks, err := author.Export(t.Context(), work("one", 0))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(chunksOf(s.path), chunks, 0o600))
	require.NoError(t, author.Close())
	return s
}

func (s *stick) close() {
	require.NoError(s.t, s.net.Close())
	require.NoError(s.t, s.r.Close())
	require.NoError(s.t, s.peer.Close())
	require.NoError(s.t, crash.Intercept(nil))
}

// fullRoles are what is done while the disk fills up; an error is the disk's.
var fullRoles = map[string]func(*stick) error{
	"write":  func(s *stick) error { return nil }, // others do
	"import": func(s *stick) error { return s.order().runImport(s.t.Context(), s.r) },
	"put all": func(s *stick) error {
		n, err := s.order().putAll(s.t.Context(), s.r)
		if err != nil {
			require.Contains(s.t, []int{0, replica.PutAllRecords}, n)
		}
		return err
	},
	"sync": (*stick).syncMuch,
	"sync to a full peer": func(s *stick) error {
		folder := filepath.Dir(s.peer.Path())
		s.disk.folder.Store(&folder)
		return s.syncMuch()
	},
	"compact": func(s *stick) error {
		_, err := s.r.Compact(s.t.Context(), &replica.CompactOptions{MinBytes: 1, Vacuum: s.round%2 == 0}, nil)
		return err
	},
	"policy": func(s *stick) error {
		p := crdt.Policy{Default: []string{crdt.ResolverLWW, crdt.ResolverMax, crdt.ResolverMin}[s.round%3]}
		return s.r.SetPolicy(s.t.Context(), "many", p, nil)
	},
	"encrypt": (*stick).changeKey,
	"backup": func(s *stick) error {
		folder := memory(s.t)
		s.disk.folder.Store(&folder)
		err := s.r.Backup(s.t.Context(), filepath.Join(folder, "backup"), nil)
		left, e := os.ReadDir(folder)
		require.NoError(s.t, e)
		if err != nil {
			require.Empty(s.t, left, "a part of a backup")
		}
		return err
	},
	"forget": func(s *stick) error {
		if _, err := s.r.Sync(s.t.Context(), s.link); err != nil {
			return err
		}
		_, err := s.r.Forget(s.t.Context(), s.link, []crdt.Key{many(s.round-1, 0), many(s.round-2, 1)})
		return err
	},
	"open": func(s *stick) error {
		require.NoError(s.t, s.r.Close())
		r, err := replica.Open(context.Background(), s.path, &replica.Options{Key: keyOf(s.key)})
		if err != nil {
			s.disk.at.Store(0)
			s.r = openAt(s.t, s.path, &replica.Options{Key: keyOf(s.key)})
			return err
		}
		s.r = r
		return nil
	},
}

func (s *stick) order() *order { return &order{Path: s.path, Round: s.round} }

// syncMuch exchanges what is new on both sides.
func (s *stick) syncMuch() error {
	at := s.disk.at.Swap(0)
	require.NoError(s.t, putMany(s.t, s.peer, 10_000+s.round))
	require.NoError(s.t, putMany(s.t, s.r, 20_000+s.round))
	s.disk.calls.Store(0)
	s.disk.at.Store(at)
	_, err := s.r.Sync(s.t.Context(), s.link)
	return err
}

// changeKey encrypts or decrypts the file, or changes its key, or completes that.
func (s *stick) changeKey() error {
	encrypted, err := s.r.Encrypted(s.t.Context())
	if err != nil {
		return err
	}
	old := s.key
	s.key = s.round%9 + 1
	switch {
	case !encrypted:
		err = s.r.Encrypt(s.t.Context(), keyOf(s.key))
	case s.round%2 == 0:
		err = s.r.Rekey(s.t.Context(), keyOf(s.key))
	default:
		err = s.r.Decrypt(s.t.Context())
		s.key = 0
	}
	if err != nil {
		s.key = s.keyNow(old, s.key)
	}
	return err
}

// keyNow finds out which key the file has.
func (s *stick) keyNow(candidates ...int) int {
	at := s.disk.at.Swap(0)
	defer s.disk.at.Store(at)
	for _, k := range append(candidates, 0) {
		r, err := replica.Open(context.Background(), s.path, &replica.Options{Key: keyOf(k)})
		if err != nil {
			continue
		}
		encrypted, err := r.Encrypted(s.t.Context()) // opening completes a decryption
		require.NoError(s.t, err)
		require.NoError(s.t, r.Close())
		if !encrypted {
			return 0
		}
		return k
	}
	s.t.Fatal("no key opens it")
	return 0
}

// fill fills the disk while a role is played and updates are made, and returns the role;
// "" if that was over before.
func (s *stick) fill() string {
	s.round++
	names := slices.Sorted(maps.Keys(fullRoles))
	role := names[s.rng.IntN(len(names))]
	say := fmt.Sprintf("round %d: %s", s.round, role)
	if known := s.writes[role]; known > 0 {
		s.disk.at.Store(1 + s.rng.Int64N(int64(known)))
		s.disk.once.Store(s.rng.IntN(2) == 0)
		say += fmt.Sprintf(" full at write %d, once: %v", s.disk.at.Load(), s.disk.once.Load())
	}
	s.disk.calls.Store(0)
	s.disk.found.Store(0)
	var all sync.WaitGroup
	if role != "open" {
		for w := range writers {
			all.Go(func() { s.tryWrite(w, say) })
		}
	}
	err := fullRoles[role](s)
	all.Wait()
	found := s.disk.found.Load()
	if err != nil {
		require.NotZero(s.t, found, "%s: %v", say, err)
		s.requireFull(err, role, say)
	}
	require.Equal(s.t, s.last, written(s.t, s.r), "%s: reading goes on, and finds what is acknowledged", say)
	if s.disk.at.Load() == 0 || s.writes[role] == 0 {
		s.writes[role] = max(s.writes[role], int(s.disk.calls.Load()))
	}

	s.disk.at.Store(0) // there is space again
	for w := range writers {
		s.last[w]++
		_, err := write(s.t.Context(), s.r, w, s.last[w])
		require.NoError(s.t, err, say)
	}
	if err != nil {
		require.NoError(s.t, fullRoles[role](s), say)
	}
	folder := filepath.Dir(s.path)
	s.disk.folder.Store(&folder)
	if s.round%5 == 0 {
		requireSound(s.t, s.r)
	}
	if found == 0 {
		return ""
	}
	return role
}

// tryWrite makes some updates, each of which works or finds the disk full.
func (s *stick) tryWrite(w int, say string) {
	for range 4 {
		_, err := write(context.Background(), s.r, w, s.last[w]+1)
		if err == nil {
			s.last[w]++
		} else if !errors.Is(err, replica.ErrDiskFull) || !strings.Contains(err.Error(), s.path) {
			s.t.Errorf("%s: %v", say, err)
		}
	}
}

// requireFull holds an error against what it has to say.
func (s *stick) requireFull(err error, role, say string) {
	if role == "sync to a full peer" {
		require.ErrorContains(s.t, err, "the disk", say)
		return
	}
	require.ErrorIs(s.t, err, replica.ErrDiskFull, say)
}

// requireWhole has both sides hold the same in the end.
func (s *stick) requireWhole() {
	_, err := s.r.Sync(s.t.Context(), s.link)
	require.NoError(s.t, err)
	v, err := s.r.Verify(s.t.Context(), s.link, nil)
	require.NoError(s.t, err)
	require.True(s.t, v.Equal(), "%+v", v)
	requireSound(s.t, s.r)
	requireSound(s.t, s.peer)
}
