package persist

import (
	"iter"

	"github.com/godwitdb/godwit/crdt"
)

// Reader reads one state of the store. It is not safe for concurrent use and
// is valid within the closure it was handed to.
type Reader struct{}

// Head returns the end of the log.
func (r *Reader) Head() crdt.Cursor { panic("TODO") }

// CursorAt returns the cursor behind the log row lsn; ok is false when there
// is no such row. Position 0 is always there.
func (r *Reader) CursorAt(lsn crdt.LSN) (c crdt.Cursor, ok bool) { panic("TODO") }

// Record returns the record, nil if there is none.
func (r *Reader) Record(key crdt.Key) (*Record, error) { panic("TODO") }

// Records yields the records of a collection with an id behind after, by id,
// deleted ones too; limit 0 means all.
func (r *Reader) Records(collection, after string, limit int) iter.Seq2[*Record, error] {
	panic("TODO")
}

// Collections returns the names of the collections that have a record.
func (r *Reader) Collections() ([]string, error) { panic("TODO") }

// Conflicted yields the records with conflicts of a collection, or of all of
// them when it is "", by key.
func (r *Reader) Conflicted(collection string) iter.Seq2[*Record, error] { panic("TODO") }

// Stale yields records of a collection whose view was computed under another
// policy version, at most limit (0 means all), in no particular order.
func (r *Reader) Stale(collection string, version int64, limit int) iter.Seq2[*Record, error] {
	panic("TODO")
}

// Changes yields the raw chunks of a record in log order.
func (r *Reader) Changes(rid int64) iter.Seq2[[]byte, error] { panic("TODO") }

// Log returns the rows behind after, in order: whole change sets, at least one
// if there is any, and no further one that would exceed maxRows or maxBytes of
// Data.
func (r *Reader) Log(after crdt.LSN, maxRows, maxBytes int) ([]LogRow, error) { panic("TODO") }

// IsActor reports whether the actor is an incarnation that this file gave out.
func (r *Reader) IsActor(actor crdt.ActorID) (bool, error) { panic("TODO") }

// Peers returns all peers, by id.
func (r *Reader) Peers() ([]Peer, error) { panic("TODO") }

// Peer returns the peer, nil if there is none.
func (r *Reader) Peer(replica crdt.ReplicaID, epoch uint64) (*Peer, error) { panic("TODO") }

// Policies returns all collections' view policies, by collection.
func (r *Reader) Policies() ([]CollectionPolicy, error) { panic("TODO") }

// Policy returns a collection's view policy and its version; nil and 0 when
// none was ever set.
func (r *Reader) Policy(collection string) (json []byte, version int64, err error) { panic("TODO") }

// AllPeers asks Parked and Quarantined for those of every peer.
const AllPeers int64 = -1

// Parked yields the parked sets of a peer, oldest first.
func (r *Reader) Parked(peer int64) iter.Seq2[*ParkedSet, error] { panic("TODO") }

// ParkedOn yields the sets that wait for a change of the record, oldest first.
// They may be unparked within the loop.
func (r *Reader) ParkedOn(key crdt.Key) iter.Seq2[*ParkedSet, error] { panic("TODO") }

// Quarantined yields the refused changes of a peer, oldest first.
func (r *Reader) Quarantined(peer int64) iter.Seq2[*Quarantined, error] { panic("TODO") }

// Stats counts what the store holds.
func (r *Reader) Stats() (Stats, error) { panic("TODO") }

// Stats are counts of what a store holds.
type Stats struct {
	Records     int64 // deleted ones too
	Deleted     int64
	Conflicted  int64
	Changes     int64 // rows of the log
	Parked      int64 // sets
	Quarantined int64 // changes
	Dropped     int64 // refused changes that made room for later ones
	Peers       int64
	Bytes       int64 // of the database file, without its WAL
}
