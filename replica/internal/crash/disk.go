package crash

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Recording is what SQLite did to the files of a folder, call by call.
type Recording struct {
	folder string

	mu    sync.Mutex // guards calls
	calls []Call
}

// Record begins to record what this process does to the files of a folder, which is
// empty, until Stop. There is one at a time.
func Record(folder string) (*Recording, error) {
	r := &Recording{folder: folder}
	return r, Intercept(func(c *Call) Code {
		if filepath.Dir(c.Path) == folder {
			kept := Call{Op: c.Op, Path: filepath.Base(c.Path), Offset: c.Offset, Data: bytes.Clone(c.Data)}
			r.mu.Lock()
			r.calls = append(r.calls, kept)
			r.mu.Unlock()
		}
		return OK
	})
}

// Now is how many calls were recorded so far.
func (r *Recording) Now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

// Stop ends it.
func (r *Recording) Stop() error { return Intercept(nil) }

// Disk is a folder on a disk whose cache loses power: what was synced is on it, and of
// what was written since, any part may be. It is brought to a moment of a recording by
// Advance, and then gives as many images of what a cut leaves as one wants.
type Disk struct {
	rec  *Recording
	at   int
	seen map[string]*file // the folder as the system has it
	held map[string]*file // the folder as the disk surely has it
}

// file is one file, whatever it is named.
type file struct {
	solid []byte // surely on the disk
	loose []Call // in order: writes and truncations since
}

// NewDisk returns the disk at the beginning of the recording.
func NewDisk(rec *Recording) *Disk {
	return &Disk{rec: rec, seen: map[string]*file{}, held: map[string]*file{}}
}

// Advance goes on to the moment when the first n calls were made.
func (d *Disk) Advance(n int) {
	for ; d.at < n; d.at++ {
		d.apply(&d.rec.calls[d.at])
	}
}

func (d *Disk) apply(c *Call) {
	f := d.seen[c.Path]
	if f == nil && c.Op != Delete {
		f = &file{}
		d.seen[c.Path] = f
	}
	switch c.Op {
	case Write, Truncate:
		f.loose = append(f.loose, *c)
	case Sync:
		for i := range f.loose {
			f.solid = f.loose[i].onto(f.solid)
		}
		f.loose = nil
		if d.held[c.Path] != f && isJournal(c.Path) {
			d.held = maps.Clone(d.seen) // SQLite syncs the folder too
		}
		d.held[c.Path] = f // file systems in use write the name with it
	case Delete:
		delete(d.seen, c.Path)
		if c.Offset == 1 {
			d.held = maps.Clone(d.seen)
		}
	}
}

func isJournal(name string) bool {
	return strings.HasSuffix(name, "-journal") || strings.HasSuffix(name, "-wal")
}

// onto makes the call's change to b.
func (c *Call) onto(b []byte) []byte {
	end := int(c.Offset) + len(c.Data)
	if missing := end - len(b); missing > 0 {
		b = append(b, make([]byte, missing)...)
	}
	if c.Op == Truncate {
		return b[:c.Offset]
	}
	copy(b[c.Offset:], c.Data)
	return b
}

// Cut writes what a power cut leaves of the folder's files to another folder, which is
// empty. rng chooses among what is possible.
func (d *Disk) Cut(rng *rand.Rand, folder string) error {
	names := slices.Concat(slices.Collect(maps.Keys(d.seen)), slices.Collect(maps.Keys(d.held)))
	slices.Sort(names) // so that rng decides the same each time
	for _, name := range slices.Compact(names) {
		if strings.HasSuffix(name, "-shm") { // means nothing to those who come after
			continue
		}
		f := d.held[name]
		if f != d.seen[name] && rng.IntN(2) == 0 {
			f = d.seen[name]
		}
		if f == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, name), f.cut(rng), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cut returns what is left of a file.
func (f *file) cut(rng *rand.Rand) []byte {
	b := bytes.Clone(f.solid)
	loose := f.loose
	switch rng.IntN(5) {
	case 0: // nothing was written yet
		return b
	case 1: // all was
		for i := range loose {
			b = loose[i].onto(b)
		}
		return b
	case 2: // in order, up to some byte
		if len(loose) == 0 {
			return b
		}
		n := rng.IntN(len(loose))
		for i := range n {
			b = loose[i].onto(b)
		}
		last := loose[n]
		last.Data = last.Data[:rng.IntN(len(last.Data)+1)]
		if last.Op == Write {
			b = last.onto(b)
		}
		return b
	}
	return scatter(rng, b, loose)
}

// scatter writes any sectors of any of the changes, as a disk that sorts its queue does;
// one that was being written can hold anything.
func scatter(rng *rand.Rand, b []byte, loose []Call) []byte {
	sector := []int64{512, 4096}[rng.IntN(2)]
	likely := rng.Float64()
	garbled := rng.IntN(4) == 0
	for i := range loose {
		c := &loose[i]
		if c.Op == Truncate {
			if rng.Float64() < likely {
				b = c.onto(b)
			}
			continue
		}
		for from, end := c.Offset, c.Offset+int64(len(c.Data)); from < end; {
			to := min(end, from-from%sector+sector)
			part := Call{Op: Write, Offset: from, Data: c.Data[from-c.Offset : to-c.Offset]}
			from = to
			if rng.Float64() >= likely {
				continue
			}
			if garbled && rng.IntN(16) == 0 {
				part.Data = bytes.Repeat([]byte{byte(rng.Uint32())}, len(part.Data))
			}
			b = part.onto(b)
		}
	}
	return b
}
