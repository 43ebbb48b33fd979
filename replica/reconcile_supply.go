package replica

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what is sent at once in answer to a Need.
const (
	supplyBytes = 2 << 20 // of changes, the last set apart
	supplyRows  = 1 << 16 // of the log, those of the last record apart, which the bytes bound
	samePlace   = 8       // records at one place: a second one there is somebody's work
)

// supply is what one side has for the other, and how both stand.
type supply struct {
	s       *session
	rd      *persist.Reader
	of      *carry
	names   bool
	asked   bool     // by the peer, and not pushed
	log     crdt.LSN // the end of this side's
	behind  crdt.LSN // what lies before was sent already
	through crdt.LSN // how far the rows were gathered
	until   crdt.LSN // unless 0, the end of what rows holds of all the records
	haves   []transport.Have
	rows    map[crdt.LSN]int  // of the log, to be sent: the index in haves
	later   map[crdt.Key]bool // of which nothing was gathered, since the rest is enough at once
	sets    []transport.Set
	bytes   int
}

// supply answers a Need, as far as it goes at once: haves says for which records.
// What is not covered is answered like what does not exist.
func (s *session) supply(ctx context.Context, of *carry, f *transport.Need) (*supply, error) {
	u := &supply{s: s, of: of, names: f.Names || s.compares(), asked: f.ID != 0, behind: f.Behind, rows: map[crdt.LSN]int{}, later: map[crdt.Key]bool{}}
	asked, err := s.resolve(ctx, of, f.Haves)
	if err != nil {
		return u, err
	}
	err = s.r.store.Read(ctx, func(rd *persist.Reader) error {
		u.rd, u.log = rd, rd.Head().LSN
		for i := range asked {
			if err := u.record(&asked[i]); err != nil {
				return err
			}
			if len(u.rows) > supplyRows {
				break
			}
		}
		return u.gather()
	})
	return u, translate(err)
}

// resolve finds the names of those that were asked for by their place.
func (s *session) resolve(ctx context.Context, of *carry, asked []transport.Have) (named []transport.Have, err error) {
	unnamed := func(h transport.Have) bool { return h.Key == crdt.Key{} }
	if !slices.ContainsFunc(asked, unnamed) {
		return asked, nil
	}
	err = s.r.digest(ctx, of, func(v *digestView) error {
		for _, h := range asked {
			if !unnamed(h) {
				named = append(named, h)
				continue
			}
			items, err := v.items(part{64, h.Place})
			if err != nil {
				return err
			}
			if len(items) == 0 {
				named = append(named, h)
			}
			for _, it := range items[:min(len(items), samePlace)] {
				h.Key = it.key
				named = append(named, h)
			}
		}
		return nil
	})
	return named[:min(len(named), transport.MaxHaves)], err
}

// record finds what the other side lacks of a record, and whether this one does.
func (u *supply) record(h *transport.Have) error {
	k := h.Key
	if k == (crdt.Key{}) {
		u.haves = append(u.haves, transport.Have{Place: h.Place})
		return nil
	}
	in, err := u.of.holds(u.s.r, u.rd, k)
	if err != nil || !in {
		u.haves = append(u.haves, transport.Have{Key: k, Place: placeOf(k)})
		return err
	}
	if purged, err := isPurged(u.rd, k); err != nil || purged {
		u.haves = append(u.haves, transport.Have{Key: k, Place: placeOf(k), Shut: purged})
		return err
	}
	rec, err := u.rd.Record(k)
	if err != nil {
		return err
	}
	have := transport.Have{Key: k, Place: placeOf(k), Heads: headsPrint(rec)}
	if rec != nil && (have.Heads != h.Heads || u.names) {
		if u.names || !rec.Clock.Covers(h.Clock) {
			have.Clock = rec.Clock
		}
		have.Shut = !u.s.mayWrite(k)
	}
	if rec != nil {
		switch err := isForgotten(u.rd, rec.RID); {
		case errors.Is(err, ErrForgotten):
			have.Gone = true
		case err != nil:
			return err
		}
	}
	u.haves = append(u.haves, have)
	if rec == nil || have.Gone || u.names || have.Heads == h.Heads {
		return nil
	}
	return u.changes(rec, h, len(u.haves)-1)
}

