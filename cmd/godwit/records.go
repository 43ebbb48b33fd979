package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// maxItem bounds a record's JSON, in bytes.
const maxItem = 8 << 20

type putCmd struct {
	Record  recordArg `arg:"" name:"collection/id" help:"The record; it is created if there is none."`
	Value   string    `arg:"" name:"json" help:"A JSON object, or - to read it from standard input."`
	Replace bool      `help:"Remove the fields that the object lacks."`
	Message string    `short:"m" placeholder:"TEXT" help:"Why; history and blame show it."`
}

// Help is shown by --help.
func (putCmd) Help() string {
	return `Only fields that differ are written; putting what get printed writes nothing. Fields that the object lacks are kept.

    godwit put notes/1 '{"title":"Tides","tags":["sea"]}'
    curl -s https://host/note.json | godwit put notes/1 --replace -

JSON has no type for some values; these forms create them:

    {"$counter":1}  {"$text":"edited by several"}  {"$time":"2026-01-02T03:04:05Z"}  {"$bytes":"AAEC"}`
}

// Run puts the object.
func (c *putCmd) Run(e *env) error {
	data := []byte(c.Value)
	if c.Value == "-" {
		var err error
		if data, err = io.ReadAll(io.LimitReader(interruptible(e.ctx, e.stdin), maxItem+1)); err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
	value, err := parseRecord(data)
	if err != nil {
		return fmt.Errorf("put %v: %w", c.Record, err)
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		return r.Update(e.ctx, func(tx *replica.Tx) error {
			tx.SetMessage(c.Message)
			return putRecord(tx, c.Record.Key, value, c.Replace)
		})
	})
}

// parseRecord reads a record's JSON.
func parseRecord(data []byte) (map[string]any, error) {
	if len(data) > maxItem {
		return nil, fmt.Errorf("more than %d MiB of JSON", maxItem>>20)
	}
	v, err := crdt.ParseJSON(data)
	if err != nil {
		return nil, err
	}
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	return nil, errNoObject
}

var (
	errNoObject = errors.New("a record is a JSON object with fields, this is another value")
	errNoFields = errors.New("a record without fields is no record: give it a field, or delete it with rm")
)

// putRecord puts a value, refusing to make a record without fields.
func putRecord(tx *replica.Tx, k crdt.Key, value map[string]any, replace bool) error {
	if len(value) == 0 {
		if _, err := tx.Get(k); errors.Is(err, replica.ErrNotFound) || replace && err == nil {
			return &replica.Error{Op: "put", Record: k, Err: errNoFields}
		}
	}
	if replace {
		return tx.Replace(k, value)
	}
	return tx.Put(k, value)
}

type getCmd struct {
	Record recordArg   `arg:"" name:"collection/id" help:"The record."`
	At     string      `placeholder:"POINT" xor:"how" help:"Show the record as of a tag, a time or heads."`
	View   resolverArg `placeholder:"NAME" help:"Show conflicts as this resolver does, instead of the collection's policy: automerge, lww, fww, local or remote."`
}

// Help is shown by --help.
func (getCmd) Help() string {
	return `One line of JSON with sorted keys. Exits with 1 when there is no such record.

    godwit get notes/1
    godwit get notes/1 --view remote
    godwit get notes/1 --at 2026-01-02T15:04:05Z

` + pointHelp
}

// Run prints the record.
func (c *getCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		if c.At != "" {
			return printRecordAt(e, r, c.Record.Key, c.At, c.View)
		}
		return printRecord(e, r, c.Record.Key, c.View)
	})
}

func printRecord(e *env, r *replica.Replica, k crdt.Key, view resolverArg) error {
	get := r.Get
	if view != "" {
		get = func(ctx context.Context, k crdt.Key) (json.RawMessage, error) {
			return r.View(ctx, k, crdt.Policy{Default: string(view)})
		}
	}
	value, err := get(e.ctx, k)
	if err != nil {
		return err
	}
	return e.printLine(value)
}

func printRecordAt(e *env, r *replica.Replica, k crdt.Key, at string, view resolverArg) error {
	heads, err := r.Point(e.ctx, k, at)
	if err != nil {
		return err
	}
	get := r.GetAt
	if view != "" {
		get = func(ctx context.Context, k crdt.Key, heads crdt.Heads) (json.RawMessage, error) {
			return r.ViewAt(ctx, k, heads, crdt.Policy{Default: string(view)})
		}
	}
	value, err := get(e.ctx, k, heads)
	if err != nil {
		return err
	}
	return e.printLine(value)
}

type rmCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
}

// Help is shown by --help.
func (rmCmd) Help() string {
	return `Its history stays, and a field that another replica edits meanwhile survives the merge.

    godwit rm notes/1`
}

// Run deletes the record.
func (c *rmCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		return r.Update(e.ctx, func(tx *replica.Tx) error { return tx.Delete(c.Record.Key) })
	})
}

// listed is a line of ls and export.
type listed struct {
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value"`
}

func list(e *env, r *replica.Replica, collection string) error {
	for it, err := range r.List(e.ctx, collection, 0) {
		if err != nil {
			return err
		}
		if err := e.printJSON(listed{it.Key.ID, it.Value}); err != nil {
			return err
		}
	}
	return nil
}

type headCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
}

// Help is shown by --help.
func (headCmd) Help() string {
	return `The hashes of the changes that no other change depends on, sorted, one a line. Two replicas hold the same record
exactly when these are equal. With --json, a JSON array.

    godwit heads notes/1`
}

// Run prints the heads.
func (c *headCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		heads, err := r.Heads(e.ctx, c.Record.Key)
		if err != nil {
			return err
		}
		lines := []string{}
		for _, h := range heads {
			lines = append(lines, h.String())
		}
		if e.json {
			return e.printJSON(lines)
		}
		for _, l := range lines {
			e.printf("%s\n", l)
		}
		return nil
	})
}
