package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of a run.
const (
	batchRecords = 512     // asked for at once
	batchBytes   = 1 << 20 // of their names and clocks, the last one apart
	mostRanges   = 1 << 11 // compared at once
	spareAsks    = 64      // requests in a row that lead to nothing, and one for each 1000 leaves
	mostAsks     = 200     // requests, and one for each few leaves
	mostTries    = 3       // to explain why a record differs
	mostPushes   = 6       // to have the peer take a record
	haveBytes    = 64      // a Have, beside its name and clock
)

// run is one reconciliation, led by this side: one request is under way at a time,
// the peer answers from what it is asked and its file alone. It belongs to the
// reconciler's goroutine.
type run struct {
	s     *session
	of    *carry // what is compared
	moved bool   // the peer has narrowed it
	blind bool   // the peer may not see what is compared: no print, item or clock of this side's is sent

	id       uint64 // of the request under way
	asked    []transport.Range
	wanted   []want
	names    bool     // of the Need under way
	pushed   uint64   // frames of change sets that went before it
	silent   int      // requests in a row that were not answered
	idle     int      // requests since one has led to something
	requests int      // that did not bring this side, or the peer, nearer
	gained   crdt.LSN // the session's, at the answer before
	progress bool     // it has grown since
	through  crdt.LSN // how far in the peer's log that went
	nearer   bool     // the peer lacks less than it said before

	queue   []transport.Range // to be compared
	differs []want            // to be asked for

	over      bool
	err       error            // why it came to no end
	left      []Difference     // what stays different, and why
	differing int              // how many there are; left is bounded
	open      int              // of these, those that nothing explains
	forgotten int              // of these, those that one side has forgotten
	stubs     []transport.Have // of the peer, with its clocks
	root      transport.Print  // of what is compared, at the start
	count     int
}

// want is a place at which the two sides differ.
type want struct {
	place uint64
	key   crdt.Key   // zero: not known
	clock crdt.Clock // the peer's, in a blind run; nil: not known
	tries int        // since the peer's heads were others
	heads uint64     // the peer's, in its last answer
	all   bool
	from  crdt.LSN // in the peer's log: what lies before has come
	owed  uint64   // changes that the peer lacked, by its last answer
}

var errLeadsNowhere = errors.New("the peer's answers lead nowhere")

// begins starts a run.
func (s *session) begins(ctx context.Context) (*run, error) {
	r := &run{s: s, of: s.recvScope(), id: uint64(s.r.opts.Random() * (1 << 52))}
	s.mu.Lock()
	r.gained = s.gained
	s.mu.Unlock()
	s.reach = 0
	return r, r.restart(ctx)
}

// restart compares all from the root.
func (r *run) restart(ctx context.Context) error {
	r.blind = !r.of.within(r.s.sendScope())
	err := r.s.r.digest(ctx, r.of, func(v *digestView) (err error) {
		r.root, err = v.print(part{})
		r.count = v.t.records
		return err
	})
	if err != nil {
		return err
	}
	root := transport.Range{Prints: []transport.Print{r.root}}
	if r.blind {
		root.Prints = nil
	}
	r.queue = []transport.Range{root}
	return r.next(ctx)
}

// next sends the next request, behind the frames given, or ends the run.
func (r *run) next(ctx context.Context, before ...transport.Frame) error {
	r.asked, r.wanted, r.names, r.pushed = nil, nil, false, 0
	r.id++
	r.requests++
	r.idle++
	switch {
	case len(r.differs) == 0 && len(r.queue) == 0:
		r.over = true
	case r.idle > spareAsks+r.count/(1000*leafItems) || r.requests > mostAsks+r.count/(4*leafItems):
		r.err, r.over = errLeadsNowhere, true
	case len(r.differs) >= batchRecords || len(r.queue) == 0:
		need, err := r.need(ctx)
		if err != nil {
			return err
		}
		r.pushed = wholes(before)
		need.Loose = r.pushed
		before = append(before, need)
	default:
		before = append(before, r.digest())
	}
	return r.s.say(ctx, before...)
}

