package persist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Sizes says what the bytes of a store are taken by. Those of Changes and below are of
// content alone; names, heads, positions, and what SQLite needs, are the rest of File.
type Sizes struct {
	File int64 // the database, without its WAL
	Free int64 // of File, in pages that nothing uses; Vacuum gives them back

	Changes   int64 // of the log that no snapshot holds
	Snapshots int64
	Values    int64 // what records show, as it is stored
	Indexes   int64 // keys of indexes on fields
	Texts     int64 // words of full texts
}

// Sizes measures the store. It takes time in proportion to how much the store holds,
// though nothing of that is read but how large it is.
func (r *Reader) Sizes() (s Sizes, err error) {
	all, err := r.one(qSizes)
	if err != nil {
		return s, err
	}
	s.File, s.Free, s.Changes, s.Snapshots, s.Values = all.int(0), all.int(1), all.int(2), all.int(3), all.int(4)
	indexes, err := r.Indexes("")
	if err != nil {
		return s, err
	}
	for _, x := range indexes {
		n, err := r.sum("SELECT coalesce(sum(octet_length(key) + octet_length(id)), 0) FROM " + x.table())
		if err != nil {
			return s, err
		}
		s.Indexes += n
	}
	texts, err := collect(scan(r, func(row row) (TextIndex, error) { return TextIndex{ID: row.int(0)}, nil }, qTexts))
	if err != nil {
		return s, err
	}
	for _, t := range texts { // FTS5's own table, which any SQLite reads
		n, err := r.sum("SELECT coalesce(sum(length(block)), 0) FROM " + t.table() + "_data")
		if err != nil {
			return s, err
		}
		s.Texts += n
	}
	return s, nil
}

// sum returns the one number of a statement about a table that a caller declared.
func (r *Reader) sum(sql string) (n int64, err error) {
	c := &compiler{}
	c.WriteString(sql)
	for row, err := range r.dynamic(context.Background(), c) {
		if err != nil {
			return 0, err
		}
		n = row.int(0)
	}
	return n, nil
}

// WALSize returns the size of the file's write-ahead log, which is moved into it from
// time to time; 0 if there is none.
func (s *Store) WALSize() (int64, error) {
	real, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return 0, fmt.Errorf("measure WAL: %w", err)
	}
	info, err := os.Stat(real + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("measure WAL: %w", err)
	}
	return info.Size(), nil
}

// CollectionStats counts what a collection holds.
type CollectionStats struct {
	Name       string
	Records    int64 // that exist
	Deleted    int64
	Forgotten  int64
	Conflicted int64
	Bytes      int64 // of what its records show, as it is stored
}

// CollectionStats counts what each collection holds, by name. It takes time in
// proportion to that.
func (r *Reader) CollectionStats() ([]CollectionStats, error) {
	return collect(scan(r, func(row row) (CollectionStats, error) {
		return CollectionStats{
			Name: row.text(0), Records: row.int(1), Deleted: row.int(2), Forgotten: row.int(3), Conflicted: row.int(4), Bytes: row.int(5),
		}, nil
	}, qCollectionStats))
}
