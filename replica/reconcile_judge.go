package replica

import (
	"cmp"
	"errors"
	"fmt"
	"maps"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what is remembered of differences.
const (
	maxTurned      = 4096
	maxDifferences = 100_000
)

const unexplained = "for no reason that is known"

// In what way a record differs between two replicas.
const (
	DiffersHere   = "missing here"
	DiffersThere  = "missing there"
	DiffersHeads  = "heads differ"
	DiffersForked = "forked" // two of its changes have one actor and sequence number: see RepairFork

	DiffersPurged    = "purged"    // by this side; the other one does not know yet, see Purge
	DiffersForgotten = "forgotten" // by one side, and changed since, or not had by the other: Detail says by whom
)

// Difference is a record that is not the same on two replicas.
type Difference struct {
	Key    crdt.Key
	How    string // one of DiffersHere, DiffersThere, DiffersHeads, DiffersForked, DiffersPurged and DiffersForgotten
	Lacks  uint64 // changes that this side lacks, by the clocks
	Owed   uint64 // changes that the other side lacks
	Detail string // why it stays so, if that is known
}

// judge decides what comes of a place where the sides differed, now that the peer
// has said what it has there: nothing any more, or another request.
func (r *run) judge(rd *persist.Reader, w *want, h *transport.Have) (again *want, err error) {
	if h.Key == (crdt.Key{}) || placeOf(h.Key) != h.Place || !r.of.covers(h.Key) {
		return nil, nil // nothing there, or nothing that can be
	}
	rec, err := rd.Record(h.Key)
	if err != nil || headsPrint(rec) == h.Heads {
		return nil, err
	}
	if purged, err := isPurged(rd, h.Key); err != nil || purged {
		if purged && r.s.verify != nil {
			r.leave(Difference{Key: h.Key, How: DiffersPurged, Detail: "purged here"}, true)
		}
		return nil, err // the peer drops it when it has the marker
	}
	if stub, err := r.stub(rd, rec, h); stub || err != nil {
		return nil, err
	}
	next := *w
	if next.key = h.Key; next.heads != h.Heads {
		next.heads, next.tries = h.Heads, 0
	}
	if r.s.verify != nil {
		d, err := differs(rd, rec, h)
		r.leave(d, true)
		return nil, err
	}
	if r.blind {
		next.clock = nil
		if r.names {
			if rec != nil && rec.Clock.Covers(h.Clock) {
				return nil, nil // what differs is not for the peer
			}
			next.clock = least(rec, h.Clock)
			return &next, nil
		}
	}
	if h.All && (r.progress || r.through > w.from) {
		next.from = r.through
		return &next, nil // there is more to come
	}
	next.from = 0
	lacks := h.Clock != nil || h.Heads == 0
	if lacks && r.blind {
		lacks = false // it is not for us to give
	}
	if lacks && rec != nil {
		owed := beyond(rec.Clock, h.Clock)
		r.nearer = r.nearer || owed < w.owed
		next.owed = min(owed, cmp.Or(w.owed, owed))
	}
	next.tries++
	switch {
	case h.Kept:
		r.leave(Difference{Key: h.Key, How: DiffersHeads, Detail: "this side refused changes of it"}, true)
		return nil, nil
	case lacks && h.Shut:
		r.leave(Difference{Key: h.Key, How: DiffersHeads, Detail: "the peer takes no changes of it"}, true)
		return nil, nil
	case lacks && next.tries <= mostPushes, !lacks && next.tries <= mostTries:
		if next.tries == 1 {
			return &next, nil
		}
		d, err := r.explained(rd, rec, h)
		if err != nil || d == nil {
			next.all = !lacks
			return &next, err
		}
		r.leave(*d, true)
		return nil, nil
	}
	d, err := r.explained(rd, rec, h)
	if err != nil {
		return nil, err
	}
	if d != nil {
		r.leave(*d, true)
		return nil, nil
	}
	left, err := differs(rd, rec, h)
	left.Detail = unexplained
	r.leave(left, false)
	return nil, err
}

// stub leaves a record that one side has forgotten: there is nothing to be asked for.
func (r *run) stub(rd *persist.Reader, rec *persist.Record, h *transport.Have) (bool, error) {
	d := Difference{Key: h.Key, How: DiffersForgotten, Detail: "forgotten there"}
	if !h.Gone {
		if rec == nil {
			return false, nil
		}
		err := isForgotten(rd, rec.RID)
		if !errors.Is(err, ErrForgotten) {
			return false, err
		}
		d.Detail = "forgotten here"
	} else if h.Clock != nil && len(r.stubs) < maxTurned {
		r.stubs = append(r.stubs, *h)
	}
	r.leave(d, true)
	return true, nil
}

// least returns what of the peer's clock this side has: it says nothing that the
// peer does not know.
func least(rec *persist.Record, theirs crdt.Clock) crdt.Clock {
	both := crdt.Clock{}
	if rec == nil {
		return both
	}
	for a, seq := range theirs {
		if n := min(seq, rec.Clock[a]); n > 0 {
			both[a] = n
		}
	}
	return both
}

// differs says how a record differs, rec being this side's, or nil.
func differs(rd *persist.Reader, rec *persist.Record, h *transport.Have) (Difference, error) {
	d := Difference{Key: h.Key, How: DiffersHeads}
	var own crdt.Clock
	if rec != nil {
		own = rec.Clock
	}
	d.Lacks, d.Owed = beyond(h.Clock, own), beyond(own, h.Clock)
	switch {
	case rec == nil || len(rec.Heads) == 0:
		d.How = DiffersHere
		return d, nil
	case h.Heads == 0:
		d.How = DiffersThere
		return d, nil
	case h.Clock != nil && maps.Equal(own, h.Clock):
		d.How = DiffersForked
		return d, nil
	}
	forked, err := isForked(rd, h.Key)
	if forked {
		d.How = DiffersForked
	}
	return d, err
}

// beyond counts the changes that a clock counts and another does not.
func beyond(a, b crdt.Clock) (n uint64) {
	for actor, seq := range a {
		if had := b[actor]; seq > had {
			n += seq - had
		}
	}
	return n
}

func isForked(rd *persist.Reader, k crdt.Key) (bool, error) {
	for f, err := range rd.ForksOf(k) {
		if err != nil || !f.Settled {
			return true, err
		}
	}
	return false, nil
}

// explained says why a record stays different, nil if nobody knows: it is forked,
// something of it was refused, or waits for what neither side has.
func (r *run) explained(rd *persist.Reader, rec *persist.Record, h *transport.Have) (*Difference, error) {
	forked, err := isForked(rd, h.Key)
	if err != nil {
		return nil, err
	}
	if forked {
		return &Difference{Key: h.Key, How: DiffersForked, Detail: "it is forked"}, nil
	}
	r.s.mu.Lock()
	why, ok := r.s.turned[h.Key]
	r.s.mu.Unlock()
	if ok {
		return &Difference{Key: h.Key, How: DiffersHeads, Detail: why}, nil
	}
	for _, err := range rd.ParkedOn(h.Key) {
		return &Difference{Key: h.Key, How: DiffersHeads, Detail: "changes of it wait for others"}, err
	}
	if r.of.where || r.s.out.where { // then a set may wait there for a change of a record that is not carried
		return &Difference{Key: h.Key, How: DiffersHeads, Detail: "what the link carries depends on the values of records"}, nil
	}
	return nil, nil
}

// turn notes that one side did not take a change of the record in this session.
func (r *reconciler) turn(x *transport.Exception, who string) {
	if len(r.turned) < maxTurned {
		r.turned[crdt.Key{Collection: x.Collection, ID: x.ID}] = fmt.Sprintf("%s refused a change of it: %s", who, x.Code)
	}
}

// leave counts a record as one that stays different.
func (r *run) leave(d Difference, explained bool) {
	if r.differing++; r.s.progress != nil {
		r.s.progress(r.differing)
	}
	if !explained {
		r.open++
	}
	if d.How == DiffersForgotten {
		r.forgotten++
	}
	if len(r.left) < maxDifferences {
		r.left = append(r.left, d)
	}
}

// complete reports whether all was exchanged that can be.
func (r *run) complete() bool { return r.err == nil && r.open == 0 }

func (r *run) failure() error {
	if r.err == nil && r.open > 0 {
		for _, d := range r.left {
			if d.Detail == unexplained {
				return fmt.Errorf("%d records differ for no reason that is known, as %s", r.open, d.Key)
			}
		}
		return errors.New("records differ for no reason that is known")
	}
	return r.err
}