// wholes counts frames of change sets, the parts of a large set as one.
func wholes(frames []transport.Frame) (n uint64) {
	for _, f := range frames {
		if c, ok := f.(*transport.Changes); ok && !c.More {
			n++
		}
	}
	return n
}

// digest takes ranges off the queue, the latest first: they are the finest.
func (r *run) digest() transport.Frame {
	prints, items := 0, 0
	for len(r.queue) > 0 && len(r.asked) < mostRanges {
		last := r.queue[len(r.queue)-1]
		prints, items = prints+len(last.Prints), items+len(last.Items)
		if len(r.asked) > 0 && (prints > mostPrints || items > mostItems) {
			break
		}
		r.asked, r.queue = append(r.asked, last), r.queue[:len(r.queue)-1]
	}
	return &transport.Digest{ID: r.id, Scopes: r.of.wire(), Ranges: r.asked}
}

// need takes places off the list and says what this side has there.
func (r *run) need(ctx context.Context) (*transport.Need, error) {
	first := r.differs[len(r.differs)-1]
	r.names = r.s.verify != nil || r.blind && first.clock == nil && !first.all
	f := &transport.Need{ID: r.id, Names: r.names, Behind: first.from}
	bytes, actors := 0, 0
	err := r.s.r.digest(ctx, r.of, func(v *digestView) error {
		for len(r.differs) > 0 && len(r.wanted) < batchRecords && bytes < batchBytes && len(f.Haves) < transport.MaxHaves-samePlace {
			w := r.differs[len(r.differs)-1]
			if w.from != first.from || w.all && w.from > 0 && len(r.wanted) > 0 || r.blind && r.names != (w.clock == nil && !w.all) {
				return nil
			}
			haves, err := r.haves(v, &w)
			if err != nil {
				return err
			}
			sum := 0
			for i := range haves {
				sum += len(haves[i].Clock)
				bytes += haveBytes + len(haves[i].Key.ID) + 24*len(haves[i].Clock)
			}
			if actors += sum; actors > transport.MaxActors && len(r.wanted) > 0 {
				return nil
			}
			r.differs = r.differs[:len(r.differs)-1]
			if sum > transport.MaxActors {
				r.leave(Difference{Key: w.key, How: DiffersHeads, Detail: "too many actors have written it"}, false)
				actors -= sum
				continue
			}
			r.wanted = append(r.wanted, w)
			f.Haves = append(f.Haves, haves...)
		}
		return nil
	})
	return f, err
}

// haves says what this side has at a place.
func (r *run) haves(v *digestView, w *want) (haves []transport.Have, err error) {
	if r.blind {
		return []transport.Have{{Key: w.key, Place: w.place, Clock: w.clock, All: w.all}}, nil
	}
	items, err := v.items(part{64, w.place})
	if err != nil {
		return nil, err
	}
	if len(items) != 1 {
		haves = append(haves, transport.Have{Place: w.place}) // what else the peer has there
	}
	for _, it := range items[:min(len(items), samePlace)] {
		rec, err := v.rd.Record(it.key)
		if err != nil {
			return nil, err
		}
		haves = append(haves, transport.Have{Key: it.key, Heads: it.Heads, Clock: rec.Clock, All: w.all})
	}
	return haves, nil
}

// again sends the request under way once more, since no answer has come.
func (r *run) again(ctx context.Context) error {
	if r.silent++; r.silent > maxSilence {
		r.err, r.over = fmt.Errorf("the peer does not answer"), true
		return nil
	}
	return r.repeat(ctx)
}

// repeat sends the request under way once more.
func (r *run) repeat(ctx context.Context) error {
	r.queue, r.differs = append(r.queue, r.asked...), append(r.differs, r.wanted...)
	return r.next(ctx)
}

// take goes on with an answer.
func (r *run) take(ctx context.Context, f transport.Frame) error {
	switch f := f.(type) {
	case *transport.Digest:
		if r.wanted != nil {
			return nil
		}
		r.silent = 0
		return r.takeDigest(ctx, f)
	case *transport.Need:
		if r.wanted == nil {
			return nil
		}
		r.silent = 0
		if !r.s.allArrived(f) {
			return r.repeat(ctx)
		}
		r.look()
		return r.takeNeed(ctx, f)
	}
	return nil
}

