package replica

import (
	"context"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Outside counts the records here that a link with Only(scope) does not carry as they
// are now: what is left when a selector is narrowed. godwit's own are not counted.
func (r *Replica) Outside(ctx context.Context, scope transport.Scope) (n int64, err error) {
	for _, err := range r.OutsideKeys(ctx, scope) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// OutsideKeys yields what Outside counts, for Forget. It is no snapshot.
func (r *Replica) OutsideKeys(ctx context.Context, scope transport.Scope) iter.Seq2[crdt.Key, error] {
	return func(yield func(crdt.Key, error) bool) {
		c, err := carryOf(scope)
		if err != nil {
			yield(crdt.Key{}, err)
			return
		}
		names, err := r.Collections(ctx)
		if err != nil {
			yield(crdt.Key{}, err)
			return
		}
		for _, name := range names {
			if name == reserved {
				continue
			}
			for it, err := range r.List(ctx, name, 0) {
				in := c.covers(it.Key)
				if err == nil && in && c.depends(it.Key) {
					in, err = c.shows(it.Key, it.Value)
				}
				if err != nil {
					yield(crdt.Key{}, err)
					return
				}
				if !in && !yield(it.Key, nil) {
					return
				}
			}
		}
	}
}
