package replica_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/bundle"
)

var (
	damages    = flag.Int("damage", 200, "how many damages TestDamage does")
	damageSeed = flag.Uint64("damage.seed", 1, "the first seed of TestDamage; 0: a random one")
)

// world is two replicas as files: one with changes that the other has not, the file to be
// damaged, and that other.
type world struct {
	main, wal, other, bundle []byte
	heads                    map[crdt.Key]string // of the first one
	values                   map[crdt.Key]string
	unsent                   map[crdt.Hash]unsent
	tail                     int    // where the last transaction of the WAL begins
	before                   string // the heads of all before it
	snapshot                 int    // where a snapshot lies in main
}

// unsent is a change that the other replica has not.
type unsent struct {
	key  crdt.Key
	data []byte
}

// makeWorld makes one; open says that the file is as it is while it is written, with a WAL.
func makeWorld(t *testing.T, open bool) *world {
	t.Helper()
	dir := t.TempDir()
	a, err := replica.Open(t.Context(), filepath.Join(dir, "a.db"), &replica.Options{Synchronous: persist.Full})
	require.NoError(t, err)
	b, err := replica.Open(t.Context(), filepath.Join(dir, "b.db"), nil)
	require.NoError(t, err)
	net := network(t)
	serve(t, net, "b", b)
	require.NoError(t, a.EnsureIndex(t.Context(), "notes", "n"))
	rnd := rand.New(rand.NewPCG(7, 7))
	write := func(r *replica.Replica, n int) {
		for i := range n {
			require.NoError(t, r.Update(t.Context(), func(tx *replica.Tx) error {
				for range 1 + rnd.IntN(3) { // also sets over several records
					k := key(fmt.Sprint(rnd.IntN(16)))
					if err := tx.Put(k, map[string]any{"n": rnd.IntN(99), fmt.Sprint("f", rnd.IntN(3)): strings.Repeat("x", rnd.IntN(90)), "i": i}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	write(a, 40)
	for i := range 60 { // for a snapshot
		put(t, a, "long", fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("word ", i%9)))
	}
	put(t, a, "large", fmt.Sprintf(`{"b":{"$bytes":"%s"}}`, strings.Repeat("QUJD", 4000)))
	syncWith(t, a, net.Link("a", "b"))
	write(a, 10)
	write(b, 10) // conflicts
	syncWith(t, a, net.Link("a", "b"))
	require.NoError(t, a.Update(t.Context(), func(tx *replica.Tx) error { return tx.Delete(key("3")) }))
	compact(t, a, &replica.CompactOptions{Key: key("long")})
	syncWith(t, a, net.Link("a", "b"))

	w := &world{heads: map[crdt.Key]string{}, values: map[crdt.Key]string{}, unsent: map[crdt.Hash]unsent{}}
	write(a, 12)
	put(t, a, "new", `{"only":"here"}`)
	w.before = headsOfAll(t, a)
	if size := fileSize(a.Path() + "-wal"); size > 0 {
		w.tail = size
	}
	put(t, a, "last", `{"only":"at the end"}`)
	var file bytes.Buffer
	_, err = a.WriteBundle(t.Context(), &file, nil, nil)
	require.NoError(t, err)
	w.bundle = file.Bytes()
	w.note(t, a, b)
	if open {
		w.main, w.wal = readFile(t, a.Path()), readFile(t, a.Path()+"-wal")
	}
	require.NoError(t, net.Close())
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	if !open {
		w.main = readFile(t, a.Path())
	}
	w.other = readFile(t, b.Path())
	w.snapshot = bytes.Index(w.main, []byte{0x85, 0x6f, 0x4a, 0x83})
	for at := w.snapshot; at >= 0; at = next(w.main, at) {
		if w.main[at+8] == 0 { // a document chunk
			w.snapshot = at
		}
	}
	return w
}

func next(b []byte, at int) int {
	n := bytes.Index(b[at+4:], []byte{0x85, 0x6f, 0x4a, 0x83})
	if n < 0 {
		return -1
	}
	return at + 4 + n
}

func fileSize(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return int(info.Size())
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// note writes down what a has, and b has not.
func (w *world) note(t *testing.T, a, b *replica.Replica) {
	t.Helper()
	for k := range allKeys(t, a) {
		h, err := a.History(t.Context(), k)
		require.NoError(t, err)
		w.heads[k] = fmt.Sprint(h.Heads())
		if v, err := a.Get(t.Context(), k); err == nil {
			w.values[k] = string(v)
		}
		there, err := b.History(t.Context(), k)
		for c := range h.Changes() {
			if err != nil || !there.Has(c.Hash()) {
				w.unsent[c.Hash()] = unsent{k, bytes.Clone(c.Raw())}
			}
		}
	}
	require.Greater(t, len(w.unsent), 12)
}

// allKeys are the records of a replica, deleted ones too.
func allKeys(t testing.TB, r *replica.Replica) map[crdt.Key]bool {
	t.Helper()
	all := map[crdt.Key]bool{}
	for i := range 16 {
		all[key(fmt.Sprint(i))] = true
	}
	for _, id := range []string{"long", "large", "new", "last"} {
		all[key(id)] = true
	}
	for k := range all {
		if _, err := r.Heads(context.Background(), k); errors.Is(err, replica.ErrNotFound) {
			delete(all, k)
		}
	}
	return all
}

func headsOfAll(t testing.TB, r *replica.Replica) string {
	t.Helper()
	var all []string
	for i := range 16 {
		h, _ := r.Heads(context.Background(), key(fmt.Sprint(i)))
		all = append(all, fmt.Sprint(h))
	}
	h, _ := r.Heads(context.Background(), key("new"))
	return fmt.Sprint(all, h)
}

// wound is one damage.
type wound struct {
	*world
	what             string
	main, wal        []byte
	bundle           bool
	bit              bool // it is but one
	torn             bool // it may be taken for the end of the WAL
	dir              string
	found            []string // what was reported
	named            map[crdt.Key]bool
	salvaged, opened bool
}

const pageSize = 4096

// strike damages a copy of the world.
func (w *world) strike(rnd *rand.Rand) *wound {
	x := &wound{world: w, main: bytes.Clone(w.main), wal: bytes.Clone(w.wal), named: map[crdt.Key]bool{}}
	flip := func(b []byte, at int) { b[at], x.bit = b[at]^1<<rnd.IntN(8), true }
	kind := rnd.IntN(10)
	switch {
	case kind == 0:
		x.bundle, x.what = true, "a bit of the bundle"
	case kind == 1 && w.snapshot > 0:
		at := w.snapshot + rnd.IntN(300)
		x.what = fmt.Sprintf("a bit of a snapshot, at %d", at)
		flip(x.main, at)
	case kind < 4 && len(w.wal) > 0:
		at := rnd.IntN(len(w.wal))
		x.what, x.torn = fmt.Sprintf("a bit of the WAL, at %d", at), at >= w.tail
		flip(x.wal, at)
	case kind < 6 && len(w.wal) > 0:
		frames := (len(w.wal) - 32) / (pageSize + 24)
		at := 32 + rnd.IntN(frames)*(pageSize+24)
		x.what, x.torn = fmt.Sprintf("a frame of the WAL, at %d", at), at >= w.tail
		fillPage(rnd, x.wal[at+24:at+24+pageSize], w.main)
	case kind < 7:
		at := rnd.IntN(len(w.main)/pageSize) * pageSize
		x.what = fmt.Sprintf("page %d", at/pageSize+1)
		fillPage(rnd, x.main[at:at+pageSize], w.main)
	default:
		at := rnd.IntN(len(w.main))
		x.what = fmt.Sprintf("a bit of page %d, at %d", at/pageSize+1, at%pageSize)
		flip(x.main, at)
	}
	return x
}

// fillPage overwrites a page with zeros, noise, or another page.
func fillPage(rnd *rand.Rand, page, file []byte) {
	switch rnd.IntN(3) {
	case 0:
		clear(page)
	case 1:
		for i := 0; i < len(page); i += 8 {
			binary.LittleEndian.PutUint64(page[i:], rnd.Uint64())
		}
	default:
		copy(page, file[rnd.IntN(len(file)/pageSize)*pageSize:])
	}
}

// TestDamage flips bits and overwrites pages of a replica's file, of its WAL and of a
// bundle. Each damage is found or without effect; all that is not named is as it was; and a
// peer heals it.
func TestDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing in it is concurrent that other tests do not have")
	}
	t.Parallel()
	first := *damageSeed
	if first == 0 {
		first = rand.Uint64()
	}
	worlds := []*world{makeWorld(t, false), makeWorld(t, true)}
	shm := t.TempDir()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if shm, err = os.MkdirTemp("/dev/shm", "damage"); err == nil {
			t.Cleanup(func() { os.RemoveAll(shm) })
		}
	}
	found, salvaged, lost := 0, 0, 0
	for i := range *damages {
		seed := first + uint64(i)
		rnd := rand.New(rand.NewPCG(seed, 1))
		x := worlds[rnd.IntN(2)].strike(rnd)
		x.dir = filepath.Join(shm, fmt.Sprint(i))
		require.NoError(t, os.Mkdir(x.dir, 0o700))
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("damaged: %s; found: %q; replay with -damage 1 -damage.seed %d", x.what, x.found, seed)
				}
			}()
			lost += x.run(t, rnd)
		})
		require.NoError(t, os.RemoveAll(x.dir))
		if len(x.found) > 0 {
			found++
		}
		if x.salvaged {
			salvaged++
		}
		if !ok && t.Failed() && i > 50 {
			break
		}
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%d damages, %d found, the others without effect; %d files salvaged; %d changes lost that no peer had; %d MB from the system",
		*damages, found, salvaged, lost, mem.Sys>>20)
}

