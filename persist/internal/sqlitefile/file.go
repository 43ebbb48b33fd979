// Package sqlitefile reads rows out of a SQLite file that SQLite itself may refuse: it
// looks at each page by itself, in the file and in its write-ahead log, and needs neither
// the schema, nor the trees' inner pages, nor a header. Which table a row is of is for the
// caller to tell, by its columns, and so is whether it is damaged: nothing of it is
// trusted. Source: "Database File Format", https://www.sqlite.org/fileformat2.html.
package sqlitefile

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
)

const (
	headerSize    = 100 // of the file, on its first page
	walHeader     = 32
	frameHeader   = 24
	minPage       = 512
	maxPage       = 65536
	defaultPage   = 4096
	maxColumns    = 64
	maxPageCells  = maxPage / 4
	overflowBytes = 4 // of an overflow page, before its content
)

// File is a database and its write-ahead log, opened for reading. It is not safe for
// concurrent use.
type File struct {
	main, wal *os.File // wal may be nil
	size      int      // of a page
	usable    int      // of a page
	bytes     int64    // of both
	pages     uint32   // of the main file
	frames    []frame  // of the log, up to the last that commits, in order
	newest    map[uint32]int64
	page      []byte // the one that was read last
	at        Place  // which
}

// frame is a page in the write-ahead log.
type frame struct {
	page uint32
	at   int64 // where it begins
}

// Place is where a version of a page is, and which cell of it.
type Place struct {
	page uint32
	wal  int64 // in the write-ahead log; 0: in the file
	cell uint16
	kind byte
}

// Open opens the file, and path-wal if there is one.
func Open(path string) (*File, error) {
	f := &File{newest: map[uint32]int64{}}
	var err error
	if f.main, err = os.Open(path); err != nil {
		return nil, err
	}
	if f.wal, err = os.Open(path + "-wal"); err != nil {
		f.wal = nil
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, f.Close())
		}
	}
	if err := f.begin(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close closes the files.
func (f *File) Close() error {
	err := f.main.Close()
	if f.wal != nil {
		err = errors.Join(err, f.wal.Close())
	}
	return err
}

// begin finds out how large a page is, and what is in the write-ahead log.
func (f *File) begin() error {
	info, err := f.main.Stat()
	if err != nil {
		return err
	}
	f.bytes = info.Size()
	var head [headerSize]byte
	if _, err := f.main.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.size = int(binary.BigEndian.Uint16(head[16:]))
	if f.size == 1 {
		f.size = maxPage
	}
	if f.size < minPage || f.size&(f.size-1) != 0 || f.bytes%int64(f.size) != 0 {
		f.size = defaultPage
	}
	f.usable = f.size // no program of ours reserves any
	f.pages = uint32((f.bytes + int64(f.size) - 1) / int64(f.size))
	f.page = make([]byte, f.size)
	if f.wal == nil {
		return nil
	}
	if info, err = f.wal.Stat(); err != nil {
		return err
	}
	f.bytes += info.Size()
	return f.readFrames(info.Size())
}

// readFrames lists the frames of the log's last generation, up to the last that ends a
// transaction. Their checksums are not looked at: what a page holds has its own.
func (f *File) readFrames(size int64) error {
	var head [walHeader]byte
	if _, err := f.wal.ReadAt(head[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	salt := binary.BigEndian.Uint64(head[16:])
	var all []frame
	end := 0
	for at := int64(walHeader); at+frameHeader+int64(f.size) <= size; at += frameHeader + int64(f.size) {
		var h [frameHeader]byte
		if _, err := f.wal.ReadAt(h[:], at); err != nil {
			return err
		}
		own := binary.BigEndian.Uint64(h[8:])
		if len(all) == 0 && at == walHeader && own != salt {
			salt = own // one of both is damaged; the frames agree among themselves
		}
		if own != salt && at > walHeader {
			continue // of an earlier generation, or damaged
		}
		all = append(all, frame{binary.BigEndian.Uint32(h[:]), at + frameHeader})
		if binary.BigEndian.Uint32(h[4:]) != 0 {
			end = len(all)
		}
	}
	f.frames = all[:end]
	for _, fr := range f.frames {
		f.newest[fr.page] = fr.at
		f.pages = max(f.pages, min(fr.page, uint32(f.bytes/int64(f.size))+1))
	}
	return nil
}

// load reads a version of a page.
func (f *File) load(page uint32, wal int64) ([]byte, error) {
	if p := (Place{page: page, wal: wal}); f.at != p || page == 0 {
		src, at := f.main, int64(page-1)*int64(f.size)
		if wal > 0 {
			src, at = f.wal, wal
		}
		n, err := src.ReadAt(f.page, at)
		if err != nil && !errors.Is(err, io.EOF) {
			f.at = Place{}
			return nil, err
		}
		clear(f.page[n:])
		f.at = p
	}
	return f.page, nil
}

// latest reads the newest version of a page, into memory of its own.
func (f *File) latest(page uint32, to []byte) error {
	src, at := f.main, int64(page-1)*int64(f.size)
	if wal, ok := f.newest[page]; ok {
		src, at = f.wal, wal
	}
	n, err := src.ReadAt(to, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	clear(to[n:])
	return err
}
