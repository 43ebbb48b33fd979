package main

import (
	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type purgeCmd struct {
	Records []recordArg `arg:"" name:"collection/id" help:"COLLECTION/ID of each record, here or not."`
	Yes     bool        `help:"Do it. There is no way back."`
}

// Help is shown by --help.
func (purgeCmd) Help() string {
	return `Removes the data of records for good, from every replica of the space, and bars their names for ever. Of three commands:

    rm       is a change like any other: the record is hidden everywhere, its history stays, and it can come back
    forget   drops the data in this file only; others keep it, and "fetch" brings it back
    purge    drops the data in every file, history and all; nothing brings it back, no replica that was away, no old backup

A marker replicates that holds a hash of the name, so that the name is not told to who may not read the record. A hub takes it
from admins only: who is none purges this file alone, "status" shows what the hub refused, and to abandon that brings the record
back as the others have it. The name and what SQLite has not
overwritten are gone from each file with "compact --vacuum" there. Copies that no replica holds are yours to remove: backups,
bundles, exports, what a NATS stream keeps.

    godwit purge people/ann people/bob --yes
    godwit sync http://localhost:8080/spaces/crew
    godwit compact --vacuum`
}

// purged is what purge prints with --json.
type purged struct {
	Purged  int `json:"purged"`
	Unknown int `json:"unknown"`
	Already int `json:"already"`
}

// Run purges.
func (c *purgeCmd) Run(e *env) error {
	if !c.Yes {
		return usagef("this removes the data for good, here and from every replica: give --yes to do it")
	}
	keys := make([]crdt.Key, len(c.Records))
	for i, r := range c.Records {
		keys[i] = r.Key
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		n, err := r.Purge(e.ctx, keys...)
		if err != nil {
			return err
		}
		if e.json {
			return e.printJSON(purged{n.Purged, n.Unknown, n.Already})
		}
		e.printf("purged: %d records; marked for others, without data here: %d; purged before: %d\n", n.Purged, n.Unknown, n.Already)
		return nil
	})
}