// run plays one damage, and returns how many changes are lost by it.
func (x *wound) run(t *testing.T, rnd *rand.Rand) (lost int) {
	if x.bundle {
		x.spoilBundle(t, rnd)
		return 0
	}
	path := filepath.Join(x.dir, "a.db")
	writeFile(t, path, x.main)
	if len(x.wal) > 0 {
		writeFile(t, path+"-wal", x.wal)
	}
	writeFile(t, filepath.Join(x.dir, "b.db"), x.other)
	x.look(t, path)
	other, err := replica.Open(t.Context(), filepath.Join(x.dir, "b.db"), nil)
	require.NoError(t, err)
	defer other.Close()
	net := network(t)
	defer net.Close()
	serve(t, net, "other", other)
	link := net.Link("r", "other")

	var done replica.Repaired
	r, err := replica.Open(t.Context(), path, nil)
	if err == nil {
		done, err = r.RepairFrom(t.Context(), link)
	}
	if err != nil || len(done.Broken) > 0 {
		require.NotEmpty(t, x.found, "it was not found before: %v %v", err, done.Broken)
		if r != nil {
			require.NoError(t, r.Close())
		}
		x.salvaged = true
		_, err := replica.Salvage(t.Context(), path, nil)
		require.NoError(t, err)
		r, err = replica.Open(t.Context(), path, nil)
		require.NoError(t, err)
		done, err = r.RepairFrom(t.Context(), link)
		require.NoError(t, err)
		require.Empty(t, done.Broken)
	}
	defer func() { require.NoError(t, r.Close()) }()
	require.Empty(t, done.Damaged)
	requireClean(t, r)
	v, err := r.Verify(t.Context(), link, nil)
	require.NoError(t, err)
	require.True(t, v.Equal(), "%+v", v.Differences)
	return x.compare(t, r, done)
}

