package main

import (
	"fmt"
	"io"
	"os"

	"github.com/godwitdb/godwit/replica"
)

// importFileBytes bounds what import-automerge reads.
const importFileBytes = 256 << 20

type importAutomergeCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record that the file is merged into."`
	File   string    `arg:"" help:"The file, or - for standard input."`
}

// Help is shown by --help.
func (importAutomergeCmd) Help() string {
	return `The file is what any Automerge saved: a document, changes, or both one after the other, up to 256 MiB. It is taken with
its history, whole or not at all; actors, hashes and times stay what they are. Changes that the record has are skipped, so
a later state of the same document can be imported over an earlier one.

    godwit import-automerge notes/1 note.automerge
    godwit export notes/1 --automerge > note.automerge`
}

// Run imports the file.
func (c *importAutomergeCmd) Run(e *env) error {
	chunks, err := c.read(e)
	if err != nil {
		return fmt.Errorf("import-automerge: %w", err)
	}
	added := 0
	err = e.replica(mayCreate, func(r *replica.Replica) (err error) {
		added, err = r.Import(e.ctx, c.Record.Key, chunks)
		return err
	})
	switch {
	case err != nil:
		return err
	case e.json:
		return e.printJSON(importedChanges{c.Record.String(), added})
	}
	e.note("%d changes are new in %s", added, c.Record)
	return nil
}

// importedChanges is what import-automerge prints with --json.
type importedChanges struct {
	Record  string `json:"record"`
	Changes int    `json:"changes"`
}

func (c *importAutomergeCmd) read(e *env) ([]byte, error) {
	in := interruptible(e.ctx, e.stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	chunks, err := io.ReadAll(io.LimitReader(in, importFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", c.File, err)
	case len(chunks) > importFileBytes:
		return nil, fmt.Errorf("%s has more than %d MiB", c.File, importFileBytes>>20)
	case len(chunks) == 0:
		return nil, fmt.Errorf("%s is empty", c.File)
	}
	return chunks, nil
}
