package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// Bounds of an import's change sets: whichever is reached first ends a set.
const (
	importItems = 1000
	importBytes = 2 << 20 // of JSON, so that the changes stay within replica.MaxSetBytes
)

type importCmd struct {
	Collection collectionArg `arg:"" help:"The collection; records are merged into what is there."`
	File       string        `arg:"" help:"The file, or - for standard input."`
	Array      string        `placeholder:"KEY" help:"The file is one object; the array is the value of this key."`
	ID         string        `name:"id" default:"id" placeholder:"FIELD" help:"The field that names the record, a string or a number."`
	Value      string        `placeholder:"FIELD" help:"The field that holds the record, instead of the whole item."`
	CSV        bool          `name:"csv" help:"The file is CSV; so it is by default if its name ends in .csv."`
	Strings    bool          `help:"Take all cells of a CSV as strings."`
}

// Help is shown by --help.
func (importCmd) Help() string {
	return `The file is a JSON array of objects, an object around such an array, or objects one after the other (NDJSON). It is
read as a stream; an item may have 8 MiB.

    godwit import countries countries.json --array 3166-1 --id alpha_2
    godwit export notes | godwit --db copy.db import notes - --value value

The first line of a CSV names the fields, nested ones as address.city. A cell is JSON, so numbers are numbers, or else a plain
string; an empty cell is no field. A column $id, which export writes, names the record and is no field of it.

    godwit export tasks --csv | godwit --db copy.db import tasks - --csv

Every 1,000 records are one change set, on disk whole or not at all. Only differences are written: the same command again
completes an import that was interrupted, and writes nothing if it was complete. A bad item ends the import; what came
before it stays.`
}

// Run imports the file.
func (c *importCmd) Run(e *env) error {
	c.CSV = c.CSV || strings.EqualFold(filepath.Ext(c.File), ".csv")
	if c.CSV && (c.Array != "" || c.Value != "") {
		return usagef("--array and --value are for JSON, the file is CSV")
	}
	in, size, err := c.open(e)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer in.Close()
	var im *importer
	err = e.replica(mayCreate, func(r *replica.Replica) error {
		im = &importer{cmd: c, r: r, items: c.items(in), bar: newProgress(e.stderr, "import "+string(c.Collection), size, true)}
		defer im.bar.done()
		return im.run(e.ctx)
	})
	switch {
	case im == nil:
		return err
	case e.ctx.Err() != nil && errors.Is(err, e.ctx.Err()):
		return fmt.Errorf("import %s: interrupted; %d records were imported and stay, the same command again imports the rest", c.File, im.done)
	case err != nil:
		return fmt.Errorf("import %s: %w; %d records were imported and stay", c.File, err, im.done)
	case e.json:
		return e.printJSON(imported{string(c.Collection), im.done})
	}
	e.note("%d records are in %s", im.done, c.Collection)
	return nil
}

// itemSource yields the items of a file.
type itemSource interface {
	next() (item, error)
	offset() int64 // how much was read
}

func (c *importCmd) items(in io.Reader) itemSource {
	if c.CSV {
		return newCSVReader(in, c.Strings)
	}
	return newItemReader(in, c.Array)
}

// imported is what import prints with --json.
type imported struct {
	Collection string `json:"collection"`
	Records    int    `json:"records"`
}