// look opens the damaged file and reads it: each error is one of those that are told of
// damage, and what is not named reads as it was.
func (x *wound) look(t *testing.T, path string) {
	r, err := replica.Open(t.Context(), path, nil)
	if err != nil {
		require.True(t, errors.Is(err, replica.ErrDamaged) || errors.Is(err, persist.ErrNotOurs) ||
			errors.Is(err, persist.ErrNewerSchema) || errors.Is(err, persist.ErrEncrypted), "%v", err)
		x.found = append(x.found, err.Error())
		return
	}
	defer func() { require.NoError(t, r.Close()) }()
	x.opened = true
	whole := false // it is damaged, and no record can be said to be
	err = r.Check(t.Context(), func(p replica.Problem) {
		x.found = append(x.found, p.String())
		x.named[p.Key] = true
		whole = whole || p.Key == crdt.Key{} || p.Kind == "chain" || p.Kind == "index"
	})
	if err != nil {
		require.ErrorIs(t, err, replica.ErrDamaged)
		x.found, whole = append(x.found, err.Error()), true
	}
	if x.torn && len(x.found) == 0 && headsOfAll(t, r) == x.before {
		delete(x.heads1(), key("last"))
		return
	}
	for k, want := range x.heads {
		h, err := r.History(t.Context(), k)
		v, valueErr := r.Get(t.Context(), k)
		if whole || x.named[k] {
			continue // reading it did not crash
		}
		require.NoError(t, err, k)
		require.Equal(t, want, fmt.Sprint(h.Heads()), k)
		if value, ok := x.values[k]; ok {
			require.NoError(t, valueErr, k)
			require.Equal(t, value, string(v), k)
		}
	}
}

