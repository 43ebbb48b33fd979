package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/crdt"
)

// The types of arguments. What they refuse is wrong usage.

// recordArg is COLLECTION/ID.
type recordArg struct{ crdt.Key }

// UnmarshalText reads COLLECTION/ID.
func (a *recordArg) UnmarshalText(text []byte) error {
	collection, id, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("%q names no record: want COLLECTION/ID", text)
	}
	a.Key = crdt.Key{Collection: collection, ID: id}
	return a.Valid()
}

// collectionArg is COLLECTION.
type collectionArg string

// UnmarshalText reads COLLECTION.
func (a *collectionArg) UnmarshalText(text []byte) error {
	*a = collectionArg(text)
	return crdt.Key{Collection: string(text), ID: "-"}.Valid()
}

// targetArg is COLLECTION or COLLECTION/ID.
type targetArg struct{ crdt.Key } // ID is "" for a whole collection

// UnmarshalText reads COLLECTION or COLLECTION/ID.
func (a *targetArg) UnmarshalText(text []byte) error {
	if strings.Contains(string(text), "/") {
		return (*recordArg)(a).UnmarshalText(text)
	}
	a.Collection = string(text)
	return (*collectionArg)(&a.Collection).UnmarshalText(text)
}

// pathArg is the path of a field.
type pathArg struct{ crdt.Path }

// UnmarshalText reads a path as crdt.ParsePath does.
func (a *pathArg) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		return errors.New("the path is empty")
	}
	a.Path, err = crdt.ParsePath(string(text))
	return err
}

// resolverArg is the name of a resolver.
type resolverArg string

// UnmarshalText takes the names that a policy takes.
func (a *resolverArg) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return fmt.Errorf("the resolver is empty: there are %s", strings.Join(crdt.Resolvers(), ", "))
	}
	*a = resolverArg(text)
	_, err := crdt.Policy{Default: string(text)}.View(crdt.ReplicaID{})
	return err
}

// ruleArg is [FIELD=]RESOLVER; without a field it is a collection's default.
type ruleArg crdt.FieldPolicy

// UnmarshalText reads [FIELD=]RESOLVER. Fields may hold = themselves, and so may a
// separator: the first = that leaves a field and a resolver counts.
func (a *ruleArg) UnmarshalText(text []byte) error {
	rule := string(text)
	whole := new(resolverArg).UnmarshalText(text)
	if whole == nil {
		a.Field, a.Resolver = "", rule
		return nil
	}
	for i := range rule {
		if rule[i] != '=' {
			continue
		}
		f := crdt.FieldPolicy{Field: rule[:i], Resolver: rule[i+1:]}
		if _, err := (crdt.Policy{Fields: []crdt.FieldPolicy{f}}).View(crdt.ReplicaID{}); err == nil && f.Resolver != "" {
			*a = ruleArg(f)
			return nil
		}
	}
	i := strings.LastIndexByte(rule, '=')
	switch {
	case i < 0:
		return whole
	case i == 0:
		return fmt.Errorf("%q: the field is empty", text)
	}
	if err := new(resolverArg).UnmarshalText([]byte(rule[i+1:])); err != nil {
		return err
	}
	_, err := crdt.Policy{Fields: []crdt.FieldPolicy{{Field: rule[:i], Resolver: rule[i+1:]}}}.View(crdt.ReplicaID{})
	return err
}
