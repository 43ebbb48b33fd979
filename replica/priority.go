package replica

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what goes ahead.
const (
	aheadBytes = 2 << 20 // of changes between two pages of the log, the last set apart
	aheadSpans = 1 << 12 // stretches of the log that went ahead and whose turn has not come
	aheadScan  = 1 << 15 // rows of the log that are looked through in one read
	aheadBack  = 1 << 6  // changes of a record that are looked at to see whether its next one fits
)

// knowsAhead is the capability of a Hello whose sender understands Changes.Ahead.
const knowsAhead = "ahead"

// Priority has changes of these collections go before those of others, in both
// directions, while there is more to be exchanged than a page of the log (512 KiB): the
// whole change sets that touch them, also those written meanwhile, with a page of what
// else there is for each 2 MiB. A set whose records have changes that wait their turn
// waits with them.
//
// What went ahead counts as acknowledged when its turn in the log has come. A comparison
// of records, after a cursor was lost, has no order. Priority and MaxPerRun exclude each
// other: a run that only ever sent what is urgent would get nowhere. Give what is urgent
// a link of its own then, with Only.
func Priority(collections ...string) LinkOption {
	return func(t *terms) { t.urgent = append(t.urgent, collections...) }
}

// checkUrgent reports collections that are none, or too many.
func (t *terms) checkUrgent() error {
	if len(t.urgent) > 0 && t.plan.limit != (limit{}) {
		return fmt.Errorf("%w: Priority and MaxPerRun exclude each other: give what is urgent a link of its own, with Only", ErrSelector)
	}
	if len(t.urgent) > transport.MaxSelectors {
		return fmt.Errorf("%w: %d collections have priority, at most %d", ErrSelector, len(t.urgent), transport.MaxSelectors)
	}
	for _, name := range t.urgent {
		if err := (crdt.Key{Collection: name, ID: "1"}).Valid(); err != nil {
			return fmt.Errorf("%w: priority: %w", ErrSelector, err)
		}
	}
	return nil
}

// ahead is what of a session is sent before its turn. It belongs to the sender.
//
// Such sets go in loose frames, which say nothing of how far the log was sent, and are
// left out when their turn comes. So that one that gets lost is not left out for good,
// they are numbered, and each frame of the log names the last one that went before it:
// a receiver that lacks one has the log sent again, and then nothing is left out.
type ahead struct {
	first  []string // collections; none: nothing goes ahead
	looked crdt.LSN // to here the log was looked through for them
	gone   []span   // stretches that went ahead and whose turn has not come, ascending
	round  uint64   // begins anew with each resend
	number uint64   // of the last frame in this round
}

// aheadOf returns that of a session after its handshake.
func aheadOf(s *session) ahead {
	if !slices.Contains(s.them.Knows, knowsAhead) || s.compares() {
		return ahead{}
	}
	return ahead{first: append(slices.Clone(s.urgent), s.them.First...), round: 1}
}

// again forgets what went ahead, since the log is sent again.
func (a *ahead) again() {
	a.looked, a.gone, a.number = 0, nil, 0
	a.round++
}

// name names the last frame that went ahead, as a frame of the log does; 0: none did.
func (a *ahead) name() uint64 {
	if a.number == 0 {
		return 0
	}
	return a.round<<32 | a.number
}

// went reports whether the set at a position went ahead. Positions ascend.
func (a *ahead) went(lsn crdt.LSN) bool {
	for len(a.gone) > 0 && a.gone[0].to < lsn {
		a.gone = a.gone[1:]
	}
	return len(a.gone) > 0 && a.gone[0].from <= lsn
}

// has reports whether the row at a position, which may be any, went ahead.
func (a *ahead) has(lsn crdt.LSN) bool {
	i := sort.Search(len(a.gone), func(i int) bool { return a.gone[i].to >= lsn })
	return i < len(a.gone) && a.gone[i].from <= lsn
}

// add notes that the set of these rows goes ahead.
func (a *ahead) add(rows []persist.LogRow) {
	from, to := rows[0].LSN, rows[len(rows)-1].LSN
	if n := len(a.gone); n > 0 && a.gone[n-1].to+1 == from {
		a.gone[n-1].to = to
		return
	}
	a.gone = append(a.gone, span{from, to})
}