// heads1 gives the wound heads of its own.
func (x *wound) heads1() map[crdt.Key]string {
	own := *x.world
	own.heads = map[crdt.Key]string{}
	for k, h := range x.world.heads {
		own.heads[k] = h
	}
	x.world = &own
	return own.heads
}

// compare holds what was healed against what was there. What nobody else had may be lost,
// if its bytes are, and then that is said.
func (x *wound) compare(t *testing.T, r *replica.Replica, done replica.Repaired) (lost int) {
	waits := map[crdt.Key]bool{}
	held, err := r.Held(t.Context())
	require.NoError(t, err)
	for _, h := range held {
		for _, k := range h.Records {
			waits[k] = true
		}
	}
	gone := map[crdt.Key]bool{}
	for h, u := range x.unsent {
		if _, ok := x.heads[u.key]; !ok {
			continue // the torn end
		}
		hist, err := r.History(t.Context(), u.key)
		if err == nil && hist.Has(h) {
			continue
		}
		lost++
		gone[u.key] = true
		require.NotEmpty(t, x.found, "%s of %s is gone, and nothing was found", h, u.key)
		if readable := bytes.Contains(x.main, u.data) || bytes.Contains(x.wal, u.data); readable && !waits[u.key] {
			// A bit of a row's length takes that row along, one.
			require.True(t, x.bit, "%s of %s could be read, and is gone", h, u.key)
			x.bit = false
		}
	}
	for k, want := range x.heads {
		if gone[k] {
			continue
		}
		h, err := r.Heads(t.Context(), k)
		require.NoError(t, err, k)
		require.Equal(t, want, fmt.Sprint(h), k)
		if v, ok := x.values[k]; ok {
			require.Equal(t, v, get(t, r, k.ID))
		}
	}
	return lost
}

// spoilBundle damages a bundle: it is refused as a whole.
func (x *wound) spoilBundle(t *testing.T, rnd *rand.Rand) {
	b := bytes.Clone(x.world.bundle)
	b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
	path := filepath.Join(x.dir, "b")
	writeFile(t, path, b)
	r, err := replica.Open(t.Context(), filepath.Join(x.dir, "c.db"), nil)
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Sync(t.Context(), bundle.Link(path, nil), replica.PullOnly())
	require.ErrorIs(t, err, bundle.ErrDamaged)
	x.found = append(x.found, err.Error())
	names, err := r.Collections(t.Context())
	require.NoError(t, err)
	require.Empty(t, names)
}
