package persist

import (
	"fmt"
	"math"

	"github.com/godwitdb/godwit/crdt"
)

// Op is how a condition compares a field with a value. Values of different types
// are never equal, less or greater; an int and a float of the same number are equal.
type Op string

// The operators. Ne is Not of Eq, so it holds as well where the field is not there
// or of another type.
const (
	Eq Op = "eq" // any value; nil is a null that is there
	Ne Op = "ne"
	Lt Op = "lt" // Lt, Le, Gt and Ge: numbers, strings and times
	Le Op = "le"
	Gt Op = "gt"
	Ge Op = "ge"

	In       Op = "in"       // a slice: equal to one of its elements
	Prefix   Op = "prefix"   // a string
	Contains Op = "contains" // a string that is part of a string, or a value that a list has
	Exists   Op = "exists"   // true or nil: the field is there, also if null; false: it is not
)

// FieldID names a record's ID where a field is asked for. A field that is called
// so is written ["$id"].
const FieldID = "$id"

// Bounds of a query. What is beyond them is a *QueryError.
const (
	MaxConditions     = 256    // in a tree, And, Or and Not included
	MaxConditionDepth = 32     // how deep they nest
	MaxQueryValues    = 10_000 // of all conditions together
	MaxFieldPath      = 1024   // bytes
	MaxOrders         = 8
)

// QueryError says what is wrong with a query.
type QueryError struct {
	Field  string // "" if it is about none
	Op     Op     // "" if it is about none
	Reason string
}

// Error reads "query: field a.b lt: reason".
func (e *QueryError) Error() string {
	s := "query"
	if e.Field != "" {
		s += fmt.Sprintf(": field %.80s", e.Field)
	}
	if e.Op != "" {
		s += fmt.Sprintf(" %.20s", string(e.Op))
	}
	return s + ": " + e.Reason
}

// Cond is a condition on a record. The zero Cond always holds.
type Cond struct {
	kind  condKind
	field string
	op    Op
	value any
	of    []Cond
}

type condKind int

const (
	condTrue condKind = iota
	condField
	condAnd
	condOr
	condNot
	condSearch // value is a search
)

// Where compares a field, named by its path as crdt.ParsePath reads it, or FieldID.
// A path that goes through a list names nothing.
//
// value is of any type that a record can hold, or a string or number of another
// name, or an encoding.TextMarshaler.
func Where(field string, op Op, value any) Cond {
	return Cond{kind: condField, field: field, op: op, value: value}
}

// And holds where all conditions do; of none, everywhere.
func And(all ...Cond) Cond { return Cond{kind: condAnd, of: all} }

// Or holds where any condition does; of none, nowhere.
func Or(any ...Cond) Cond { return Cond{kind: condOr, of: any} }

// Not holds where the condition does not.
func Not(c Cond) Cond { return Cond{kind: condNot, of: []Cond{c}} }

// Search holds where all words of text are in the fields, or in any field of the
// collection's full text if none is given. Upper and lower case and accents do not
// count; a word that ends in * stands for all that begin so.
func Search(text string, fields ...string) Cond {
	return Cond{kind: condSearch, value: search{text, fields}}
}

type search struct {
	text   string
	fields []string
}

// Order sorts by a field: numbers, strings, booleans, times, bytes, lists and maps,
// NaN, null, and last the records that lack the field; the other way round if Desc.
// Bytes, lists and maps are sorted by how they are written.
type Order struct {
	Field string
	Desc  bool
}

// Query selects records of a collection by their stored view, deleted ones never.
// The order ends with the ID, in the direction of the last Order.
type Query struct {
	Collection string
	Where      Cond
	OrderBy    []Order
	Limit      int   // 0: no limit
	Offset     int   // records to skip
	After      *View // skip all up to where this one is, or would be
}

// View is what a record shows.
type View struct {
	RID  int64
	ID   string
	JSON []byte
}

// valid checks the bounds; what fields and values are is found on the way.
func (q *Query) valid() error {
	if err := (crdt.Key{Collection: q.Collection, ID: "-"}).Valid(); err != nil {
		return &QueryError{Reason: err.Error()}
	}
	if q.Limit < 0 || q.Offset < 0 || q.Limit > math.MaxInt32 || q.Offset > math.MaxInt32 {
		return &QueryError{Reason: fmt.Sprintf("limit %d and offset %d have to be from 0 to %d", q.Limit, q.Offset, math.MaxInt32)}
	}
	if len(q.OrderBy) > MaxOrders {
		return &QueryError{Reason: fmt.Sprintf("ordered by %d fields, at most %d are allowed", len(q.OrderBy), MaxOrders)}
	}
	n := 0
	return q.Where.valid(1, &n)
}

func (c *Cond) valid(depth int, n *int) error {
	if *n++; *n > MaxConditions {
		return &QueryError{Reason: fmt.Sprintf("more than %d conditions", MaxConditions)}
	}
	if depth > MaxConditionDepth {
		return &QueryError{Reason: fmt.Sprintf("conditions nest deeper than %d", MaxConditionDepth)}
	}
	for i := range c.of {
		if err := c.of[i].valid(depth+1, n); err != nil {
			return err
		}
	}
	return nil
}

// Searches reports whether there is a Search in the condition.
func (c *Cond) Searches() bool {
	if c.kind == condSearch {
		return true
	}
	for i := range c.of {
		if c.of[i].Searches() {
			return true
		}
	}
	return false
}
