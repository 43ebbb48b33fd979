package replica

import (
	"math/bits"
	"slices"

	"github.com/godwitdb/godwit/transport"
)

// Bounds of one comparison.
const (
	fewItems    = 2 * leafItems // a part of at most so many is listed
	mostPrints  = 1 << 12       // of a request
	mostItems   = 1 << 13       // likewise
	finerPrints = 1 << 15       // of an answer, about: half a MiB
)

// compared is what comparing a peer's ranges with this side's items gives.
type compared struct {
	ranges  []transport.Range // this side's, of the parts that differ
	differs []transport.Item  // what the peer lists and is not the same here, with its heads; 0 for what it does not have
}

// compare holds ranges against this side's items. Of parts that differ it gives
// finer prints, or the items if they are few; listed says whether a list of the
// peer's is answered by one too, or else by the differences.
func (v *digestView) compare(ranges []transport.Range, listed bool) (out compared, err error) {
	parts, err := v.unequal(ranges, &out, listed)
	if err != nil {
		return out, err
	}
	fan := uint8(transport.MaxFan)
	if n := len(parts); n > 0 {
		fan = min(fan, uint8(max(bits.Len(uint(finerPrints/n)), 2))-1)
	}
	for _, p := range parts {
		r, err := v.describe(p, fan)
		if err != nil {
			return out, err
		}
		out.ranges = append(out.ranges, r)
	}
	return out, nil
}

// unequal returns the parts of which more has to be said.
func (v *digestView) unequal(ranges []transport.Range, out *compared, listed bool) (parts []part, err error) {
	for i := range ranges {
		r := &ranges[i]
		p := part{r.Bits, r.Prefix}
		if len(r.Prints) == 0 {
			same, err := v.compareItems(p, r.Items, out, listed)
			if err != nil {
				return nil, err
			}
			if !same && listed {
				parts = append(parts, p)
			}
			continue
		}
		fan := uint8(bits.Len(uint(len(r.Prints))) - 1)
		own, err := v.prints(p, fan)
		if err != nil {
			return nil, err
		}
		for i := range own {
			if own[i] != r.Prints[i] && !(bug(bugSkipRange) && i%8 == 3) {
				parts = append(parts, p.child(fan, i))
			}
		}
	}
	return parts, nil
}

// compareItems reports whether the items of a part are the same here. Unless listed
// is set it collects those that are not.
func (v *digestView) compareItems(p part, theirs []transport.Item, out *compared, listed bool) (same bool, err error) {
	own, err := v.items(p)
	if err != nil {
		return false, err
	}
	if listed {
		same = slices.EqualFunc(own, theirs, func(a placed, b transport.Item) bool { return a.Item == b })
		return same, nil
	}
	for len(own) > 0 || len(theirs) > 0 {
		switch {
		case len(theirs) == 0 || len(own) > 0 && own[0].Place < theirs[0].Place:
			out.differs = append(out.differs, transport.Item{Place: own[0].Place})
			own = own[1:]
		case len(own) == 0 || theirs[0].Place < own[0].Place:
			out.differs = append(out.differs, theirs[0])
			theirs = theirs[1:]
		default:
			if own[0].Heads != theirs[0].Heads {
				out.differs = append(out.differs, theirs[0])
			}
			own, theirs = own[1:], theirs[1:]
		}
	}
	return true, nil
}

// describe gives the items of a part if they are few, else its prints.
func (v *digestView) describe(p part, fan uint8) (transport.Range, error) {
	r := transport.Range{Bits: p.bits, Prefix: p.prefix}
	n := v.count(p)
	if n <= fewItems || p.bits == 64 {
		items, err := v.items(p)
		r.Items = make([]transport.Item, len(items))
		for i := range items {
			r.Items[i] = items[i].Item
		}
		return r, err
	}
	fan = min(fan, uint8(bits.Len(uint(n/leafItems))), 64-p.bits)
	var err error
	r.Prints, err = v.prints(p, fan)
	return r, err
}
