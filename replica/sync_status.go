package replica

import (
	"context"
	"iter"
	"reflect"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// SyncStatus says how far a replica's connections are, for people to see.
type SyncStatus struct {
	Online    bool      // a peer could be reached when that was last tried, and SetOnline does not say otherwise
	Metered   bool      // by SetMetered
	Syncing   bool      // over some link one side has not yet all that the other had
	Pending   int64     // changes that the peer furthest behind, of those that links led to, has not acknowledged; without any, all
	LastSync  time.Time // when a peer and this replica were last known to have everything
	LastError string    // of a link whose last attempt failed; "" if none did
	Links     []LinkStatus
}

// SyncStatus reads how far the replica's connections are.
func (r *Replica) SyncStatus(ctx context.Context) (SyncStatus, error) {
	st := SyncStatus{Metered: r.control.isMetered()}
	names := map[string]bool{}
	for _, c := range r.control.all() {
		l := c.Status()
		st.Links = append(st.Links, l)
		names[l.Link] = true
		st.Online, st.Syncing = st.Online || l.Online, st.Syncing || l.Syncing
		if l.LastSync.After(st.LastSync) {
			st.LastSync = l.LastSync
		}
		if l.LastError != "" {
			st.LastError = l.LastError
		}
	}
	st.Online = st.Online && r.control.rests() != ErrOffline
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		st.Pending, err = r.pending(rd, names)
		return err
	})
	return st, translate(err)
}

// nobody is the row of no peer, from whom nothing came.
const nobody = -1

// pending counts what the peer furthest behind of some links lacks.
func (r *Replica) pending(rd *persist.Reader, links map[string]bool) (most int64, err error) {
	peers, err := rd.Peers()
	if err != nil {
		return 0, err
	}
	met := false
	for _, p := range peers {
		if !links[p.Name] {
			continue
		}
		ps, err := r.peerStatus(rd, p)
		if err != nil {
			return 0, err
		}
		met, most = true, max(most, ps.Pending)
	}
	if met || len(links) == 0 {
		return most, nil
	}
	return rd.Pending(nobody, 0)
}

// FollowSync yields the SyncStatus of now, and again whenever it is another one, also
// for changes that are committed. A loop that is slow misses what was in between, and
// delays nobody. The sequence ends when ctx does, or the replica is closed.
func (r *Replica) FollowSync(ctx context.Context) iter.Seq[SyncStatus] {
	return func(yield func(SyncStatus) bool) {
		ctx, stop := r.scoped(ctx)
		defer stop()
		wake := make(chan struct{}, 1)
		r.control.follow(wake, true)
		defer r.control.follow(wake, false)
		ear := r.tail.listen(func() { signal(wake) }, crdt.Key{}, false)
		defer r.tail.unlisten(ear)
		last, first := SyncStatus{}, true
		for {
			st, err := r.SyncStatus(ctx)
			if err != nil && ctx.Err() == nil {
				st.LastError = err.Error()
			}
			if ctx.Err() != nil {
				return
			}
			if first || !reflect.DeepEqual(st, last) {
				if !yield(st) {
					return
				}
			}
			last, first = st, false
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
		}
	}
}

// follow has wake signalled when the status may be another one, or no longer.
func (k *control) follow(wake chan struct{}, on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if on {
		k.wakes[wake] = true
	} else {
		delete(k.wakes, wake)
	}
}

// changed says that the status may be another one.
func (k *control) changed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for wake := range k.wakes {
		signal(wake)
	}
}

// SyncEventKind says what a SyncEvent tells of.
type SyncEventKind int

// Kinds of events.
const (
	LinkUp      SyncEventKind = iota + 1 // a peer was reached that could not be before
	LinkDown                             // it no longer can; Err says why
	SyncBegun                            // a session goes on, and one side may have what the other has not
	SyncEnded                            // both have everything, or Err says why not; Counts say what was moved
	LinkRefused                          // the peer said no for good: the connection has ended
)

// String returns the name.
func (k SyncEventKind) String() string {
	if names := []string{"link up", "link down", "sync begun", "sync ended", "link refused"}; k >= LinkUp && int(k) <= len(names) {
		return names[k-1]
	}
	return "unknown"
}

// SyncEvent tells of what happened to a connection.
type SyncEvent struct {
	Kind   SyncEventKind
	Link   string
	Time   time.Time
	Peer   crdt.ReplicaID // if it is known
	Counts Counts
	Err    error
	Missed int // events before this one that a slow loop has missed
}

// maxSyncEvents bounds the events that wait for a loop.
const maxSyncEvents = 1000

// syncEar is one that hears of events.
type syncEar struct {
	wake   chan struct{} // one slot
	queue  []SyncEvent   // guarded by the control's mu
	missed int
}

// SyncEvents yields what happens to the replica's connections from now on, which is when
// it is called, not when the loop begins. A loop that is slow delays nobody; when 1000
// events wait for it the oldest are dropped, and counted in Missed. The sequence ends
// when ctx does, or the replica is closed.
func (r *Replica) SyncEvents(ctx context.Context) iter.Seq[SyncEvent] {
	k := r.control
	ear := &syncEar{wake: make(chan struct{}, 1)}
	ctx, stop := r.scoped(ctx)
	leave := func() {
		k.mu.Lock()
		delete(k.ears, ear)
		k.mu.Unlock()
	}
	k.mu.Lock()
	k.ears[ear] = true
	k.mu.Unlock()
	context.AfterFunc(ctx, leave)
	return func(yield func(SyncEvent) bool) {
		defer stop()
		for {
			k.mu.Lock()
			queue := ear.queue
			ear.queue = nil
			if len(queue) > 0 {
				queue[0].Missed, ear.missed = ear.missed, 0
			}
			k.mu.Unlock()
			for _, e := range queue {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			if len(queue) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-ear.wake:
			}
		}
	}
}

// say tells all who listen.
func (k *control) say(e SyncEvent) {
	k.mu.Lock()
	for ear := range k.ears {
		if len(ear.queue) == maxSyncEvents {
			ear.queue = ear.queue[1:]
			ear.missed++
		}
		ear.queue = append(ear.queue, e)
		signal(ear.wake)
	}
	k.mu.Unlock()
	k.changed()
}
