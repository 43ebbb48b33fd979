package main

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type undoCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
}

// Help is shown by --help.
func (undoCmd) Help() string {
	return `Reverts the latest change that this replica made to the record and has not undone yet, by a new change; what others did
since stays. Prints the hash of what was undone; where somebody has written since, so that nothing could be undone, is
named on standard error.

    godwit undo notes/1
    godwit redo notes/1`
}

// Run undoes.
func (c *undoCmd) Run(e *env) error { return e.step(c.Record.Key, (*replica.Tx).Undo) }

type redoCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
}

// Help is shown by --help.
func (redoCmd) Help() string {
	return `Takes the latest undo back, unless this replica has changed the record since. The output is that of undo.

    godwit redo notes/1`
}

// Run redoes.
func (c *redoCmd) Run(e *env) error { return e.step(c.Record.Key, (*replica.Tx).Redo) }

// step undoes or redoes.
func (e *env) step(k crdt.Key, do func(*replica.Tx, crdt.Key) (crdt.Hash, []crdt.Path, error)) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		var hash crdt.Hash
		var kept []crdt.Path
		err := r.Update(e.ctx, func(tx *replica.Tx) (err error) {
			hash, kept, err = do(tx, k)
			return err
		})
		if err != nil {
			return err
		}
		return e.printReverted(hash, kept)
	})
}

func (e *env) printReverted(hash crdt.Hash, kept []crdt.Path) error {
	for _, p := range kept {
		e.note("kept %s: somebody has written there since", p)
	}
	if e.json {
		return e.printJSON(struct {
			Hash string   `json:"hash"`
			Kept []string `json:"kept"`
		}{hash.String(), texts(kept)})
	}
	e.printf("%s\n", hash)
	return nil
}

type revertCmd struct {
	Record  recordArg `arg:"" name:"collection/id" help:"The record."`
	Hash    hashArg   `arg:"" help:"The change, as history prints it."`
	Message string    `short:"m" placeholder:"TEXT" help:"The new change's message."`
}

// Help is shown by --help.
func (revertCmd) Help() string {
	return `Undoes what one change did, this replica's or another's, by a new change: what it set gets the value from before, what it
inserted goes, what it deleted comes back, counters are counted back. What somebody has written since stays, and is named
on standard error.

    godwit revert notes/1 $(godwit heads notes/1)`
}

// Run reverts the change.
func (c *revertCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		var kept []crdt.Path
		err := r.Update(e.ctx, func(tx *replica.Tx) (err error) {
			tx.SetMessage(c.Message)
			kept, err = tx.Revert(c.Record.Key, c.Hash.Hash)
			return err
		})
		if err != nil {
			return err
		}
		return e.printReverted(c.Hash.Hash, kept)
	})
}

// hashArg is the hash of a change.
type hashArg struct{ crdt.Hash }

// UnmarshalText reads 64 hex digits.
func (a *hashArg) UnmarshalText(text []byte) (err error) {
	a.Hash, err = crdt.ParseHash(string(text))
	return err
}

type tagCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
	Name   string    `arg:"" optional:"" help:"The tag to set; if it is not given, the record's tags are listed."`
	At     string    `placeholder:"POINT" xor:"how" help:"What to name: another tag, a time or heads, instead of the record as it is."`
	Delete bool      `xor:"how" help:"Remove the tag."`
}

// Help is shown by --help.
func (tagCmd) Help() string {
	return `A tag names a point in a record's history, on every replica of the space. Setting one that is there moves it. Without a
name: one line of JSON a tag, by name.

    godwit tag notes/1 v1
    godwit tag notes/1
    godwit get notes/1 --at v1

` + pointHelp
}

// Run sets, removes or lists tags.
func (c *tagCmd) Run(e *env) error {
	if c.Name == "" && (c.Delete || c.At != "") {
		return usagef("name the tag")
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		k := c.Record.Key
		switch {
		case c.Name == "":
			return listTags(e, r, k)
		case c.Delete:
			return r.Untag(e.ctx, k, c.Name)
		}
		heads, err := r.Point(e.ctx, k, c.At)
		if err != nil {
			return err
		}
		return r.Tag(e.ctx, k, c.Name, heads)
	})
}

func listTags(e *env, r *replica.Replica, k crdt.Key) error {
	if _, err := r.Heads(e.ctx, k); err != nil {
		return err
	}
	tags, err := r.Tags(e.ctx, k)
	if err != nil {
		return err
	}
	for _, t := range tags {
		err := e.printJSON(struct {
			Name  string   `json:"name"`
			Heads []string `json:"heads"`
		}{t.Name, hexes(t.Heads)})
		if err != nil {
			return fmt.Errorf("print tag %q: %w", t.Name, err)
		}
	}
	return nil
}
