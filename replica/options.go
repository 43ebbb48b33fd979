package replica

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Options tune a replica. The zero value, and nil, mean the defaults.
type Options struct {
	// Space is the name of the space that the file holds. A file that holds
	// another one is refused. "" takes what the file says, or, for a file that
	// says nothing yet, what its first peer says.
	Space string
	// Synchronous says when a commit is acknowledged: Full (the default) after
	// it is on disk, Normal after it is in the operating system's hands, which
	// survives a crash of the process but not always a power cut.
	Synchronous persist.Synchronous
	// Key opens a file that is encrypted, see Replica.Encrypt, and encrypts one that
	// holds nothing yet. A file with content that is not encrypted is refused: whoever
	// gives a key counts on it.
	Key Key
	// CacheBytes bounds the histories kept in memory, approximately; 0 means
	// DefaultCacheBytes. Only records that are being written are held.
	CacheBytes int
	// Resolvers are the functions that policies name as go:NAME. Each has to be
	// pure, and the same in every process that registers it. One that fails or
	// panics is logged and counted in Status, and automerge's choice is shown. So
	// it is where a function is not registered; a record that would have needed it
	// is marked stale, to be computed by a process that has the function.
	Resolvers map[string]crdt.Resolver
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// MaxClockAhead bounds how far a remote clock may push ours beyond the wall
	// clock; 0 means DefaultMaxClockAhead.
	MaxClockAhead time.Duration
	// Random gives numbers in [0,1) for the jitter of retries; nil means
	// math/rand/v2.
	Random func() float64
	// ReconcileEvery is how long a session lasts, about, until what both sides hold
	// is compared, and again each time; 0 means DefaultReconcileEvery.
	ReconcileEvery time.Duration
	// Keeper declares that this replica forgets nothing, as long as it is opened so, and
	// tells peers that they may forget what it holds. A hub is one.
	Keeper bool
	// CompactEvery has Compact run in the background each time this has passed since the
	// replica was opened; 0 means never. It takes up to DefaultCompactMemory for a while,
	// and does not shrink the file: what becomes free is used for what comes.
	CompactEvery time.Duration
	// Logger receives what no caller can be told: failed attempts of links,
	// refused changes. nil is silent.
	Logger *slog.Logger

	counters *counters // a hub's, or nil
}

// Defaults of Options.
const (
	DefaultCacheBytes    = 40 << 20
	DefaultMaxClockAhead = time.Minute

	DefaultReconcileEvery = 10 * time.Minute
)

// withDefaults returns a copy of o in which every field is set.
func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.CacheBytes <= 0 {
		d.CacheBytes = DefaultCacheBytes
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Random == nil {
		d.Random = rand.Float64
	}
	if d.MaxClockAhead <= 0 {
		d.MaxClockAhead = DefaultMaxClockAhead
	}
	if d.ReconcileEvery <= 0 {
		d.ReconcileEvery = DefaultReconcileEvery
	}
	if d.counters == nil {
		d.counters = newCounters()
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

// Attribute keys of what is logged.
const (
	logPeer   = "peer"
	logLink   = "link"
	logRecord = "record"
	logError  = "error"

	logSubject = "subject"
	logCount   = "count"
	logBytes   = "bytes"

	logCollection = "collection"
	logFunction   = "function"
)
