package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type lsCmd struct {
	Collection collectionArg `arg:"" help:"The collection."`
	Where      []condArg     `placeholder:"'FIELD OP VALUE'" sep:"none" help:"List records of which this holds. Can be repeated: all have to hold."`
	Search     string        `placeholder:"WORDS" help:"List records that have these words in their full text (see index)."`
	Order      []orderArg    `placeholder:"FIELD" sep:"none" help:"Sort by a field; downwards by 'FIELD desc'. Can be repeated."`
	Limit      uint32        `placeholder:"N" help:"Print at most N records; 0 means all."`
	Offset     uint32        `placeholder:"N" help:"Leave the first N out."`
	Plan       bool          `help:"Print how the records are found, instead of them."`
}

// Help is shown by --help.
func (lsCmd) Help() string {
	return `One line of JSON a record, by id unless sorted: {"id":..,"value":{..}}

    godwit ls notes --limit 10
    godwit ls tasks --where 'status eq open' --where 'due < {"$time":"2026-07-01T00:00:00Z"}' --order 'priority desc'

Operators: eq ne lt le gt ge (also = != < <= > >=), in with a JSON array, prefix, contains (a part of a string, an element of a
list), exists (with true or false). A value is JSON, or a plain string. $id is the record's id. Values of different
types are never equal, less or greater.`
}

// Run lists the records.
func (c *lsCmd) Run(e *env) error {
	q := replica.Query{Collection: string(c.Collection), Where: allOf(c.Where, c.Search), Limit: int(c.Limit), Offset: int(c.Offset)}
	for _, o := range c.Order {
		q.OrderBy = append(q.OrderBy, replica.Order(o))
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		if c.Plan {
			text, err := r.Plan(e.ctx, q)
			e.printf("%s\n", text)
			return err
		}
		for it, err := range r.Query(e.ctx, q) {
			if err != nil {
				return err
			}
			if err := e.printJSON(listed{it.Key.ID, it.Value}); err != nil {
				return err
			}
		}
		return nil
	})
}

// allOf returns the condition that all of these hold, and the words, if there are any, are
// found.
func allOf(where []condArg, search string) replica.Cond {
	var all []replica.Cond
	for _, w := range where {
		all = append(all, w.Cond)
	}
	if search != "" {
		all = append(all, replica.Search(search))
	}
	return replica.And(all...)
}

// condArg is FIELD OP VALUE.
type condArg struct{ replica.Cond }

// opOf returns an operator, which people may write as a sign too.
func opOf(word string) replica.Op {
	switch word {
	case "=", "==":
		return replica.Eq
	case "!=", "<>":
		return replica.Ne
	case "<":
		return replica.Lt
	case "<=":
		return replica.Le
	case ">":
		return replica.Gt
	case ">=":
		return replica.Ge
	}
	return replica.Op(word)
}

// knownOps are the names of all operators.
var knownOps = [...]replica.Op{replica.Eq, replica.Ne, replica.Lt, replica.Le, replica.Gt, replica.Ge,
	replica.In, replica.Prefix, replica.Contains, replica.Exists}

// UnmarshalText reads FIELD OP VALUE. Fields may hold blanks themselves, in quotes: the
// first blank that leaves a field counts.
func (a *condArg) UnmarshalText(text []byte) error {
	s := string(text)
	for i := range s {
		field := s[:i]
		if s[i] != ' ' || i == 0 || !isField(field) {
			continue
		}
		word, value, _ := strings.Cut(strings.TrimLeft(s[i:], " "), " ")
		op := opOf(word)
		if !slices.Contains(knownOps[:], op) {
			return fmt.Errorf("%q: unknown operator %q: there are %v", text, word, knownOps)
		}
		if value == "" && op != replica.Exists {
			return fmt.Errorf("%q has no value: want FIELD OP VALUE", text)
		}
		a.Cond = replica.Where(field, op, condValue(field, op, value))
		return nil
	}
	return fmt.Errorf("%q is no condition: want FIELD OP VALUE", text)
}

// condValue reads a value: JSON or a plain string, and where only a string can be meant,
// a string.
func condValue(field string, op replica.Op, text string) any {
	if op == replica.Exists && text == "" {
		return true
	}
	v := jsonOrText(text)
	if _, isString := v.(string); !isString && (op == replica.Prefix || field == replica.FieldID && op != replica.In) {
		return text
	}
	return v
}

func isField(s string) bool {
	_, err := crdt.ParsePath(s)
	return err == nil || s == replica.FieldID
}

// orderArg is FIELD, FIELD desc or -FIELD.
type orderArg replica.Order

// UnmarshalText reads FIELD, FIELD desc or -FIELD.
func (a *orderArg) UnmarshalText(text []byte) error {
	var down, minus bool
	a.Field, down = strings.CutSuffix(string(text), " desc")
	a.Field, minus = strings.CutPrefix(a.Field, "-")
	a.Desc = down || minus
	if !isField(a.Field) || a.Field == "" {
		return fmt.Errorf("%q names no field to sort by", text)
	}
	return nil
}
