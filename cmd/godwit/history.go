package main

import (
	"encoding/json"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// pointHelp says how a point in a record's history is named.
const pointHelp = `A point in a record's history is a tag, a time (2026-01-02T15:04:05Z, or milliseconds since 1970 as history prints
them), or heads: hashes with commas between them, for the record as it was right after these changes.`

type historyCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record; it may be deleted."`
}

// Help is shown by --help.
func (historyCmd) Help() string {
	return `One line of JSON a change, in the order in which they came into this file: hash, the replica ("" for an author that is no
godwit replica) and actor that made it, its time in milliseconds since 1970, its message, the changes it was made on,
and the paths of what it wrote.

    godwit history notes/1`
}

// historyLine is a line of history.
type historyLine struct {
	Hash    string   `json:"hash"`
	Replica string   `json:"replica"`
	Actor   string   `json:"actor"`
	Seq     uint64   `json:"seq"`
	Time    int64    `json:"time"`
	Message string   `json:"message"`
	Deps    []string `json:"deps"`
	Paths   []string `json:"paths"`
}

// Run lists the changes.
func (c *historyCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		h, err := r.History(e.ctx, c.Record.Key)
		if err != nil {
			return err
		}
		for change := range h.Changes() {
			line := historyLine{
				Hash: change.Hash().String(), Replica: replicaOf(change.Actor()), Actor: change.Actor().String(),
				Seq: change.Seq(), Time: change.Time(), Message: change.Message(), Deps: hexes(change.Deps()),
				Paths: texts(h.Paths(change)),
			}
			if err := e.printJSON(line); err != nil {
				return err
			}
		}
		return nil
	})
}

// replicaOf returns the replica of an actor, "" for a foreign one.
func replicaOf(a crdt.ActorID) string {
	if id, ok := a.Replica(); ok {
		return id.String()
	}
	return ""
}

func hexes(hashes []crdt.Hash) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = h.String()
	}
	return out
}

func texts(paths []crdt.Path) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = p.String()
	}
	return out
}

type diffCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record; it may be deleted."`
	From   string    `arg:"" name:"a" help:"A tag, a time or heads."`
	To     string    `arg:"" name:"b" optional:"" help:"The same; if it is not given, the record as it is."`
}

// Help is shown by --help.
func (diffCmd) Help() string {
	return `What has to be done to the record as of A to get it as of B, one line of JSON a step: kind is added, changed, removed, or,
in lists and texts, spliced: at pos, before is replaced by after. The steps apply one after the other.

    godwit diff notes/1 v1
    godwit diff notes/1 2026-01-02T15:04:05Z v2

` + pointHelp
}

// Run prints the differences.
func (c *diffCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		from, err := r.Point(e.ctx, c.Record.Key, c.From)
		if err != nil {
			return err
		}
		to, err := r.Point(e.ctx, c.Record.Key, c.To)
		if err != nil {
			return err
		}
		diffs, err := r.Diff(e.ctx, c.Record.Key, from, to)
		if err != nil {
			return err
		}
		for _, d := range diffs {
			if err := e.printJSON(d); err != nil {
				return err
			}
		}
		return nil
	})
}

type blameCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
	Path   *pathArg  `arg:"" optional:"" help:"A field, as a.b[2].c; if it is not given, all of them."`
}

// Help is shown by --help.
func (blameCmd) Help() string {
	return `Who last set each value that is shown, one line of JSON a value; of a text, a line for each run of characters that one
change wrote, with the position and length of it in code points. time is in milliseconds since 1970.

    godwit blame notes/1
    godwit blame notes/1 title`
}

// blameLine is a line of blame.
type blameLine struct {
	Path    string          `json:"path"`
	Pos     *int            `json:"pos,omitempty"`
	Len     *int            `json:"len,omitempty"`
	Value   json.RawMessage `json:"value"`
	Replica string          `json:"replica"` // "" for an author that is no godwit replica
	Actor   string          `json:"actor"`
	Op      string          `json:"op"`
	Time    int64           `json:"time"`
	Hash    string          `json:"hash"`
	Message string          `json:"message"`
}

// Run prints who is to blame.
func (c *blameCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		var path crdt.Path
		if c.Path != nil {
			path = c.Path.Path
		}
		all, err := r.Blame(e.ctx, c.Record.Key, path)
		if err != nil {
			return err
		}
		for i := range all {
			if err := printBlame(e, &all[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func printBlame(e *env, b *crdt.Blame) error {
	value, err := crdt.AppendJSON(nil, b.Value)
	if err != nil {
		return fmt.Errorf("print %s: %w", b.Path, err)
	}
	line := blameLine{
		Path: b.Path.String(), Value: value, Replica: replicaOf(b.Actor), Actor: b.Actor.String(), Op: b.Op.String(),
		Time: b.Time, Hash: b.Hash.String(), Message: b.Message,
	}
	if b.InText {
		line.Pos, line.Len = &b.Pos, &b.Len
	}
	return e.printJSON(line)
}
