package persist

import (
	"context"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// Synchronous says what a commit waits for.
type Synchronous int

const (
	// Full waits until the commit is on the disk: it survives a power cut.
	Full Synchronous = iota
	// Normal waits for the operating system only: a commit survives the death
	// of the process, a power cut may take the last ones.
	Normal
)

// Options of Open. The zero value means the defaults.
type Options struct {
	Synchronous  Synchronous   // default Full
	BusyTimeout  time.Duration // how long to wait for another process's transaction; default 5 s
	Readers      int           // connections for Read at the same time, opened as needed; default 4
	PollInterval time.Duration // how often a Subscription looks for other processes' commits; default 50 ms; negative: never
}

// Store is an open replica file. It is safe for concurrent use, also by
// several processes.
type Store struct {
	path    string
	replica crdt.ReplicaID
	epoch   uint64
}

// Open opens the replica at path, or creates it in a folder that exists.
// Options may be nil. A file that is something else, or newer than this
// program, is an *OpenError and left as it is.
func Open(ctx context.Context, path string, opts *Options) (*Store, error) { panic("TODO") }

// Path returns the path given to Open.
func (s *Store) Path() string { return s.path }

// Identity returns the replica's ID and its epoch, both chosen at random when
// the file was created.
func (s *Store) Identity() (crdt.ReplicaID, uint64) { return s.replica, s.epoch }

// Close waits for what is under way, then closes the file. Later calls of any
// method give ErrClosed; Close itself may be called again.
func (s *Store) Close() error { panic("TODO") }

// NewIncarnation returns a new actor of this replica, recorded at FULL
// whatever the mode: it is never given out again, not even after a power cut.
func (s *Store) NewIncarnation(ctx context.Context) (crdt.ActorID, error) { panic("TODO") }

// Commit runs fn in an immediate transaction and returns once that is
// committed or nothing of fn remains.
//
// Calls at the same time share one transaction, each in its own savepoint: an
// error of fn undoes fn alone and is returned as it is; a failing commit is the
// error of all. A panic in fn undoes it and goes on in the caller. While it
// waits its turn a call can be withdrawn by ctx; once fn was started, Commit
// returns the true outcome. fn must not call Commit (ErrNested) or Read, nor
// keep the Tx.
func (s *Store) Commit(ctx context.Context, fn func(*Tx) error) error { panic("TODO") }

// Read runs fn on a snapshot: it sees the same state throughout, whatever is
// committed meanwhile. fn must not keep the Reader. A failed read of the file
// is returned even when fn returns nil.
func (s *Store) Read(ctx context.Context, fn func(*Reader) error) error { panic("TODO") }

// Subscribe returns a Subscription that is woken after each commit, of this
// process or another. Close it.
func (s *Store) Subscribe() *Subscription { panic("TODO") }

// Subscription tells that something was committed.
type Subscription struct{}

// C delivers a value, at most one at a time, some time after a commit. Whoever
// receives it reads what is new since it last did. A wake-up may be spurious.
func (s *Subscription) C() <-chan struct{} { panic("TODO") }

// Close ends it; C is never closed. The last one of a store ends its polling.
func (s *Subscription) Close() { panic("TODO") }

// Check walks every invariant of the store and calls each for what it finds.
// The error is that of reading, or ctx's; problems are none.
func (s *Store) Check(ctx context.Context, each func(Problem)) error { panic("TODO") }

// Problem is a broken invariant.
type Problem struct {
	Kind   string   // a short constant word, as "chain"
	Key    crdt.Key // the record, if it is about one
	LSN    crdt.LSN // the log row, if it is about one
	Detail string   // what is wrong
	Advice string   // what to do
}
