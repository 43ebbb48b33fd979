package persist

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

	// Key opens a file that is encrypted, and encrypts one that holds nothing yet.
	// For one that holds something it is an error, ErrNotEncrypted: whoever gives a
	// key counts on it.
	Key Key

	afterStep func(string) // of tests: called after each step of Encrypt and its kin
	hooks     Hooks
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Synchronous != Full && opts.Synchronous != Normal {
		return opts, fmt.Errorf("unknown Synchronous %d", opts.Synchronous)
	}
	if opts.BusyTimeout < 0 || opts.Readers < 0 {
		return opts, errors.New("negative BusyTimeout or Readers")
	}
	if opts.BusyTimeout == 0 {
		opts.BusyTimeout = 5 * time.Second
	}
	if opts.Readers == 0 {
		opts.Readers = 4
	}
	if opts.PollInterval == 0 {
		opts.PollInterval = 50 * time.Millisecond
	}
	return opts, nil
}

// Store is an open replica file. It is safe for concurrent use, also by
// several processes.
type Store struct {
	path    string
	place   place
	opts    Options
	replica crdt.ReplicaID
	epoch   uint64

	writer  *writer
	readers *pool
	sqls    *pool // for callers' SQL
	wakes   *wakes

	expanded *expanded
	vault    *vault

	closing  sync.Once
	closeErr error
}

// Open opens the replica at path, or creates it in a folder that exists.
// Options may be nil. A file that is something else, or newer than this
// program, is an *OpenError and left as it is.
func Open(ctx context.Context, path string, opts *Options) (*Store, error) {
	s, err := open(ctx, path, opts)
	if err != nil {
		return nil, &OpenError{Path: path, Err: err}
	}
	return s, nil
}

func open(ctx context.Context, path string, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.hooks = hooksOf(ctx); opts.hooks.Alone {
		opts.PollInterval = -1
	}
	s := &Store{path: path, opts: opts, expanded: &expanded{}, vault: newVault(opts.Key)}
	c, err := openWriter(ctx, path, &opts, s.vault)
	if err != nil {
		return nil, err
	}
	if s.replica, s.epoch, err = readIdentity(c); err != nil {
		c.close()
		return nil, err
	}
	if s.place, err = placeOf(path); err != nil {
		c.close()
		return nil, err
	}
	s.readers = s.newPool(func() (*conn, error) { return openReader(path, opts.BusyTimeout, s.vault) })
	s.sqls = s.newPool(func() (*conn, error) { return openAsked(path, opts, s.vault) })
	s.wakes = newWakes(path, opts)
	s.writer = startWriter(c, s, s.wakes.wake)
	if err := s.unlocked(ctx); err != nil {
		s.Close()
		return nil, err
	}
	if opened := opts.hooks.Opened; opened != nil {
		opened(s)
	}
	return s, nil
}

// newPool returns a pool of connections to the file that was opened, not to another one
// that is at its path by now.
func (s *Store) newPool(open func() (*conn, error)) *pool {
	return newPool(s.opts.Readers, func() (*conn, error) {
		c, err := open()
		if err != nil {
			return nil, err
		}
		if err := s.place.check(); err != nil {
			return nil, errors.Join(err, c.close())
		}
		return c, nil
	})
}

// Path returns the path given to Open.
func (s *Store) Path() string { return s.path }

// Identity returns the replica's ID and its epoch, both chosen at random when
// the file was created.
func (s *Store) Identity() (crdt.ReplicaID, uint64) { return s.replica, s.epoch }

// Close waits for what is under way, then closes the file. Later calls of any
// method give ErrClosed; Close itself may be called again. Not to be called
// from within a closure.
func (s *Store) Close() error {
	s.closing.Do(func() {
		// The writer goes last: only a connection that writes can fold the WAL
		// into the file and remove it.
		err := s.wakes.close()
		err = errors.Join(err, s.sqls.close(), s.readers.close())
		s.closeErr = errors.Join(err, s.writer.close())
	})
	return s.closeErr
}

// NewIncarnation returns a new actor of this replica, recorded at FULL
// whatever the mode: it is never given out again, not even after a power cut.
func (s *Store) NewIncarnation(ctx context.Context) (crdt.ActorID, error) {
	var incarnation [8]byte
	if err := s.opts.hooks.name(incarnation[:]); err != nil {
		return "", err
	}
	actor := s.replica.Actor(incarnation)
	err := s.writer.do(ctx, &request{full: true, fn: func(tx *Tx) error {
		_, err := tx.exec(qInsertActor, []byte(actor), time.Now().UnixMilli())
		return err
	}})
	if err != nil {
		return "", err
	}
	return actor, nil
}

// Commit runs fn in an immediate transaction and returns once that is
// committed or nothing of fn remains.
//
// Calls at the same time share one transaction: an error of fn undoes fn alone
// and is returned as it is; a failing commit is the error of all. A panic in fn
// undoes it and goes on in the caller. While it waits its turn a call can be
// withdrawn by ctx; once fn was started, Commit returns the true outcome. fn
// runs on the store's one writing goroutine, must not call Commit (ErrNested),
// and must not keep the Tx.
func (s *Store) Commit(ctx context.Context, fn func(*Tx) error) error {
	return s.writer.do(ctx, &request{fn: fn})
}

// Vacuum writes the file anew, without the space that is free in it. It needs as
// much space again meanwhile, and commits wait for it.
func (s *Store) Vacuum(ctx context.Context) error {
	return s.writer.do(ctx, &request{outside: vacuum})
}

// Reindex builds SQLite's own indexes anew from their tables. Commits wait for it.
func (s *Store) Reindex(ctx context.Context) error {
	return s.writer.do(ctx, &request{outside: func(c *conn) error {
		if err := c.run("REINDEX"); err != nil {
			return fmt.Errorf("rebuild indexes: %w", explain(s.path, err))
		}
		return nil
	}})
}

// Read runs fn on a snapshot: it sees the same state throughout, whatever is
// committed meanwhile. fn must not keep the Reader, and should not take long:
// the WAL grows as long as a snapshot is held. A failed read of the file is
// returned even when fn returns nil.
func (s *Store) Read(ctx context.Context, fn func(*Reader) error) error {
	c, err := s.readers.take(ctx)
	if err != nil {
		return err
	}
	defer s.readers.give(c)
	return s.readWith(c, fn)
}
