package replica

import (
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Sentinels.
var (
	// ErrNotFound: there is no such record, or it was deleted.
	ErrNotFound = errors.New("no such record")
	// ErrClosed: the replica was closed.
	ErrClosed = errors.New("the replica is closed")
	// ErrTooLarge: the change set exceeds MaxSetChanges, MaxSetOps or MaxSetBytes; split
	// it
	// over several Updates.
	ErrTooLarge = errors.New("the change set is too large")
	// ErrNested: Update was called inside another Update of the same replica.
	ErrNested = errors.New("update inside an update: use the transaction that the outer one was given")
	// ErrExists: the record to be created is there already.
	ErrExists = errors.New("the record exists already")
	// ErrEmpty: a record without any field is no record; Delete removes one.
	ErrEmpty = errors.New("a record needs at least one field")
	// ErrLimit: the run has moved as much as it may (see MaxPerRun); there may be more,
	// with which the next one goes on.
	ErrLimit = errors.New("the limit of the run is reached: the next one goes on")
	// ErrPaused: the link does not exchange anything before Resume, or Reconnect.
	ErrPaused = errors.New("the link is paused")
	// ErrOffline: SetOnline says that there is no path.
	ErrOffline = errors.New("there is no path to any peer, by SetOnline")
	// ErrNoLinks: SyncOnce was called without any connection.
	ErrNoLinks = errors.New("there are no links: Connect them first, with OnDemand if there is no other schedule")
	// ErrForgotten: the record is held elsewhere, and was forgotten here; Fetch brings
	// it back.
	ErrForgotten = errors.New("the record was forgotten here: fetch it from a peer that has it")
	// ErrDamaged: something in the file cannot have been written by godwit, or by SQLite.
	ErrDamaged = persist.ErrDamaged
	// ErrNotOurs: the file is no godwit replica. It was not modified.
	ErrNotOurs = persist.ErrNotOurs
	// ErrReserved: collections that begin with "_" are godwit's own.
	ErrReserved = errors.New("collections that begin with an underscore are reserved")
	// ErrDiskFull: there is no space for what was to be written. Nothing of it was;
	// reading goes on, and writing does when there is space again.
	ErrDiskFull = persist.ErrDiskFull
	// ErrBusy: another process keeps the file locked.
	ErrBusy = persist.ErrBusy
	// ErrMoved: the file was deleted, moved or replaced since it was opened. It is written
	// no more, as nobody would find that: Close the replica, and open what is there now.
	ErrMoved = persist.ErrMoved
	// ErrNoFullText: this program was built without SQLite's full text.
	ErrNoFullText = persist.ErrNoFullText
	// ErrSQL: the statement is not one that only reads the collections.
	ErrSQL = persist.ErrSQL
	// ErrPosition: a watch cannot begin where From says.
	ErrPosition = errors.New("the log does not hold this position: it is of another file, of one that was put back, or too old; read what there is and watch from now on")
)

// Error says which operation failed on which record or with which peer.
type Error struct {
	Op     string   // what was being done: "put", "sync"
	Record crdt.Key // zero if no single record is concerned
	Peer   string   // "" if no peer is concerned
	Err    error
}

// Error reads "put notes/1: cause".
func (e *Error) Error() string {
	s := e.Op
	if e.Record != (crdt.Key{}) {
		s += " " + e.Record.String()
	}
	if e.Peer != "" {
		s += " with " + e.Peer
	}
	return fmt.Sprintf("%s: %v", s, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func recordError(op string, k crdt.Key, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Record: k, Err: err}
}
