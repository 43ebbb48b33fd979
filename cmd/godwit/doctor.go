package main

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type doctorCmd struct{}

// Help is shown by --help.
func (doctorCmd) Help() string {
	return `Walks the whole file: the store's invariants, and whether each record's history gives what is stored of it. Then lists
the change sets that wait for another change, and the refused changes, with peer and reason. Changes nothing. Exits with
1 when the file has a problem; what waits or was refused is none.

    godwit doctor
    godwit doctor --json`
}

// diagnosis is what doctor prints with --json.
type diagnosis struct {
	Problems    []problemLine `json:"problems"`
	Parked      []parkedLine  `json:"parked"`
	Quarantined []refusedLine `json:"quarantined"`
}

type problemLine struct {
	Kind       string `json:"kind"`
	Collection string `json:"collection"` // "" if it is about no record
	ID         string `json:"id"`
	LSN        int64  `json:"lsn"` // 0 if it is about no change
	Detail     string `json:"detail"`
	Advice     string `json:"advice"`
}

// parkedLine is a change set that waits.
type parkedLine struct {
	Peer   string   `json:"peer"`
	Set    string   `json:"set"`
	Waits  []string `json:"waits"` // COLLECTION/ID
	Reason string   `json:"reason"`
	Time   int64    `json:"time"`
}

// refusedLine is a change in quarantine.
type refusedLine struct {
	Peer       string `json:"peer"`
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Hash       string `json:"hash"`
	Code       string `json:"code"`
	Detail     string `json:"detail"`
	Time       int64  `json:"time"`
}

// Run checks the replica.
func (c *doctorCmd) Run(e *env) error {
	d := diagnosis{Problems: []problemLine{}, Parked: []parkedLine{}, Quarantined: []refusedLine{}}
	err := e.replica(mustExist, func(r *replica.Replica) error {
		err := r.Check(e.ctx, func(p replica.Problem) {
			d.Problems = append(d.Problems, problemLine{
				Kind: p.Kind, Collection: p.Key.Collection, ID: p.Key.ID, LSN: int64(p.LSN), Detail: p.Detail, Advice: p.Advice,
			})
		})
		if err != nil {
			return err
		}
		held, err := r.Held(e.ctx)
		d.addHeld(held)
		return err
	})
	if err != nil {
		return err
	}
	if e.json {
		err = e.printJSON(d)
	} else {
		d.print(e)
	}
	if err == nil && len(d.Problems) > 0 {
		err = fmt.Errorf("%s has %d problems", e.db, len(d.Problems))
	}
	return err
}

// addHeld lists what waits and what was refused.
func (d *diagnosis) addHeld(all []replica.Held) {
	for _, h := range all {
		if h.Waiting {
			d.Parked = append(d.Parked, parkedLine{h.Peer.String(), h.Set.String(), keyNames(h.Records), h.Detail, h.Since.UnixMilli()})
			continue
		}
		k := h.Records[0]
		d.Quarantined = append(d.Quarantined, refusedLine{
			h.Peer.String(), k.Collection, k.ID, h.Hash.String(), h.Code, h.Detail, h.Since.UnixMilli(),
		})
	}
}

func keyNames(keys []crdt.Key) []string {
	names := []string{}
	for _, k := range keys {
		names = append(names, k.String())
	}
	return names
}

// print writes the diagnosis for people.
func (d *diagnosis) print(e *env) {
	for _, p := range d.Problems {
		e.printf("problem  %s", p.Kind)
		if p.Collection != "" {
			e.printf(" %s/%s", p.Collection, p.ID)
		}
		if p.LSN != 0 {
			e.printf(" at %d", p.LSN)
		}
		e.printf(": %s\n", p.Detail)
		if p.Advice != "" {
			e.printf("         %s\n", p.Advice)
		}
	}
	for _, p := range d.Parked {
		e.printf("waiting  set %s of %s, for %v: %s\n", p.Set, p.Peer, p.Waits, p.Reason)
	}
	for _, q := range d.Quarantined {
		e.printf("refused  %s/%s from %s: %s: %s\n", q.Collection, q.ID, q.Peer, q.Code, q.Detail)
	}
	if len(d.Problems) == 0 {
		e.printf("%s has no problems\n", e.db)
	}
}