// look finds out whether this side has got anything since the answer before.
func (r *run) look() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.progress, r.gained = r.s.gained != r.gained, r.s.gained
}

func (r *run) takeDigest(ctx context.Context, f *transport.Digest) error {
	of, err := carryOf(f.Scopes...)
	if err != nil {
		return protocolErrorf(transport.CodeProtocol, "answers a comparison: %v", err)
	}
	if !of.same(r.of) {
		if r.moved || !of.within(r.of) {
			return protocolErrorf(transport.CodeProtocol, "answers a comparison of what was not asked for")
		}
		r.of, r.moved, r.queue = of, true, nil
		return r.restart(ctx)
	}
	err = r.s.r.digest(ctx, r.of, func(v *digestView) error {
		out, err := v.compare(f.Ranges, false)
		if err != nil {
			return err
		}
		r.count = max(r.count, v.t.records)
		for _, x := range out.ranges {
			if r.blind {
				x.Prints, x.Items = nil, nil
			}
			r.queue = append(r.queue, x)
		}
		for _, it := range out.differs {
			stub, err := r.stubAt(v, it.Place)
			if err != nil {
				return err
			}
			if !stub && (it.Heads != 0 || !r.blind) {
				r.differs = append(r.differs, want{place: it.Place})
				r.s.r.counters.differing.Add(1)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.next(ctx)
}

// stubAt leaves the record at the place if it was forgotten here.
func (r *run) stubAt(v *digestView, place uint64) (bool, error) {
	items, err := v.items(part{64, place})
	if err != nil || len(items) != 1 {
		return false, err
	}
	return r.stub(v.rd, &persist.Record{RID: items[0].rid}, &transport.Have{Key: items[0].key})
}

// takeNeed looks at what the peer said of each place, after its change sets were
// applied, and gives it what it lacks.
func (r *run) takeNeed(ctx context.Context, f *transport.Need) error {
	said := map[uint64][]transport.Have{}
	for _, h := range f.Haves {
		said[h.Place] = append(said[h.Place], h)
	}
	var push []transport.Have
	before, explained := len(r.differs), r.differing-r.open
	r.through, r.nearer = f.Behind, false
	err := r.s.r.store.Read(ctx, func(rd *persist.Reader) error {
		push = nil
		for i := range r.wanted {
			w := r.wanted[i]
			haves, ok := said[w.place]
			if !ok { // the answer did not get that far
				if len(f.Haves) == 0 && r.pushed > 0 && w.tries > 0 {
					w.tries-- // what the peer was given got lost
				}
				r.differs = append(r.differs, w)
				continue
			}
			for j := range haves {
				h := &haves[j]
				again, err := r.judge(rd, &w, h)
				if err != nil {
					return err
				}
				if again != nil {
					r.differs = append(r.differs, *again)
				}
				if again != nil && again.from == 0 && !r.blind && !r.names && (h.Clock != nil || h.Heads == 0) {
					push = append(push, *h)
				}
			}
		}
		return nil
	})
	if err != nil {
		return translate(err)
	}
	slices.SortStableFunc(r.differs[before:], func(a, b want) int { return cmp.Compare(a.from, b.from) })
	r.s.reach = max(r.s.reach, f.Log)
	switch {
	case r.progress || r.nearer:
		r.requests--
		r.idle = 0
	case len(push) > 0 || r.differing-r.open > explained:
		r.idle = 0
	}
	if len(push) == 0 {
		return r.next(ctx)
	}
	u, err := r.s.supply(ctx, r.of.and(r.s.sendScope()), &transport.Need{Haves: push})
	if err != nil {
		return err
	}
	for i := range r.differs {
		if w := &r.differs[i]; u.later[w.key] {
			w.tries-- // the peer was not given any of it
		}
	}
	r.s.keptBack(u)
	r.s.sentLoose(u)
	return r.next(ctx, loose(u, r.id+1)...)
}
