package main

import (
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type abandonCmd struct {
	Records []recordArg `arg:"" name:"record" sep:"none" placeholder:"COLLECTION/ID" help:"What peers refused of these."`
}

// Help is shown by --help.
func (abandonCmd) Help() string {
	return `Gives up what peers refused of the records (see outbox): the refused change sets are withdrawn here, whole, with all that
builds on them, and the records show again what the peers have. What was new is gone then; what is to be kept is written
again. Nothing is withdrawn of which another peer than those that refused it has a change.

    godwit get notes/1 > mine.json
    godwit abandon notes/1
    godwit put notes/1-mine < mine.json`
}

type abandonedLine struct {
	Changes int      `json:"changes"`
	Records []string `json:"records"`
}

// Run abandons.
func (c *abandonCmd) Run(e *env) error {
	keys := make([]crdt.Key, len(c.Records))
	for i, a := range c.Records {
		keys[i] = a.Key
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		done, err := r.Abandon(e.ctx, keys, nil)
		if err != nil {
			return err
		}
		line := abandonedLine{done.Changes, keyStrings(done.Records)}
		if e.json {
			return e.printJSON(line)
		}
		e.printf("abandoned: %d changes of %s\n", line.Changes, strings.Join(line.Records, " "))
		return nil
	})
}