// overtake makes frames of urgent sets, if the log goes on behind the page that ends at
// a position and was not sent yet.
func (o *sender) overtake(ctx context.Context, page crdt.LSN) error {
	a := &o.ahead
	if len(a.first) == 0 || max(o.head, o.r.tail.end()) <= page {
		return nil
	}
	a.looked = max(a.looked, o.pos.LSN)
	var sets []transport.Set
	for bytes, more := 0, true; more && bytes <= aheadBytes && len(a.gone) < aheadSpans; {
		err := o.r.store.Read(ctx, func(rd *persist.Reader) error {
			until := min(a.looked+aheadScan, rd.Head().LSN)
			more = until > a.looked
			for lsn, err := range rd.RowsOf(a.first, a.looked, until) {
				if err != nil {
					return err
				}
				if lsn <= a.looked { // of the set before
					continue
				}
				set, err := o.early(rd, lsn)
				if err != nil {
					return err
				}
				if len(set.Members) == 0 {
					continue
				}
				sets = append(sets, set)
				if bytes += set.Size(); bytes > aheadBytes || len(a.gone) >= aheadSpans {
					return nil
				}
			}
			a.looked = max(a.looked, until)
			return nil
		})
		if err != nil {
			return translate(err)
		}
	}
	for _, f := range looseFrames(sets, looseAhead) {
		a.number++
		f.Ahead, f.Reach = a.name(), a.gone[len(a.gone)-1].to
		o.frames = append(o.frames, split(f)...)
	}
	return nil
}

// looseAhead stands in Changes.Loose of what goes ahead: it answers nothing.
const looseAhead = 1<<64 - 1

// early returns the set of the row at a position if it can go ahead, else none, and
// notes how far the log was looked through.
func (o *sender) early(rd *persist.Reader, lsn crdt.LSN) (set transport.Set, err error) {
	rows, err := rd.SetAt(lsn)
	if err != nil || len(rows) == 0 {
		return set, err
	}
	o.ahead.looked = rows[len(rows)-1].LSN
	if rows[0].LSN <= o.pos.LSN || o.held(&rows[0]) {
		return set, nil
	}
	for i := range rows {
		if fits, err := o.fits(rd, rows[0].LSN, rows[i].LSN); err != nil || !fits {
			return set, err
		}
	}
	if o.refusedOf(rows) { // whether it is offered again is seen in its turn
		return set, nil
	}
	carries, damaged, err := carried(o.r, rd, o.out, rows)
	if err != nil || damaged != nil || len(carries.Members) == 0 { // of what is damaged its turn tells
		return set, err
	}
	o.ahead.add(rows)
	return carries, nil
}

// fits reports whether the peer has, or was sent, all of the record that stands in the
// log before the row at lsn, in a set that begins at from.
func (o *sender) fits(rd *persist.Reader, from, lsn crdt.LSN) (bool, error) {
	at, _, err := rd.RowBefore(lsn)
	for range aheadBack {
		if err != nil || at <= o.pos.LSN || at >= from || o.ahead.has(at) {
			return err == nil, err
		}
		before, source, err := rd.RowBefore(at)
		if err != nil || source < 0 || !o.held(&persist.LogRow{LSN: at, Source: source}) {
			return false, err
		}
		at = before
	}
	return false, nil
}

// came is what of the peer's came before its turn.
type came struct {
	name  uint64   // of the last frame without a gap before it, see transport.Changes
	reach crdt.LSN // the highest position of it in the peer's log
	doubt bool     // the file says that the peer is in doubt for that alone; for the writer goroutine
}

// note counts a frame that came ahead.
func (c *came) note(name uint64) {
	if name == c.name+1 || name>>32 > c.name>>32 && name&(1<<32-1) == 1 {
		c.name = name
	}
}

// all reports whether what a frame of the log names is here.
func (c *came) all(name uint64) bool {
	return name == 0 || name <= c.name && name>>32 == c.name>>32
}
