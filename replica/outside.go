package replica

import (
	"context"

	"github.com/godwitdb/godwit/transport"
)

// Outside counts the records here that a link with Only(scope) does not carry as they
// are now: what is left when a selector is narrowed. godwit's own are not counted.
func (r *Replica) Outside(ctx context.Context, scope transport.Scope) (n int64, err error) {
	c, err := carryOf(scope)
	if err != nil {
		return 0, err
	}
	names, err := r.Collections(ctx)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if name == reserved {
			continue
		}
		for it, err := range r.List(ctx, name, 0) {
			if err != nil {
				return 0, err
			}
			in := c.covers(it.Key)
			if in && c.depends(it.Key) {
				if in, err = c.shows(it.Key, it.Value); err != nil {
					return 0, err
				}
			}
			if !in {
				n++
			}
		}
	}
	return n, nil
}
