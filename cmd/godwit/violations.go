package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/replica"
)

// referenceArg is FIELD=COLLECTION.
type referenceArg replica.Reference

// UnmarshalText reads FIELD=COLLECTION. Fields may hold = themselves.
func (a *referenceArg) UnmarshalText(text []byte) error {
	i := strings.LastIndexByte(string(text), '=')
	if i < 0 {
		return fmt.Errorf("%q: want FIELD=COLLECTION", text)
	}
	var name collectionArg
	if err := name.UnmarshalText(text[i+1:]); err != nil {
		return err
	}
	a.Field, a.Collection = string(text[:i]), string(name)
	return new(pathArg).UnmarshalText(text[:i])
}

type constrainCmd struct {
	Collection collectionArg  `arg:"" help:"The collection."`
	Unique     []pathArg      `sep:"none" placeholder:"FIELD" help:"No two records are to have the same value here. May be repeated."`
	References []referenceArg `sep:"none" placeholder:"FIELD=COLLECTION" help:"The value, or each one of a list, is to be the ID of a record there. May be repeated."`
	None       bool           `help:"Remove all constraints."`
}

// Help is shown by --help.
func (constrainCmd) Help() string {
	return `Without flags, prints the collection's constraints; with them, sets them as a whole, for every replica of the space.

Merging can break what each replica kept to: two make a user with the same address, or one deletes a user to whom the
other gives a note. No write is ever refused for it; violations lists what is to be repaired.

    godwit constrain users --unique email
    godwit constrain notes --references author=users --references tags=tags
    godwit constrain notes --none`
}

// Run shows or sets the constraints.
func (c *constrainCmd) Run(e *env) error {
	name := string(c.Collection)
	if !c.None && len(c.Unique)+len(c.References) == 0 {
		return e.replica(mustExist, func(r *replica.Replica) error {
			set, err := r.Constraints(e.ctx, name)
			if err != nil {
				return err
			}
			return e.printJSON(set)
		})
	}
	if c.None && len(c.Unique)+len(c.References) > 0 {
		return usagef("--none removes all constraints: give no others")
	}
	var set replica.Constraints
	for _, field := range c.Unique {
		set.Unique = append(set.Unique, field.String())
	}
	for _, ref := range c.References {
		set.References = append(set.References, replica.Reference(ref))
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		if err := r.SetConstraints(e.ctx, name, set); err != nil {
			return err
		}
		stored, err := r.Constraints(e.ctx, name)
		if err != nil {
			return err
		}
		return e.printJSON(stored)
	})
}

type violationsCmd struct {
	Collection collectionArg `arg:"" optional:"" help:"The collection; all that have constraints if none is given."`
}

// Help is shown by --help.
func (violationsCmd) Help() string {
	return `One line of JSON a violation of what constrain has declared. Of a unique field, "winner" is the record in which the
value was set first, "others" those that are to give way; all replicas name the same. Of a reference, "value" is what
names no record of the collection "target".

    godwit violations users
    godwit put users/7 '{"email":"ada@example.org"}'`
}

// uniqueLine and referenceLine are lines of violations.
type uniqueLine struct {
	Kind       string          `json:"kind"`
	Collection string          `json:"collection"`
	Field      string          `json:"field"`
	Value      json.RawMessage `json:"value"`
	Winner     string          `json:"winner"`
	Others     []string        `json:"others"`
}

type referenceLine struct {
	Kind       string          `json:"kind"`
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Field      string          `json:"field"`
	Value      json.RawMessage `json:"value"`
	Target     string          `json:"target"`
}

// Run lists the violations.
func (c *violationsCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		for v, err := range r.Violations(e.ctx, string(c.Collection)) {
			if err != nil {
				return err
			}
			var line any = referenceLine{v.Kind, v.Collection, v.ID, v.Field, v.Value, v.Target}
			if v.Kind == replica.ViolationUnique {
				line = uniqueLine{v.Kind, v.Collection, v.Field, v.Value, v.IDs[0], v.IDs[1:]}
			}
			if err := e.printJSON(line); err != nil {
				return err
			}
		}
		return nil
	})
}
