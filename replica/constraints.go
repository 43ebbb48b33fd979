package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// MaxConstraints bounds the constraints of one collection.
const MaxConstraints = 64

// Constraints say what should hold of a collection's records and what merging can
// break: two replicas can each make a record with the same name, or one deletes
// what the other begins to refer to. Nothing is refused for them. Violations lists
// where they do not hold, so that somebody can repair it.
//
// Fields are paths of keys, like "email" or "address.street".
type Constraints struct {
	Unique     []string    `json:"unique,omitempty"`     // no two records show the same value
	References []Reference `json:"references,omitempty"` // what the field names is there
}

// Reference is a field that holds the id of a record of another collection, or a
// list of them.
type Reference struct {
	Field      string `json:"field"`
	Collection string `json:"collection"`
}

// The constraints of a collection are a record of the reserved collection, so all
// replicas of the space have the same. It is flat, {"unique:FIELD":true,
// "references:FIELD":COLLECTION}, so that what is declared at the same time on
// different replicas merges: of two maps that are made at the same time one wins.
const (
	constraintsPrefix = "constraints-"
	uniquePrefix      = "unique:"
	referencesPrefix  = "references:"
)

func constraintsKey(collection string) crdt.Key {
	return crdt.Key{Collection: reserved, ID: constraintsPrefix + collection}
}

// SetConstraints declares the collection's constraints, on every replica of the
// space, in place of those that were. Errors say which field or collection is no
// such thing.
func (r *Replica) SetConstraints(ctx context.Context, collection string, c Constraints) error {
	fields, err := c.check(collection)
	if err != nil {
		return fmt.Errorf("constrain %s: %w", collection, err)
	}
	return r.Update(ctx, func(tx *Tx) error {
		return tx.edit(constraintsKey(collection), func(e *crdt.Edit) error { return e.Put(nil, fields, crdt.Replace) })
	})
}

// check returns the fields that are stored.
func (c Constraints) check(collection string) (map[string]any, error) {
	s := map[string]any{}
	if err := (crdt.Key{Collection: collection, ID: "-"}).Valid(); err != nil {
		return s, err
	}
	if strings.HasPrefix(collection, "_") {
		return s, ErrReserved
	}
	if len(c.Unique)+len(c.References) > MaxConstraints {
		return s, fmt.Errorf("%d constraints, at most %d are allowed", len(c.Unique)+len(c.References), MaxConstraints)
	}
	for _, f := range c.Unique {
		field, err := constraintField(f)
		if err != nil {
			return s, err
		}
		s[uniquePrefix+field.String()] = true
	}
	for _, ref := range c.References {
		field, err := constraintField(ref.Field)
		if err != nil {
			return s, err
		}
		if err := (crdt.Key{Collection: ref.Collection, ID: "-"}).Valid(); err != nil {
			return s, err
		}
		name := referencesPrefix + field.String()
		if other, ok := s[name]; ok && other != ref.Collection {
			return s, fmt.Errorf("field %s refers to two collections, %s and %s", field, other, ref.Collection)
		}
		s[name] = ref.Collection
	}
	return s, nil
}

func constraintField(s string) (crdt.Path, error) {
	p, err := crdt.ParsePath(s)
	if err == nil && len(p) == 0 {
		err = errors.New("the field is empty")
	}
	if err == nil {
		_, err = persist.JSONPath(p)
	}
	return p, err
}

// Constraints returns what is declared for a collection, by field.
func (r *Replica) Constraints(ctx context.Context, collection string) (c Constraints, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		c, err = r.constraints(rd, collection)
		return err
	})
	if err != nil {
		err = &Error{Op: "constraints of " + collection, Err: translate(err)}
	}
	return c, err
}

// constraints reads what is declared. What is not well-formed, which another
// program may have written, does not count.
func (r *Replica) constraints(rd *persist.Reader, collection string) (c Constraints, err error) {
	text, err := r.stored(rd, constraintsKey(collection))
	if err != nil || text == nil {
		return c, err
	}
	tree, err := crdt.ParseJSON(text)
	if err != nil {
		return c, err
	}
	fields, _ := tree.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		var one Constraints
		v := fields[key]
		to, _ := v.(string)
		if field, ok := strings.CutPrefix(key, uniquePrefix); ok && v == true {
			one.Unique = []string{field}
		} else if field, ok := strings.CutPrefix(key, referencesPrefix); ok && to != "" {
			one.References = []Reference{{Field: field, Collection: to}}
		}
		if _, err := one.check("-"); err != nil || len(c.Unique)+len(c.References) == MaxConstraints {
			continue
		}
		c.Unique = append(c.Unique, one.Unique...)
		c.References = append(c.References, one.References...)
	}
	return c, nil
}