// open returns the input and its size, -1 if that is not known.
func (c *importCmd) open(e *env) (io.ReadCloser, int64, error) {
	if c.File == "-" {
		return io.NopCloser(interruptible(e.ctx, e.stdin)), -1, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a folder", c.File)
	case info.Mode().IsRegular():
		return f, info.Size(), nil
	default: // a pipe may block
		return readCloser{interruptible(e.ctx, f), f}, -1, nil
	}
	if err != nil {
		f.Close()
	}
	return nil, 0, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

// importer is a running import.
type importer struct {
	cmd   *importCmd
	r     *replica.Replica
	items itemSource
	bar   *progress
	set   []imports
	bytes int // of JSON in set
	done  int // records committed
}

// imports is an item of the set to be committed.
type imports struct {
	item  item // without its data
	key   crdt.Key
	value map[string]any
}

// run imports item by item. What stands before a bad item is imported.
func (im *importer) run(ctx context.Context) error {
	for {
		it, err := im.items.next()
		if err == nil {
			err = im.add(it)
		}
		if err == nil && len(im.set) < importItems && im.bytes < importBytes {
			continue
		}
		if flushErr := im.flush(ctx); flushErr != nil {
			return flushErr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// add parses an item and adds it to the set.
func (im *importer) add(it item) error {
	value, err := parseRecord(it.data)
	var syntax *crdt.JSONError
	if errors.As(err, &syntax) {
		it.offset += int64(syntax.Offset)
		return it.bad(errors.New(syntax.Detail))
	}
	if err != nil {
		return it.bad(err)
	}
	key, record, err := im.cmd.pick(value, it.id)
	if err != nil {
		return it.bad(err)
	}
	im.bytes += len(it.data)
	it.data = nil
	im.set = append(im.set, imports{it, key, record})
	return nil
}

// pick returns the record that an item stands for; id names it, if it is not nil.
func (c *importCmd) pick(item map[string]any, id *string) (k crdt.Key, record map[string]any, err error) {
	k.Collection = string(c.Collection)
	if id != nil {
		k.ID = *id
		return k, item, k.Valid()
	}
	if k.ID, err = textOf(item, c.ID); err != nil {
		return k, nil, err
	}
	if err := k.Valid(); err != nil {
		return k, nil, err
	}
	if c.Value == "" {
		return k, item, nil
	}
	v, ok := item[c.Value]
	if !ok {
		return k, nil, fmt.Errorf("it has no field %q, which --value names", c.Value)
	}
	if record, ok = v.(map[string]any); !ok {
		return k, nil, fmt.Errorf("its field %q: %w", c.Value, errNoObject)
	}
	return k, record, nil
}

// textOf returns the text of the field that names a record.
func textOf(item map[string]any, field string) (string, error) {
	switch v := item[field].(type) {
	case string:
		return v, nil
	case int64, uint64, float64:
		text, err := crdt.AppendJSON(nil, v)
		return string(text), err
	case nil:
		return "", fmt.Errorf("it has no field %q to name the record: see --id, or --array if the items are inside an object", field)
	default:
		return "", fmt.Errorf("its field %q is neither a string nor a number, and cannot name the record: see --id", field)
	}
}

// flush commits the set.
func (im *importer) flush(ctx context.Context) error {
	if len(im.set) == 0 {
		return ctx.Err()
	}
	err := im.r.Update(ctx, func(tx *replica.Tx) error {
		for _, p := range im.set {
			if err := putRecord(tx, p.key, p.value, false); err != nil {
				return p.item.bad(err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	im.done += len(im.set)
	im.set, im.bytes = im.set[:0], 0
	im.bar.set(im.items.offset())
	return nil
}

type exportCmd struct {
	Target    targetArg `arg:"" name:"collection[/id]" help:"A record, or a whole collection."`
	CSV       bool      `name:"csv" xor:"form" help:"Write a collection as CSV: a column for each field of its records."`
	Automerge bool      `xor:"form" help:"Write the record with its history, as bytes that any Automerge loads."`
}

// Help is shown by --help.
func (exportCmd) Help() string {
	return `A record is one line of JSON; a collection is one line a record: {"id":..,"value":{..}}. That is the value without its
history; import --value value reads it. With --automerge, a record with its whole history, deleted ones too.

    godwit export notes > notes.ndjson
    godwit export notes --csv > notes.csv
    godwit export notes/1 --automerge > note.automerge`
}

// Run exports the record or the collection.
func (c *exportCmd) Run(e *env) error {
	k := c.Target.Key
	if c.Automerge && k.ID == "" {
		return usagef("--automerge exports one record: name it as %s/ID", k.Collection)
	}
	if c.CSV && k.ID != "" {
		return usagef("--csv exports a collection, not one record")
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		switch {
		case c.CSV:
			return exportCSV(e, r, k.Collection)
		case k.ID == "":
			return list(e, r, k.Collection)
		case !c.Automerge:
			return printRecord(e, r, k, "")
		}
		chunks, err := r.Export(e.ctx, k)
		if err == nil {
			_, err = e.stdout.Write(chunks)
		}
		return err
	})
}