// changes notes the rows of the log that the other side's clock does not cover, or all
// of them. Of more than is enough at once the oldest are noted: they go first.
func (u *supply) changes(rec *persist.Record, h *transport.Have, index int) error {
	missing := beyond(rec.Clock, h.Clock)
	if missing == 0 && !h.All {
		return nil
	}
	type found struct {
		lsn   crdt.LSN
		bytes int
	}
	var rows []found // from the last one back
	bytes, more := 0, false
	for row, err := range u.rd.ChangesBack(rec.RID) {
		if err != nil {
			return err
		}
		if row.LSN <= u.behind {
			break
		}
		c, err := crdt.ParseChange(row.Data)
		if err != nil { // damaged here: not ours to pass on
			row.Key = rec.Key
			if x := damagedOf([]persist.LogRow{row}, func(*persist.LogRow) bool { return true }); x != nil {
				u.s.damaged(x)
			}
			continue
		}
		lacks := c.Seq() > h.Clock[c.Actor()]
		if lacks || h.All {
			rows = append(rows, found{row.LSN, len(row.Data)})
			bytes += len(row.Data)
			for bytes-rows[0].bytes > supplyBytes {
				bytes -= rows[0].bytes
				rows, more = rows[1:], true
			}
		}
		if lacks {
			missing--
		}
		if missing == 0 && !h.All {
			break
		}
	}
	for _, row := range rows {
		u.rows[row.lsn] = index
	}
	if more {
		u.haves[index].All = true
		u.until = min(rows[0].lsn, cmp.Or(u.until, rows[0].lsn))
	}
	return nil
}

// gather makes sets of the rows, in the order of the log, until they are enough.
func (u *supply) gather() error {
	lsns := slices.Sorted(maps.Keys(u.rows))
	for i := 0; i < len(lsns); i++ {
		if u.bytes > supplyBytes || u.until > 0 && lsns[i] > u.until {
			for _, lsn := range lsns[i:] {
				h := &u.haves[u.rows[lsn]]
				h.All, u.later[h.Key] = true, true
			}
			for _, lsn := range lsns[:i] {
				delete(u.later, u.haves[u.rows[lsn]].Key)
			}
			return nil
		}
		var err error
		if u.through, err = u.set(lsns[i]); err != nil {
			return err
		}
		for i+1 < len(lsns) && lsns[i+1] <= u.through {
			i++
		}
	}
	return nil
}

// set adds the whole set that the row belongs to, but for what is not covered.
func (u *supply) set(lsn crdt.LSN) (through crdt.LSN, err error) {
	rows, err := u.rd.SetAt(lsn)
	if err != nil || len(rows) == 0 {
		return lsn, err
	}
	if may, err := u.s.offers(u.rd, rows, u.asked); err != nil || !may {
		for i := range rows {
			if index, ok := u.rows[rows[i].LSN]; ok {
				u.haves[index].Kept = true
			}
		}
		return rows[len(rows)-1].LSN, err
	}
	set, damaged, err := carried(u.s.r, u.rd, u.of, rows)
	if err != nil {
		return lsn, err
	}
	if damaged != nil { // what is left of a set is none
		u.s.damaged(damaged)
		return rows[len(rows)-1].LSN, nil
	}
	if len(set.Members) > 0 && !(bug(bugNeedForgets) && rows[0].Hash[0] < 128) {
		u.sets = append(u.sets, set)
		u.bytes += set.Size()
	}
	return rows[len(rows)-1].LSN, nil
}

// carried returns the set of those of the rows that are carried, and what of it is
// damaged in this file, nil if nothing is.
func carried(r *Replica, rd *persist.Reader, of *carry, rows []persist.LogRow) (set transport.Set, damaged *transport.Exception, err error) {
	kept := map[crdt.LSN]bool{}
	set = setOf(rows, func(row *persist.LogRow) bool {
		if !shown(row) || err != nil {
			return false
		}
		kept[row.LSN], err = of.holds(r, rd, row.Key)
		return kept[row.LSN]
	})
	return set, damagedOf(rows, func(row *persist.LogRow) bool { return kept[row.LSN] }), err
}

// looseFrames packs sets into frames that are no stretch of the log.
func looseFrames(sets []transport.Set, id uint64) (all []*transport.Changes) {
	f, size := &transport.Changes{Loose: id}, 0
	for _, set := range sets {
		bytes := set.Size()
		if size > 0 && (size+bytes > frameBytes || len(f.Sets) == setsPerFrame) {
			all = append(all, f)
			f, size = &transport.Changes{Loose: id}, 0
		}
		f.Sets = append(f.Sets, set)
		size += bytes
	}
	if len(f.Sets) > 0 {
		all = append(all, f)
	}
	return all
}
