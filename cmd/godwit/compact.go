package main

import (
	"maps"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type compactCmd struct {
	Record *recordArg `arg:"" optional:"" name:"collection/id" help:"Only this record, however short its history is."`
	Vacuum bool       `help:"Write the file anew in the end, so that it shrinks. Others that write wait for it."`
}

// Help is shown by --help.
func (compactCmd) Help() string {
	return `Replaces the stored changes of records with a long history (64 KiB, of which half or more can be saved) by one document,
which takes a fraction of the space. The history stays what it was: get --at, blame, export and sync give what they gave
before. Each document is made by Automerge's own core, read again and compared before it counts, and can be interrupted
at any time. Prints what was done; bytes that became free are used for what comes, the file itself shrinks with --vacuum.

    godwit compact
    godwit compact notes/1 --vacuum`
}

// compactLine is what compact prints with --json.
type compactLine struct {
	Records   int            `json:"records"`
	Compacted int            `json:"compacted"`
	Bytes     int64          `json:"bytes"`
	Snapshots int64          `json:"snapshots"`
	Skipped   map[string]int `json:"skipped"`
}

// Run compacts.
func (c *compactCmd) Run(e *env) error {
	var key crdt.Key
	if c.Record != nil {
		key = c.Record.Key
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		bar := newProgress(e.stderr, "compact", -1, false)
		defer bar.done()
		done, err := r.Compact(e.ctx, &replica.CompactOptions{Key: key, Vacuum: c.Vacuum}, func(c replica.Compaction) {
			bar.total(int64(c.Records))
			bar.set(int64(c.Done))
		})
		if err != nil {
			return err
		}
		if e.json {
			return e.printJSON(compactLine{done.Records, done.Compacted, done.Bytes, done.Snapshots, done.Skipped})
		}
		e.printf("%d of %d records compacted: %d bytes of changes in %d bytes\n", done.Compacted, done.Records, done.Bytes, done.Snapshots)
		for _, reason := range slices.Sorted(maps.Keys(done.Skipped)) {
			e.printf("%d left as they are: %s\n", done.Skipped[reason], reason)
		}
		return nil
	})
}
