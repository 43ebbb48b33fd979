package persist

import "errors"

// Errors that callers tell apart with errors.Is. Those of Open are wrapped in
// an *OpenError that names the path.
var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrNested: Commit was called from inside a closure of Commit on the
	// same store.
	ErrNested = errors.New("commit inside a commit: use the Tx at hand")
	// ErrCapped: a peer has parked as much as it may.
	ErrCapped = errors.New("peer has too much parked")

	// ErrExists: there is a file where a backup is to be written. It was not
	// modified.
	ErrExists = errors.New("the file exists: choose another name, or have it replaced")
	// ErrBackupInUse: beside the place where a backup is to be written lies the
	// journal of another file, which SQLite would take for the backup's.
	ErrBackupInUse = errors.New("belongs to a file that is open, or was not closed: choose another name")

	errOwnFile = errors.New("that is the replica's own file")

	// ErrDamaged: something in the file cannot have been written by this package, or by
	// SQLite.
	ErrDamaged = errors.New("the file is damaged: run doctor")

	errOver = errors.New("the closure that this Reader or Tx belongs to is over")

	// ErrNotOurs: the file is no godwit replica. It was not modified.
	ErrNotOurs = errors.New("not a godwit replica")
	// ErrNewerSchema: a newer godwit wrote the file. It was not modified.
	ErrNewerSchema = errors.New("written by a newer version of godwit: upgrade this program")
	// ErrReadOnly: the file or its folder, where SQLite keeps others beside it,
	// cannot be written.
	ErrReadOnly = errors.New("the file or its folder is read-only: this user has to be allowed to write both")
	// ErrDiskFull: there is no space for what was to be written. Nothing of it was;
	// reading goes on, and so does writing when there is space again.
	ErrDiskFull = errors.New("the disk is full, or the quota used up: make some space and try again")
	// ErrBusy: another process has locked the file for longer than the busy timeout.
	ErrBusy = errors.New("another process keeps the file locked: let it finish and try again")
	// ErrMoved: the file that was opened is no longer at its path. Nothing was written
	// to it, as nobody would find that.
	ErrMoved = errors.New("the file was deleted, moved or replaced since it was opened: close it, and open what is there now")
	// ErrNotFile: the path names a folder or a device.
	ErrNotFile = errors.New("not a regular file")
	// ErrEncrypted: the file is encrypted, and no key was given.
	ErrEncrypted = errors.New("the file is encrypted: give its key")
	// ErrWrongKey: the file is locked with another key, or the part of it that says
	// with which was altered. It was not modified.
	ErrWrongKey = errors.New("wrong key")
	// ErrNotEncrypted: a key was given for a file that is not encrypted.
	ErrNotEncrypted = errors.New("the file is not encrypted: open it without a key, then encrypt it")
	// ErrUnfinished: all content is stored as it was asked for, but somebody reads
	// the file and so holds what was there before. It goes away when the file is
	// opened the next time, or the call is repeated.
	ErrUnfinished = errors.New("others who read the file keep what was overwritten in it: repeat this when they are done, or open the file again")
	// ErrNoFolder: the folder that should hold the file does not exist.
	ErrNoFolder = errors.New("folder does not exist: create it first")
)

// OpenError says which file could not be opened, and why.
type OpenError struct {
	Path string
	Err  error
}

func (e *OpenError) Error() string { return "open replica " + e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }
