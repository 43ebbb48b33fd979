package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// ErrPoint is wrapped by the error of Point for what names no point in time.
var ErrPoint = errors.New("no such point in its history")

// Point returns the heads that a text names: heads in hex with commas between
// them, a time (RFC 3339, or milliseconds since 1970: see crdt.History.HeadsAt),
// or a tag of the record. "" is the record as it is. The error is ErrPoint, or
// crdt.ErrUnknownChange for heads that are not held.
func (r *Replica) Point(ctx context.Context, k crdt.Key, s string) (crdt.Heads, error) {
	heads, err := r.point(ctx, k, s)
	return heads, recordError("look up", k, err)
}

func (r *Replica) point(ctx context.Context, k crdt.Key, s string) (crdt.Heads, error) {
	h, _, err := r.historyUnder(ctx, k)
	if err != nil {
		return nil, err
	}
	if s == "" {
		return h.Heads(), nil
	}
	if ms, ok := parseTime(s); ok {
		return h.HeadsAt(ms), nil
	}
	heads, ok := parseHeads(s)
	if !ok {
		tags, err := r.tags(ctx, k)
		if err != nil {
			return nil, err
		}
		if heads, ok = tags[s]; !ok {
			return nil, fmt.Errorf("%w: %q is no heads (64 hex digits each, commas between them), no time "+
				"(as 2026-01-02T15:04:05Z, or milliseconds since 1970), and no tag; %s", ErrPoint, s, listTags(tags))
		}
	}
	for _, hash := range heads {
		if !h.Has(hash) {
			return nil, fmt.Errorf("%w: %s", crdt.ErrUnknownChange, hash)
		}
	}
	return heads, nil
}

func parseTime(s string) (ms int64, ok bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UnixMilli(), true
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil && n < crdt.MaxTime && len(s) < 20 // a hash may be all digits
}

func parseHeads(s string) (heads crdt.Heads, ok bool) {
	for part := range strings.SplitSeq(s, ",") {
		h, err := crdt.ParseHash(part)
		if err != nil {
			return nil, false
		}
		heads = append(heads, h)
	}
	return heads, true
}

// GetAt returns the record's value as of the given heads as JSON, under the
// collection's policy of today. ErrNotFound if there was none then.
func (r *Replica) GetAt(ctx context.Context, k crdt.Key, heads crdt.Heads) (json.RawMessage, error) {
	h, v, err := r.historyUnder(ctx, k)
	if err != nil {
		return nil, recordError("get", k, err)
	}
	b, err := valueAt(h, heads, v)
	return b, recordError("get", k, err)
}

// ViewAt returns the record's value as of the given heads as JSON, under the given
// policy. ErrNotFound if there was none then.
func (r *Replica) ViewAt(ctx context.Context, k crdt.Key, heads crdt.Heads, p crdt.Policy) (json.RawMessage, error) {
	v, err := r.compile(p)
	if err != nil {
		return nil, recordError("view", k, err)
	}
	h, err := r.History(ctx, k)
	if err != nil {
		return nil, err
	}
	b, err := valueAt(h, heads, v)
	return b, recordError("view", k, err)
}

func valueAt(h *crdt.History, heads crdt.Heads, v *crdt.View) ([]byte, error) {
	h, err := h.At(heads)
	if err != nil {
		return nil, err
	}
	if !h.Shows(v) {
		return nil, fmt.Errorf("%w at that point", ErrNotFound)
	}
	return h.AppendJSON(nil, v)
}

// Diff returns what differs between two points in a record's history, as the
// collection's policy shows it.
func (r *Replica) Diff(ctx context.Context, k crdt.Key, from, to crdt.Heads) ([]crdt.Difference, error) {
	h, v, err := r.historyUnder(ctx, k)
	if err != nil {
		return nil, recordError("diff", k, err)
	}
	diffs, err := h.Diff(from, to, v)
	return diffs, recordError("diff", k, err)
}

// Blame returns who last set each value at a path and below it, as the
// collection's policy shows it; the empty path is the whole record.
func (r *Replica) Blame(ctx context.Context, k crdt.Key, p crdt.Path) ([]crdt.Blame, error) {
	h, v, err := r.historyUnder(ctx, k)
	if err != nil {
		return nil, recordError("blame", k, err)
	}
	all, err := h.Blame(p, v)
	return all, recordError("blame", k, err)
}

// historyUnder returns a record's history and its collection's policy.
func (r *Replica) historyUnder(ctx context.Context, k crdt.Key) (h *crdt.History, v *crdt.View, err error) {
	if err := k.Valid(); err != nil {
		return nil, nil, err
	}
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		rec, err := recordOf(rd, k)
		if err == nil {
			err = missing(rd, k, rec)
		}
		if err != nil {
			return err
		}
		policy, err := r.loadView(rd, k.Collection)
		if err != nil {
			return err
		}
		v = policy.View
		h, err = loadHistory(rd, rec)
		return err
	})
	return h, v, translate(err)
}

// Revert undoes in the record what one change did, as crdt.Edit.Revert does; kept
// says where somebody has written since, and nothing was reverted.
func (tx *Tx) Revert(k crdt.Key, change crdt.Hash) (kept []crdt.Path, err error) {
	err = tx.Edit(k, func(e *crdt.Edit) error {
		kept, err = e.Revert(change)
		return err
	})
	return kept, err
}

// Undo reverts the latest change that this replica made to the record and has not
// undone, as crdt.Edit.Undo does; it has to be the first edit of the record in its
// Update. The change's message says what was undone, whatever SetMessage says.
func (tx *Tx) Undo(k crdt.Key) (undone crdt.Hash, kept []crdt.Path, err error) {
	err = tx.Edit(k, func(e *crdt.Edit) error {
		undone, kept, err = e.Undo()
		return err
	})
	return undone, kept, err
}

// Redo reverts the latest Undo; the rest is as with Undo.
func (tx *Tx) Redo(k crdt.Key) (redone crdt.Hash, kept []crdt.Path, err error) {
	err = tx.Edit(k, func(e *crdt.Edit) error {
		redone, kept, err = e.Redo()
		return err
	})
	return redone, kept, err
}
