package main

import (
	"fmt"
	"time"

	"github.com/godwitdb/godwit/replica"
)

type statusCmd struct{}

// Help is shown by --help.
func (statusCmd) Help() string {
	return `Of each peer: how many changes it has not acknowledged yet, how many it refused, how far each side has read the other's
log (position@epoch), and the last error.

    godwit status
    godwit status --json`
}

// statusLine is what status prints with --json.
type statusLine struct {
	Replica     string     `json:"replica"`
	Path        string     `json:"path"`
	Space       string     `json:"space"`
	Log         int64      `json:"log"`
	Records     int64      `json:"records"`
	Changes     int64      `json:"changes"`
	Conflicted  int64      `json:"conflicted"`
	Parked      int64      `json:"parked"`
	Quarantined int64      `json:"quarantined"`
	Forked      int64      `json:"forked"`
	Stale       int64      `json:"stale"`
	Peers       []peerLine `json:"peers"`
}

type peerLine struct {
	Replica   string `json:"replica"`
	State     string `json:"state"`
	Pending   int64  `json:"pending"`
	Refused   int64  `json:"refused"` // changes that it did not take
	Acked     string `json:"acked"`
	Read      string `json:"read"`
	Carrier   bool   `json:"carrier"` // no replica, but a stream
	LastError string `json:"last_error"`
	Seen      int64  `json:"seen"`
}

// Run prints the status.
func (c *statusCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		st, err := r.Status(e.ctx)
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		if e.json {
			return e.printJSON(statusOf(st))
		}
		printStatus(e, st)
		return nil
	})
}

func statusOf(st replica.Status) statusLine {
	line := statusLine{
		Replica: st.Replica.String(), Path: st.Path, Space: st.Space, Log: int64(st.Log.LSN), Records: st.Records,
		Changes: st.Changes, Conflicted: st.Conflicted, Parked: st.Parked, Quarantined: st.Quarantined,
		Forked: st.Forked, Stale: st.Stale, Peers: []peerLine{},
	}
	for _, p := range st.Peers {
		line.Peers = append(line.Peers, peerLine{
			Replica: p.Replica.String(), State: p.State, Pending: p.Pending, Refused: p.Refused, Acked: p.Acked.String(), Read: p.Read.String(),
			Carrier: p.Carrier, LastError: p.LastError, Seen: p.Seen.UnixMilli(),
		})
	}
	return line
}

func printStatus(e *env, st replica.Status) {
	space := st.Space
	if space == "" {
		space = "none yet, the first peer's"
	}
	e.printf("replica     %s in %s\n", st.Replica, st.Path)
	e.printf("space       %s\n", space)
	e.printf("records     %d, %d with a conflict\n", st.Records, st.Conflicted)
	e.printf("changes     %d, log at %v\n", st.Changes, st.Log)
	e.printf("waiting     %d change sets for others that they build on\n", st.Parked)
	e.printf("refused     %d changes\n", st.Quarantined)
	if st.Forked > 0 {
		e.printf("forked      %d times an actor has two changes of one number, see doctor\n", st.Forked)
	}
	if st.Stale > 0 {
		e.printf("rebuilding  %d values are to follow another policy\n", st.Stale)
	}
	for _, p := range st.Peers {
		e.printf("peer        %s %s, seen %s\n", p.Replica, p.State, p.Seen.Format(time.DateTime))
		e.printf("            %d changes wait for it; it has read to %v, its log was read to %v\n", p.Pending, p.Acked, p.Read)
		if p.Carrier {
			e.printf("            a carrier, no replica: what it was handed may be lost before a peer has it\n")
		}
		if p.Refused > 0 {
			e.printf("            it refused %d changes, see doctor\n", p.Refused)
		}
		if p.LastError != "" {
			e.printf("            last error: %s\n", p.LastError)
		}
	}
}
