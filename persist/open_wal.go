package persist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// What SQLite's write-ahead log is made of ("WAL File Format",
// https://www.sqlite.org/fileformat2.html).
const (
	walHeader   = 32
	frameHeader = 24
	maxPageSize = 65536
)

// inspectWAL looks for damage that SQLite passes over: it reads the write-ahead log up to
// the first frame whose checksum does not fit, and takes that for the end, as it is after
// a power cut. It is not the end when transactions follow. With synchronous=FULL none is
// begun before the one before is on the disk, so then there is damage, and to go on would
// overwrite what was committed. Of who writes with NORMAL the file knows (unsynced): then
// what follows a frame proves nothing. The header is synced all the same.
//
// It is read again before that is said: somebody may be writing.
func inspectWAL(path string) error {
	at, err := walDamage(path + "-wal")
	if at == 0 || err != nil {
		return err
	}
	again, err := walDamage(path + "-wal")
	if again != at || err != nil {
		return err
	}
	if at > walHeader && mayEndAnywhere(path) {
		return nil
	}
	return fmt.Errorf("what was committed last cannot be read, there are bad bytes in %s-wal, at %d: %w", path, at, ErrDamaged)
}

// mayEndAnywhere reports whether the file, up to the WAL's first bad frame, knows of a
// writer that did not wait for the disk. It changes nothing.
func mayEndAnywhere(path string) bool {
	c, err := connect(path, "ro")
	if err != nil {
		return false
	}
	defer c.close()
	unsynced, err := c.pragma(unsyncedSQL) // an error: the file is older than that
	return unsynced == int64(1) && err == nil
}

// unsyncedSQL reads whether the WAL may end anywhere after a power cut. It is set, at FULL,
// before the first transaction that is not (writer.look).
const unsyncedSQL = "SELECT unsynced FROM meta"

// settle has the file forget those who did not wait for the disk: what they left behind
// the WAL's end goes, and the commit that says so syncs what they write meanwhile. They
// see it and say so again. What fails is left to who opens the file next.
func settle(c *conn) error {
	unsynced, err := c.pragma(unsyncedSQL)
	if unsynced == int64(1) && err == nil && fold(c) == nil {
		_ = c.run("UPDATE meta SET unsynced = 0")
	}
	return err
}

// walDamage returns where the first bad frame, or the header, ends, if what follows was
// committed; else 0.
func walDamage(path string) (at int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= walHeader+frameHeader {
		return 0, err
	}
	w := walReader{}
	head := make([]byte, walHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return 0, err
	}
	if !w.begin(head) {
		return 0, nil
	}
	if w.sum([2]uint32{}, head[:24]) != sums(head[24:]) {
		return walHeader, nil
	}
	before, bad, committed := sums(head[24:]), int64(0), false
	frame := make([]byte, frameHeader+w.size)
	for at := int64(walHeader); at+int64(len(frame)) <= info.Size(); at += int64(len(frame)) {
		if _, err := f.ReadAt(frame, at); err != nil {
			return 0, err
		}
		ours := binary.BigEndian.Uint64(frame[8:]) == w.salt
		good := ours && w.sum(w.sum(before, frame[:8]), frame[frameHeader:]) == sums(frame[16:])
		before = sums(frame[16:]) // as it is stored: the next frame can be judged by itself
		switch {
		case bad == 0 && !good:
			bad = at + int64(len(frame))
		case bad > 0 && good && committed:
			return bad, nil
		}
		committed = committed || bad > 0 && ours && binary.BigEndian.Uint32(frame[4:]) != 0
	}
	return 0, nil
}

// walReader knows how a log's checksums are made.
type walReader struct {
	order binary.ByteOrder
	size  int // of a page
	salt  uint64
}

// begin reads the header; false if it is none, as of a file that was never synced.
func (w *walReader) begin(head []byte) bool {
	w.order = binary.LittleEndian
	if head[3]&1 == 1 {
		w.order = binary.BigEndian
	}
	w.size, w.salt = int(binary.BigEndian.Uint32(head[8:])), binary.BigEndian.Uint64(head[16:])
	if w.size < 512 || w.size > maxPageSize || w.size&(w.size-1) != 0 {
		w.size = 4096
	}
	for _, b := range head {
		if b != 0 {
			return true
		}
	}
	return false
}

func sums(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// sum is the log's checksum of b, which goes on from another.
func (w *walReader) sum(s [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += w.order.Uint32(b) + s[1]
		s[1] += w.order.Uint32(b[4:]) + s[0]
	}
	return s
}
