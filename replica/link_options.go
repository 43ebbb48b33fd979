package replica

import (
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// ErrSelector is wrapped by errors about what a link is to carry.
var ErrSelector = errors.New("bad selector")

// LinkOption says what a link carries, less than everything, or when: see Every.
type LinkOption func(*terms)

// Only has the link carry the records of a scope, in both directions. A condition
// on fields (Selector.Where) is evaluated by whoever sends, on its own view: a
// record that no longer meets it stays where it is and is not updated any more.
func Only(scope transport.Scope) LinkOption {
	return func(t *terms) { t.want, t.push = t.want.And(scope), t.push.And(scope) }
}

// PushOnly has the link send and not receive.
func PushOnly() LinkOption { return func(t *terms) { t.want = transport.Scope{} } }

// PullOnly has the link receive and not send.
func PullOnly() LinkOption { return func(t *terms) { t.push = transport.Scope{} } }

// dialTerms are those of a session that this side opens.
func dialTerms(link transport.Link, opts []LinkOption) (terms, error) {
	t := terms{link: link.String(), grant: transport.FullGrant(), want: transport.Everything(), push: transport.Everything()}
	for _, o := range opts {
		o(&t)
	}
	if t.want.None() && t.push.None() {
		return t, fmt.Errorf("%w: nothing would be sent nor received", ErrSelector)
	}
	if err := t.plan.check(); err != nil {
		return t, err
	}
	if err := t.checkUrgent(); err != nil {
		return t, err
	}
	for _, s := range []transport.Scope{t.want, t.push} {
		if err := checkScope(s); err != nil {
			return t, err
		}
	}
	return t, nil
}

// checkScope reports what a peer would not understand.
func checkScope(s transport.Scope) error {
	if s.All {
		return nil
	}
	if len(s.Only) > transport.MaxSelectors {
		return fmt.Errorf("%w: %d selectors, at most %d", ErrSelector, len(s.Only), transport.MaxSelectors)
	}
	for _, sel := range s.Only {
		if len(sel.Where) > transport.MaxWhere {
			return fmt.Errorf("%w: %d conditions, at most %d", ErrSelector, len(sel.Where), transport.MaxWhere)
		}
		for _, w := range sel.Where {
			if _, err := crdt.ParsePath(w.Field); err != nil {
				return fmt.Errorf("%w: %w", ErrSelector, err)
			}
			if _, err := crdt.ParseJSON([]byte(w.Value)); err != nil {
				return fmt.Errorf("%w: value of %s: %w", ErrSelector, w.Field, err)
			}
		}
	}
	return nil
}
