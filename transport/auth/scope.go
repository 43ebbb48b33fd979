package auth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// ParseScope returns the scope that selectors name together: "*" is everything,
// "collection" and "collection/prefix" are what they say, "*/prefix" is the ids of
// every collection that begin with prefix. No selectors are the scope of nothing.
// Their order and what others cover is of no matter: the same rights give the
// same scope, and hash.
func ParseScope(selectors []string) (transport.Scope, error) {
	var scope transport.Scope
	for _, text := range selectors {
		sel, err := parseSelector(text)
		if err != nil {
			return transport.Scope{}, err
		}
		if sel.Collection == "" && sel.Prefix == "" {
			scope.All = true
		}
		scope.Only = append(scope.Only, sel)
	}
	if scope.All {
		return transport.Everything(), nil
	}
	scope.Only = distinct(scope.Only)
	return scope, nil
}

func parseSelector(text string) (sel transport.Selector, err error) {
	sel.Collection, sel.Prefix, _ = strings.Cut(text, "/")
	if sel.Collection == "" {
		return sel, errors.New(`a selector names no collection: want COLLECTION, COLLECTION/PREFIX or *`)
	}
	key := crdt.Key{Collection: sel.Collection, ID: cmp.Or(sel.Prefix, "-")}
	if sel.Collection == "*" {
		sel.Collection = ""
	}
	if err := key.Valid(); err != nil {
		return sel, fmt.Errorf("selector %q: %w", clip(text), err)
	}
	return sel, nil
}

// distinct sorts selectors and drops those that another covers. A selector that
// covers another comes before it, in its collection or in the one of all.
func distinct(all []transport.Selector) []transport.Selector {
	slices.SortFunc(all, func(a, b transport.Selector) int {
		return cmp.Or(strings.Compare(a.Collection, b.Collection), strings.Compare(a.Prefix, b.Prefix))
	})
	var kept []transport.Selector
	for _, sel := range all {
		covered := slices.ContainsFunc(kept, func(k transport.Selector) bool {
			return (k.Collection == "" || k.Collection == sel.Collection) && strings.HasPrefix(sel.Prefix, k.Prefix)
		})
		if !covered {
			kept = append(kept, sel)
		}
	}
	return kept
}
