package main

import (
	"github.com/godwitdb/godwit/replica"
)

type indexCmd struct {
	Collection collectionArg `arg:"" help:"The collection."`
	Fields     []pathArg     `arg:"" optional:"" name:"field" help:"The fields; without any, the indexes are listed."`
	Drop       bool          `xor:"what" help:"Remove the indexes on the fields."`
	Text       bool          `xor:"what" help:"Make the fields, and no others, the collection's full text, for ls --search."`
}

// Help is shown by --help.
func (indexCmd) Help() string {
	return `Conditions on a field with an index are fast, and so is sorting by it. Indexes stay in the file and are kept up to date by
whatever writes to it.

    godwit index tasks status due
    godwit index notes title body --text`
}

// Run declares and builds the indexes.
func (c *indexCmd) Run(e *env) error {
	name := string(c.Collection)
	fields := make([]string, len(c.Fields))
	for i, f := range c.Fields {
		fields[i] = f.String()
	}
	if len(fields) == 0 && c.Drop {
		return usagef("--drop needs the fields whose index is to be removed")
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		switch {
		case c.Text:
			if err := r.EnsureText(e.ctx, name, fields...); err != nil {
				return err
			}
			return r.UpdateText(e.ctx, name)
		case c.Drop:
			return r.DropIndex(e.ctx, name, fields...)
		case len(fields) > 0:
			if err := r.EnsureIndex(e.ctx, name, fields...); err != nil {
				return err
			}
			return r.BuildIndexes(e.ctx)
		}
		all, err := r.Indexes(e.ctx, name)
		for _, x := range all {
			if err := e.printJSON(indexed{x.Field, x.Ready}); err != nil {
				return err
			}
		}
		return err
	})
}

// indexed is a line of index.
type indexed struct {
	Field string `json:"field"`
	Ready bool   `json:"ready"`
}
