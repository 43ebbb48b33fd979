package sim_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// fuse kills a node: at once, or within a call of its store.
type fuse struct {
	mu    *sync.Mutex  // the watcher's: what it sees it sees before the death, or not at all
	dead  atomic.Bool  // set: no frame leaves any more
	calls atomic.Int64 // left until blow; below 1: it is not lit
	blow  func() error
	where string // the call at which it blew
	err   error  // of blow
}

func (f *fuse) blown() bool { return f.dead.Load() }

// kill lets nothing out any more.
func (f *fuse) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead.Store(true)
}

// burn is told of the store's calls.
func (f *fuse) burn(what string) {
	if f.calls.Load() > 0 && f.calls.Add(-1) == 0 {
		f.kill()
		f.where, f.err = what, f.blow()
	}
}

// names are where a node's random names come from: others each time it is opened, the same
// in each run of the seed.
type names struct {
	mu     sync.Mutex // guards source
	source *rand.ChaCha8
}

func newNames(n *node) *names {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], n.w.plan.seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(n.number))
	binary.LittleEndian.PutUint64(key[16:], uint64(n.opened))
	return &names{source: rand.NewChaCha8(key)}
}

func (s *names) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Read(b)
}

// blanks are new files of maxNodes replicas. Making one takes as long as a hundred
// updates.
var blanks = sync.OnceValues(func() (all [maxNodes][]byte, err error) {
	dir, err := os.MkdirTemp("", "godwit-sim-")
	if err != nil {
		return all, err
	}
	defer os.RemoveAll(dir)
	for i := range all {
		path := filepath.Join(dir, "blank.db")
		hooks := &persist.Hooks{Random: rand.NewChaCha8([32]byte{byte(i)})}
		s, err := persist.Open(persist.WithHooks(context.Background(), hooks), path, nil)
		if err == nil {
			err = s.Close()
		}
		if err == nil {
			all[i], err = os.ReadFile(path)
		}
		if err = errors.Join(err, os.Remove(path)); err != nil {
			return all, err
		}
	}
	return all, nil
})

// create makes the node's first file, unless it is a clone: with the name of one of
// maxNodes replicas, for each node another one.
func (n *node) create() {
	if _, err := os.Stat(n.path); err == nil {
		return
	}
	all, err := blanks()
	need(err, "make files")
	of := n.w.plan.source(drawNames).Perm(maxNodes)
	need(os.WriteFile(n.path, all[of[n.number]], 0o644), "create %s", n)
}

// pathOf is the node's file in one of its lives.
func (n *node) pathOf(life int) string {
	path := filepath.Join(n.w.dir, fmt.Sprintf("%s.%d.db", n.name, life))
	if n.hub {
		dir := filepath.Join(n.w.dir, fmt.Sprintf("%s.%d", n.name, life))
		need(os.MkdirAll(dir, 0o755), "folder of %s", n)
		path = filepath.Join(dir, "sim.db")
	}
	return path
}

func dirOf(path string) string { return filepath.Dir(path) }

// crash ends a life without goodbyes: nothing that the replica does from now on gets
// out, and the next life begins with the files as they are now.
func (n *node) crash() {
	n.fuse.kill()
	n.copyTo(n.pathOf(n.life + 1))
	n.bury()
}

// crashWithin ends a life in the middle of act, at one of its store's calls; at the end
// of it if there are fewer. It returns which.
func (n *node) crashWithin(calls int, act func()) string {
	f := n.fuse
	next := n.pathOf(n.life + 1)
	f.blow = func() error { return copyFiles(n.path, next) }
	f.calls.Store(int64(calls))
	act()
	f.calls.Store(0)
	if !f.blown() {
		n.crash()
		return "none"
	}
	need(f.err, "copy %s", n)
	n.bury()
	return f.where
}

// replace ends a life as crash does; the next one begins with a backup.
func (n *node) replace(backup string) {
	n.fuse.kill()
	need(copyFiles(backup, n.pathOf(n.life+1)), "restore %s", n)
	n.bury()
	for lsn := range n.seen {
		if lsn > n.savedHead {
			delete(n.seen, lsn)
		}
	}
}

// bury ends what is left of a life after a crash, and makes the next one's files the
// node's.
func (n *node) bury() {
	old := n.path
	n.w.net.CutNode(n.name)
	n.w.stick.net.CutNode(n.name)
	n.stop()
	n.join()
	n.life++
	n.path = n.pathOf(n.life)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(old + suffix)
	}
}

// copyTo copies the running node's database as a kill would leave it. A transaction of
// its own keeps writers out meanwhile.
func (n *node) copyTo(to string) (head crdt.LSN) {
	enough := errors.New("copied")
	err := n.store.Commit(context.Background(), func(tx *persist.Tx) error {
		head = tx.Head().LSN
		if err := copyFiles(n.path, to); err != nil {
			return err
		}
		return enough
	})
	if !errors.Is(err, enough) {
		need(err, "copy %s", n)
	}
	return head
}

// copyFiles copies a database and its WAL. The other file of SQLite's, -shm, is
// memory, which a crash loses.
func copyFiles(from, to string) error {
	for _, suffix := range []string{"-wal", ""} {
		_ = os.Remove(to + suffix)
		data, err := os.ReadFile(from + suffix)
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
