package persist

import "github.com/godwitdb/godwit/crdt"

// Tx is the transaction of one closure of Commit. Its Reader sees what the
// closure wrote. When one of its methods fails, the closure has failed, also
// if it returns nil.
type Tx struct{ Reader }

// Foreign reports whether another process has committed since this store's
// last transaction: what is cached may be out of date. It stays true until a
// transaction of this store commits.
func (tx *Tx) Foreign() bool { panic("TODO") }

// Generation counts how often this store found commits of other processes. A
// cache that notes it beside its content need not look at Foreign in every
// transaction.
func (tx *Tx) Generation() uint64 { panic("TODO") }

// NewRID returns a new record's RID, for log rows that are appended before
// PutRecord inserts the record.
func (tx *Tx) NewRID() int64 { panic("TODO") }

// PutRecord writes the record: inserts it when its RID is 0 (which it sets) or
// came from NewRID in this transaction, else updates the one with its RID. Key
// and Created of an existing record are not changed.
func (tx *Tx) PutRecord(rec *Record) error { panic("TODO") }

// Append adds the row to the end of the log and sets its LSN and Chain. RID and
// Key must be those of a record. Rows of one set are appended together.
func (tx *Tx) Append(row *LogRow) error { panic("TODO") }

// PutPeer writes the peer: inserts it when its ID is 0 and no peer has its
// replica and epoch, and sets the ID.
func (tx *Tx) PutPeer(p *Peer) error { panic("TODO") }

// Park keeps a set until it is unparked, and sets its ID. A set that its peer
// has parked already is replaced. ErrCapped when the peer has MaxParkedSets or
// MaxParkedBytes; that error does not fail the closure by itself.
func (tx *Tx) Park(p *ParkedSet) error { panic("TODO") }

// Unpark forgets a parked set; none is no error.
func (tx *Tx) Unpark(id int64) error { panic("TODO") }

// Quarantine keeps a refused change, and sets its ID. One that is there already
// is replaced. Beyond MaxQuarantined or MaxQuarantinedBytes of its peer the
// oldest ones go; Stats counts them.
func (tx *Tx) Quarantine(q *Quarantined) error { panic("TODO") }

// Unquarantine forgets a refused change; none is no error.
func (tx *Tx) Unquarantine(id int64) error { panic("TODO") }

// SetPolicy stores a collection's view policy and returns its new version,
// from 1. Storing what is there already changes nothing.
func (tx *Tx) SetPolicy(collection string, json []byte) (version int64, err error) { panic("TODO") }

// OnCommit has f called after the commit, before any caller is answered and
// before the next transaction begins. f must not use the store.
func (tx *Tx) OnCommit(f func()) { panic("TODO") }

// OnRollback has f called when the closure, or the commit, failed: in reverse
// order, before the caller is answered and before the next closure runs.
func (tx *Tx) OnRollback(f func()) { panic("TODO") }

// Record is a record's row.
type Record struct {
	RID           int64 // 0: not stored yet
	Key           crdt.Key
	Heads         crdt.Heads
	Clock         crdt.Clock
	MaxOp         uint64
	JSON          []byte // the value under the collection's policy; nil: none
	PolicyVersion int64  // the policy's version that JSON and Conflicts were computed under
	Deleted       bool
	Conflicts     int
	Created       int64    // ms since 1970
	Updated       int64    // ms since 1970
	LSN           crdt.LSN // its last row of the log
}

// LogRow is one change in the log.
type LogRow struct {
	LSN    crdt.LSN
	Chain  crdt.Chain // the running hash up to and with this row
	Set    crdt.SetID
	RID    int64
	Key    crdt.Key
	Hash   crdt.Hash
	Data   []byte // the chunk
	Source int64  // the peer it came from, 0: made here
	Time   int64  // ms since 1970, when it was appended
}

// Peer is what is known of another replica, or of an earlier life of one.
type Peer struct {
	ID        int64 // 0: not stored yet
	Replica   crdt.ReplicaID
	Epoch     uint64
	Name      string      // for people
	Read      crdt.Cursor // how far this replica has read its log
	Acked     crdt.Cursor // how far it has read this log
	State     string
	LastError string
	Attempts  int
	Seen      int64 // ms since 1970
}

// ParkedSet is a change set that waits for changes not held yet.
type ParkedSet struct {
	ID     int64
	Peer   int64 // whose it is; 0: this replica
	Set    crdt.SetID
	Waits  []crdt.Key // records whose next change may release it
	Data   []byte     // as the caller encoded it
	Reason string
	Time   int64 // ms since 1970
}

// Quarantined is a change that was refused.
type Quarantined struct {
	ID     int64
	Peer   int64 // who sent it; 0: this replica
	Key    crdt.Key
	Hash   crdt.Hash
	Code   string
	Detail string
	Data   []byte
	Time   int64 // ms since 1970
}

// CollectionPolicy is the view policy of one collection.
type CollectionPolicy struct {
	Collection string
	JSON       []byte
	Version    int64
}

// Bounds of what one peer can have kept for it.
const (
	MaxParkedSets       = 4096
	MaxParkedBytes      = 64 << 20
	MaxQuarantined      = 1024
	MaxQuarantinedBytes = 32 << 20
)
