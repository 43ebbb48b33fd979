package replica

import (
	"context"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Stats say how much a replica holds, and what takes up its file.
type Stats struct {
	Status
	Deleted     int64 // records; without those that were forgotten
	Forgotten   int64 // records of which a stub is left, see Forget
	Collections []CollectionStats
	Bytes       ByteStats
	Compactable Compactable

	// Oldest is the first change set that not all peers that count have on disk, see
	// Outbox; nil if there is none.
	Oldest *OldestStats

	Encrypted bool
	Plaintext map[string][]string // fields by collection, see SetPlaintext
}

// CollectionStats count what a collection holds: records that exist, deleted, forgotten
// and conflicted ones, and the bytes of what its records show.
type CollectionStats = persist.CollectionStats

// ByteStats say what a replica's bytes are taken by. File, WAL and Free are what is on
// the disk; the others are content alone, and names, heads, positions and what SQLite
// needs are the rest of File.
type ByteStats struct {
	persist.Sizes
	WAL int64 // beside the file, moved into it from time to time
}

// Compactable is what Compact would look at, by its default of MinBytes. How much of it
// a snapshot saves is known when it is made: from half to nearly all.
type Compactable struct {
	Records int64
	Bytes   int64 // of changes that no snapshot holds
}

// OldestStats name a change set that waits.
type OldestStats struct {
	LSN   crdt.LSN
	Time  time.Time // of writing
	State SyncState
}

// Stats measures the replica. It reads the sizes of everything and the content of
// nothing, and walks the log once for that: some tenths of a second for a million
// changes. Status is for what is asked every few seconds.
func (r *Replica) Stats(ctx context.Context) (st Stats, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		st, err = r.stats(ctx, rd)
		return err
	})
	if err == nil {
		st.Bytes.WAL, err = r.store.WALSize()
	}
	if err != nil {
		return st, &Error{Op: "stats", Err: translate(err)}
	}
	for out, err := range r.Outbox(ctx, OutboxFilter{}) {
		if err != nil {
			return st, err
		}
		st.Oldest = &OldestStats{out.LSN, out.Time, out.State}
		break
	}
	return st, nil
}

func (r *Replica) stats(ctx context.Context, rd *persist.Reader) (st Stats, err error) {
	if st.Status, err = r.status(rd); err != nil {
		return st, err
	}
	if st.Collections, err = rd.CollectionStats(); err != nil {
		return st, err
	}
	for _, c := range st.Collections {
		st.Deleted += c.Deleted
		st.Forgotten += c.Forgotten
	}
	if st.Bytes.Sizes, err = rd.Sizes(); err != nil {
		return st, err
	}
	for s, err := range rd.RawSizes(DefaultCompactBytes) {
		if err != nil {
			return st, err
		}
		if ctx.Err() != nil {
			return st, ctx.Err()
		}
		st.Compactable.Records++
		st.Compactable.Bytes += s.Bytes
	}
	if st.Encrypted, err = rd.Encrypted(); err != nil {
		return st, err
	}
	st.Plaintext, err = plaintext(rd)
	return st, err
}
