package main

import (
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type explainCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"COLLECTION/ID."`
	selectorFlags
}

// Help is shown by --help.
func (explainCmd) Help() string {
	return `Prints a paragraph: whether the record is here, and where it stands with each known peer: what was not acknowledged and why
that is, as far as this file tells; what a peer refused, what is forked, waits or was refused here. What a link leaves out
is not written down: give the flags that it was made with.

    godwit explain notes/1
    godwit explain notes/1 --collection tasks
    godwit explain notes/1 --json`
}

// explanation is what explain prints with --json.
type explanation struct {
	Collection string       `json:"collection"`
	ID         string       `json:"id"`
	Synced     bool         `json:"synced"`
	Reasons    []reasonLine `json:"reasons"`
}

type reasonLine struct {
	Code string `json:"code"`
	Peer string `json:"peer"` // "" if it is about the record
	Text string `json:"text"`
}

// Run explains.
func (c *explainCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		x, err := r.Explain(e.ctx, c.Record.Key, c.options()...)
		if err != nil {
			return err
		}
		if !e.json {
			e.printf("%s\n", x)
			return nil
		}
		line := explanation{Collection: x.Key.Collection, ID: x.Key.ID, Synced: x.Synced}
		for _, why := range x.Reasons {
			peer := ""
			if why.Peer != (crdt.ReplicaID{}) {
				peer = why.Peer.String()
			}
			line.Reasons = append(line.Reasons, reasonLine{why.Code, peer, why.Text})
		}
		return e.printJSON(line)
	})
}

type peersCmd struct{}

// Help is shown by --help.
func (peersCmd) Help() string {
	return `One line a peer: its name, whether it is connected, when it was seen, how many changes it has not acknowledged and how many
it refused, the link that led to it last and the last error. A replica whose file was made anew is another peer.

    godwit peers
    godwit peers --json`
}

// Run lists the peers.
func (c *peersCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		st, err := r.Status(e.ctx)
		if err != nil {
			return err
		}
		if e.json {
			for _, p := range statusOf(st).Peers {
				if err := e.printJSON(p); err != nil {
					return err
				}
			}
			return nil
		}
		for _, p := range st.Peers {
			printPeer(e, p)
		}
		return nil
	})
}

func printPeer(e *env, p replica.PeerStatus) {
	e.printf("%s %-12s %s  %d pending", p.Replica, p.State, p.Seen.Format(time.DateTime), p.Pending)
	if p.Refused > 0 {
		e.printf(", %d refused", p.Refused)
	}
	if p.Carrier {
		e.printf(", a carrier")
	}
	if p.Link != "" {
		e.printf("  %s", p.Link)
	}
	if p.LastError != "" {
		e.printf("  last error: %s", p.LastError)
	}
	e.printf("\n")
}
