package main

import (
	"encoding/json"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type watchCmd struct {
	Collection collectionArg `arg:"" help:"The collection."`
}

// Help is shown by --help.
func (watchCmd) Help() string {
	return `Each change that is committed from now on, by this or another process, local or received, once and in order, until
interrupted. One line of JSON: lsn is the position in the log, value the record as it is now (null when deleted), origin
"local" or the replica that sent it, time the author's in milliseconds since 1970, diff what this change made different,
as godwit diff prints it. A line of kind "view" tells that the record shows something else under another policy, though
nobody changed it; hash, time and diff are empty.

    godwit watch notes`
}

// Run prints changes until interrupted.
func (c *watchCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		events := r.Watch(e.ctx, string(c.Collection))
		e.note("watching %s", c.Collection) // whoever reads this misses nothing
		return printEvents(e, events, func(*replica.Event) bool { return true })
	})
}

// eventLine is a line of watch and connect.
type eventLine struct {
	Kind       string          `json:"kind"` // change or view
	LSN        int64           `json:"lsn"`
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Deleted    bool            `json:"deleted"`
	Value      json.RawMessage `json:"value"`
	Origin     string          `json:"origin"`
	Hash       string          `json:"hash"`
	Time       int64           `json:"time"`
	// Diff says what this change made different in Value.
	Diff []crdt.Difference `json:"diff"`
}

// printEvents prints the events that are wanted, each at once.
func printEvents(e *env, events iter.Seq2[replica.Event, error], want func(*replica.Event) bool) error {
	for ev, err := range events {
		if err != nil {
			return err
		}
		if !want(&ev) {
			continue
		}
		origin := "local"
		if !ev.Origin.Local {
			origin = ev.Origin.Peer.String()
		}
		kind, hash := "change", ev.Hash.String()
		if ev.Kind == replica.EventView {
			kind, hash, origin = "view", "", "local"
		}
		err := e.printJSON(eventLine{
			Kind: kind, LSN: int64(ev.LSN), Collection: ev.Key.Collection, ID: ev.Key.ID, Deleted: ev.Deleted, Value: ev.Value,
			Origin: origin, Hash: hash, Time: ev.Time, Diff: append([]crdt.Difference{}, ev.Diff...),
		})
		if err == nil {
			err = e.stdout.Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
