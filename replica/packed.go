package replica

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of packing.
const (
	packRoom = 1 << 16 // records that the packers of a replica keep beyond a few each
	packBack = 16      // changes of a record, from the last one back, that a short name may mean
)

// packs reports whether the peer takes packed frames.
func (s *session) packs() bool { return slices.Contains(s.them.Knows, transport.KnowsPack) }

// packer returns what packs the frames of this session; nil if none does.
func (s *session) packer() *transport.Packer {
	if !s.packs() {
		return nil
	}
	return transport.NewPacker(s.r.packRoom)
}

// unpack returns the frame as it was before it was packed; nil if there is nothing
// to be done with it, or one before it was lost: then a resend is asked for.
func (s *session) unpack(ctx context.Context, f *transport.Changes) (*transport.Changes, error) {
	if len(f.Packed) == 0 {
		return f, nil
	}
	f, err := s.unpacker.Unpack(f, func(k crdt.Key, prefix []byte) (crdt.Hash, bool) { return s.find(ctx, k, prefix) })
	if errors.Is(err, transport.ErrLost) {
		return nil, s.deliver(ctx, &delivery{}) // it fits nowhere
	}
	return f, err
}

// find returns the change of a record whose hash begins so. What is received and
// not committed yet is waited for.
func (s *session) find(ctx context.Context, k crdt.Key, prefix []byte) (crdt.Hash, bool) {
	h, ok := s.findStored(ctx, k, prefix)
	if ok {
		return h, true
	}
	behind := crdt.Cursor{Epoch: s.them.Epoch, LSN: -1} // and so of no effect
	if s.deliver(ctx, &delivery{from: behind, through: behind, applied: make(chan struct{})}) != nil {
		return h, false
	}
	return s.findStored(ctx, k, prefix)
}

func (s *session) findStored(ctx context.Context, k crdt.Key, prefix []byte) (h crdt.Hash, ok bool) {
	is := func(have crdt.Hash) bool {
		if bytes.HasPrefix(have[:], prefix) {
			h, ok = have, true
		}
		return ok
	}
	err := s.r.store.Read(ctx, func(rd *persist.Reader) error {
		rec, err := rd.Record(k)
		if err != nil || rec == nil || slices.ContainsFunc(rec.Heads, is) {
			return err
		}
		left := packBack
		for row, err := range rd.ChangesBack(rec.RID) {
			if left--; err != nil || left < 0 || is(row.Hash) {
				return err
			}
		}
		return nil
	})
	return h, ok && err == nil
}

// named returns the cursor that a bare acknowledgement means. The caller holds mu.
func (s *session) named(ctx context.Context, lsn crdt.LSN) (c crdt.Cursor, err error) {
	if lsn == s.acked.LSN {
		return s.acked, nil
	}
	for i := len(s.flight) - 1; i >= 0; i-- {
		if s.flight[i].through.LSN == lsn {
			return s.flight[i].through, nil
		}
	}
	c = crdt.Cursor{Epoch: s.r.epoch, LSN: lsn}
	if lsn < s.acked.LSN { // late, and of no interest
		return c, nil
	}
	err = s.r.store.Read(ctx, func(rd *persist.Reader) error {
		if at, ok := rd.CursorAt(lsn); ok {
			c = at
		}
		return nil
	})
	return c, err
}
