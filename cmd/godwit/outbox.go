package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// peerArg is a replica's ID.
type peerArg struct{ crdt.ReplicaID }

// UnmarshalText reads 16 hex digits.
func (a *peerArg) UnmarshalText(text []byte) (err error) {
	a.ReplicaID, err = crdt.ParseReplicaID(string(text))
	return err
}

func peerIDs(args []peerArg) (all []crdt.ReplicaID) {
	for _, a := range args {
		all = append(all, a.ReplicaID)
	}
	return all
}

type outboxCmd struct {
	Target targetArg `arg:"" optional:"" placeholder:"COLLECTION[/ID]" help:"List what concerns this collection, or record."`
	Peer   []peerArg `sep:"none" placeholder:"REPLICA" help:"Only these count. May be repeated."`
	Synced bool      `help:"List what is acknowledged too, since the outbox was cleared."`
	Watch  bool      `help:"Print each change of a state as it happens, until interrupted."`
	Clear  bool      `help:"Do not list any more what is acknowledged by now."`
}

// Help is shown by --help.
func (outboxCmd) Help() string {
	return `Lists what was written here and is not on the disk of the peers that count, oldest first: pending, syncing, or failed,
with the reason; "abandon" gives up what was refused. The peers that count are those that this replica dials; if it
dials none, those that dial it. With --synced also what they have, and what the links leave out, which waits for nobody.

    godwit outbox
    godwit outbox notes --synced
    godwit outbox --watch --json`
}

type outboxLine struct {
	LSN     int64          `json:"lsn"`
	Time    int64          `json:"time"`
	State   string         `json:"state"`
	Records []string       `json:"records"`
	Peers   []peerSyncLine `json:"peers"`
}

type peerSyncLine struct {
	Replica   string `json:"replica"` // "": nobody was met over the link yet
	Link      string `json:"link"`
	State     string `json:"state"`
	Carrier   bool   `json:"carrier"`
	Attempts  int    `json:"attempts"`
	LastError string `json:"last_error"`
	Code      string `json:"code"`
	Next      int64  `json:"next"` // 0: no telling
}

// Run lists the outbox.
func (c *outboxCmd) Run(e *env) error {
	f := replica.OutboxFilter{Collection: c.Target.Collection, ID: c.Target.ID, Peers: peerIDs(c.Peer), Synced: c.Synced}
	return e.replica(mustExist, func(r *replica.Replica) error {
		if c.Clear {
			return r.ClearOutbox(e.ctx)
		}
		all := r.Outbox(e.ctx, f)
		if c.Watch {
			all = r.WatchOutbox(e.ctx, f)
		}
		return e.outbox(all, c.Watch)
	})
}

func (e *env) outbox(all iter.Seq2[replica.Outgoing, error], flush bool) error {
	for out, err := range all {
		if err == nil {
			err = e.outgoing(out)
		}
		if err == nil && flush {
			err = e.stdout.Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *env) outgoing(out replica.Outgoing) error {
	line := outboxLine{LSN: int64(out.LSN), Time: out.Time.UnixMilli(), State: string(out.State), Records: keyStrings(out.Records), Peers: peerSyncLines(out.Peers)}
	if e.json {
		return e.printJSON(line)
	}
	e.printf("%-8s %d  %s  %s\n", out.State, out.LSN, out.Time.Format(time.DateTime), abridged(line.Records))
	e.peerSyncs(out.Peers)
	return nil
}

func keyStrings(keys []crdt.Key) []string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.String()
	}
	return all
}

// abridged names the first few records of a change set.
func abridged(records []string) string {
	const few = 3
	if n := len(records); n > few {
		return fmt.Sprintf("%s and %d more", strings.Join(records[:few], " "), n-few)
	}
	return strings.Join(records, " ")
}

func peerSyncLines(all []replica.PeerSync) []peerSyncLine {
	lines := []peerSyncLine{}
	for _, p := range all {
		line := peerSyncLine{Replica: p.Peer.String(), Link: p.Link, State: string(p.State), Carrier: p.Carrier, Attempts: p.Attempts, LastError: p.LastError, Code: p.Code}
		if p.Peer == (crdt.ReplicaID{}) {
			line.Replica = ""
		}
		if !p.Next.IsZero() {
			line.Next = p.Next.UnixMilli()
		}
		lines = append(lines, line)
	}
	return lines
}

func (e *env) peerSyncs(all []replica.PeerSync) {
	for _, p := range all {
		e.printf("         %s", p.State)
		if p.Peer != (crdt.ReplicaID{}) {
			e.printf(" %s", p.Peer)
		}
		if p.Link != "" {
			e.printf(" %s", p.Link)
		}
		if p.Carrier {
			e.printf(", a carrier, which gives no receipts")
		}
		if p.Attempts > 0 {
			e.printf(", %d attempts", p.Attempts)
		}
		if p.LastError != "" {
			e.printf(": %s", p.LastError)
		}
		if !p.Next.IsZero() {
			e.printf("; next attempt %s", p.Next.Format(time.TimeOnly))
		}
		e.printf("\n")
	}
}

type receiptsCmd struct {
	Record recordArg `arg:"" placeholder:"COLLECTION/ID" help:"The record."`
	All    bool      `help:"Of every change of it, not only of the latest."`
}

// Help is shown by --help.
func (receiptsCmd) Help() string {
	return `Says which replicas have the record's latest change on disk: those that acknowledged it, or sent it.

    godwit receipts notes/1
    godwit receipts notes/1 --all --json`
}

type receiptLine struct {
	LSN   int64          `json:"lsn"`
	Hash  string         `json:"hash"`
	Actor string         `json:"actor"`
	Local bool           `json:"local"`
	Peers []peerSyncLine `json:"peers"`
}

// Run prints the receipts.
func (c *receiptsCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		for got, err := range r.Receipts(e.ctx, c.Record.Key) {
			if err != nil {
				return err
			}
			if e.json {
				err = e.printJSON(receiptLine{int64(got.LSN), got.Hash.String(), got.Actor.String(), got.Origin.Local, peerSyncLines(got.Peers)})
			} else {
				e.printf("%d  %s\n", got.LSN, got.Hash)
				e.peerSyncs(got.Peers)
			}
			if err != nil || !c.All {
				return err
			}
		}
		return nil
	})
}

type waitCmd struct {
	Peer    []peerArg     `sep:"none" placeholder:"REPLICA" help:"Wait for these. May be repeated."`
	Timeout time.Duration `placeholder:"DURATION" help:"Give up after this long, as in 30s. Nothing is lost then."`
}

// Help is shown by --help.
func (waitCmd) Help() string {
	return `Waits until all that is in the replica is on the disk of the peers; without --peer of those that count, see outbox. It
makes no connection: another process does, with connect or serve.

    godwit wait --timeout 30s
    godwit wait --peer 5f0c9a7e31d2b846`
}

// Run waits.
func (c *waitCmd) Run(e *env) error {
	if c.Timeout < 0 {
		return usagef("--timeout is negative")
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		head, err := r.Head(e.ctx)
		if err != nil {
			return err
		}
		ctx := e.ctx
		if c.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
			defer cancel()
		}
		return r.WaitFor(ctx, head.LSN, peerIDs(c.Peer)...)
	})
}

var errTimeout = errors.New("the time is up")
