package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type watchCmd struct {
	Target   targetArg    `arg:"" optional:"" placeholder:"COLLECTION[/ID]" help:"What is followed; everything, if it is left out."`
	Where    []condArg    `placeholder:"'FIELD OP VALUE'" sep:"none" help:"Follow the records of which this holds, see ls. Can be repeated: all have to hold."`
	Search   string       `placeholder:"WORDS" help:"Follow the records that have these words in their full text."`
	Contents bool         `help:"Begin with the records that there are, and a line of kind ready."`
	From     *positionArg `placeholder:"POSITION" help:"Begin behind this position, or lsn, of an earlier line, also of an earlier run."`
	Latest   bool         `help:"Leave out a change if a later one of the record is there already, and diff."`
}

// Help is shown by --help.
func (watchCmd) Help() string {
	return `Each change that is committed from now on, by this or another process, local or received, once and in order, until
interrupted. One line of JSON: lsn is the position in the log, value the record as it is now (null when deleted), origin
"local" or the replica that sent it, time the author's in milliseconds since 1970, diff what this change made different,
as godwit diff prints it, conflict "detected" or "resolved" if it made the record have one or rid it of one. A line of kind
"view" tells that the record shows something else under another policy, though nobody changed it; hash, time and diff are
empty. position is for --from; behind one that the log does not hold any more nothing can be followed.

With --where, --search or --contents query says what became of the selection: the record enters, is updated while it is in,
or leaves, also by another policy.

    godwit watch notes
    godwit watch notes/1 --latest
    godwit watch tasks --where 'status eq open' --contents
    godwit watch notes --from 42`
}

// Run prints changes until interrupted.
func (c *watchCmd) Run(e *env) error {
	query := len(c.Where) > 0 || c.Search != "" || c.Contents
	switch {
	case query && c.Target.Collection == "":
		return usagef("--where, --search and --contents need a COLLECTION")
	case query && c.Target.ID != "":
		return usagef("--where, --search and --contents are of a whole collection, not of %s", c.Target)
	case c.Contents && c.From != nil:
		return usagef("--contents and --from: give one")
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		events := c.events(e, r, query)
		e.note("watching %s", c.target()) // whoever reads this misses nothing
		return printEvents(e, events, func(*replica.Event) bool { return true })
	})
}

func (c *watchCmd) target() string {
	switch {
	case c.Target.Collection == "":
		return "everything"
	case c.Target.ID == "":
		return c.Target.Collection
	}
	return c.Target.String()
}

func (c *watchCmd) events(e *env, r *replica.Replica, query bool) iter.Seq2[replica.Event, error] {
	var opts []replica.WatchOption
	if c.From != nil {
		opts = append(opts, replica.From(c.From.Position))
	}
	if c.Latest {
		opts = append(opts, replica.Latest())
	}
	if c.Contents {
		opts = append(opts, replica.Contents())
	}
	switch {
	case query:
		return r.WatchQuery(e.ctx, replica.Query{Collection: c.Target.Collection, Where: allOf(c.Where, c.Search)}, opts...)
	case c.Target.ID != "":
		return r.WatchRecord(e.ctx, c.Target.Key, opts...)
	}
	return r.Watch(e.ctx, c.Target.Collection, opts...)
}

// positionArg is a position as the lines of watch have it, or an lsn alone.
type positionArg struct{ replica.Position }

// UnmarshalText reads LSN or LSN.VIEW.EPOCH.CHAIN, the last two in hex.
func (a *positionArg) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q is no position: want one of a line that watch printed, or an lsn", text)
	parts := strings.Split(string(text), ".")
	lsn, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || lsn < 0 || len(parts) != 1 && len(parts) != 4 {
		return bad
	}
	a.Log.LSN = crdt.LSN(lsn)
	if len(parts) == 1 {
		return nil
	}
	view, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || view < 0 {
		return bad
	}
	a.View = view
	if a.Log.Epoch, err = strconv.ParseUint(parts[2], 16, 64); err != nil {
		return bad
	}
	chain, err := hex.DecodeString(parts[3])
	if err != nil || len(chain) != len(a.Log.Chain) {
		return bad
	}
	a.Log.Chain = crdt.Chain(chain)
	return nil
}

// String is what UnmarshalText reads.
func (a positionArg) String() string {
	return fmt.Sprintf("%d.%d.%016x.%x", a.Log.LSN, a.View, a.Log.Epoch, a.Log.Chain[:])
}

// eventLine is a line of watch and connect.
type eventLine struct {
	Kind       string          `json:"kind"` // change, view, contents or ready
	LSN        int64           `json:"lsn"`
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Deleted    bool            `json:"deleted"`
	Value      json.RawMessage `json:"value"`
	Origin     string          `json:"origin"`
	Hash       string          `json:"hash"`
	Time       int64           `json:"time"`
	// Diff says what this change made different in Value.
	Diff      []crdt.Difference `json:"diff"`
	Conflict  string            `json:"conflict"`  // "", detected or resolved
	Conflicts int               `json:"conflicts"` // that the record has now
	Query     string            `json:"query"`     // "", enter, update or leave
	Position  string            `json:"position"`
}

func eventLineOf(ev *replica.Event) eventLine {
	line := eventLine{
		Kind: "change", LSN: int64(ev.LSN), Collection: ev.Key.Collection, ID: ev.Key.ID, Deleted: ev.Deleted, Value: ev.Value,
		Origin: "local", Hash: ev.Hash.String(), Time: ev.Time, Diff: append([]crdt.Difference{}, ev.Diff...),
		Conflicts: ev.Conflicts, Position: positionArg{ev.Position}.String(),
	}
	if ev.Kind != replica.EventChange {
		line.Kind, line.Hash = kindOf(ev.Kind), ""
	} else if !ev.Origin.Local {
		line.Origin = ev.Origin.Peer.String()
	}
	switch ev.Conflict {
	case replica.ConflictDetected:
		line.Conflict = "detected"
	case replica.ConflictResolved:
		line.Conflict = "resolved"
	}
	switch ev.Query {
	case replica.QueryEnter:
		line.Query = "enter"
	case replica.QueryUpdate:
		line.Query = "update"
	case replica.QueryLeave:
		line.Query = "leave"
	}
	return line
}

func kindOf(k replica.EventKind) string {
	switch k {
	case replica.EventContents:
		return "contents"
	case replica.EventReady:
		return "ready"
	}
	return "view"
}

// printEvents prints the events that are wanted, each at once.
func printEvents(e *env, events iter.Seq2[replica.Event, error], want func(*replica.Event) bool) error {
	for ev, err := range events {
		if err == nil && !want(&ev) {
			continue
		}
		if err == nil {
			err = e.printJSON(eventLineOf(&ev))
		}
		if err == nil {
			err = e.stdout.Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
