package main

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type doctorCmd struct {
	Repair bool `help:"First repair what is stored of records beside their changes, and the forked records of which the branch held here gives way."`
}

// Help is shown by --help.
func (doctorCmd) Help() string {
	return `Walks the whole file: the store's invariants, and whether each record's history gives what is stored of it. Then lists
the forked records, the change sets that wait for another change, the refused changes, with peer and reason, and those of
this replica that a peer refused: they are sent again when that lets this replica write more, or the record changes. Exits
with 1 when the file has a problem; what is forked, waits or was refused is none.

--repair first computes anew, from the changes of records, what is stored beside them: values, heads, clocks. Damaged changes
are none of that: they are named, and stay as they are.

A record is forked when a program was copied with its actor, and both copies wrote: two changes have one name, and no
Automerge takes the second. --repair writes one of the branches anew under other actors; it says for each fork whether
that is to be done here or at the peer. Nothing is lost, and replicas that hold the same branch follow by themselves.
Without --repair nothing is changed.

    godwit doctor
    godwit doctor --repair
    godwit doctor --json`
}

// diagnosis is what doctor prints with --json.
type diagnosis struct {
	Problems    []problemLine `json:"problems"`
	Forked      []forkLine    `json:"forked"`
	Parked      []parkedLine  `json:"parked"`
	Quarantined []refusedLine `json:"quarantined"`
	Denied      []refusedLine `json:"denied"` // by the peer
}

type problemLine struct {
	Kind       string `json:"kind"`
	Collection string `json:"collection"` // "" if it is about no record
	ID         string `json:"id"`
	LSN        int64  `json:"lsn"` // 0 if it is about no change
	Detail     string `json:"detail"`
	Advice     string `json:"advice"`
}

// forkLine is a fork.
type forkLine struct {
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Actor      string `json:"actor"`
	Seq        uint64 `json:"seq"`
	Have       string `json:"have"`
	Got        string `json:"got"`
	Peer       string `json:"peer"`
	Here       bool   `json:"here"` // --repair repairs it
	Time       int64  `json:"time"`
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
	d := diagnosis{Problems: []problemLine{}, Forked: []forkLine{}, Parked: []parkedLine{}, Quarantined: []refusedLine{}, Denied: []refusedLine{}}
	err := e.replica(mustExist, func(r *replica.Replica) error {
		if c.Repair {
			if err := repair(e, r); err != nil {
				return err
			}
		}
		if err := d.addForks(e, r, c.Repair); err != nil {
			return err
		}
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
		if err != nil {
			return err
		}
		return d.addDenied(e, r)
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

// repair rewrites what follows from changes, and says of which records.
func repair(e *env, r *replica.Replica) error {
	done, err := r.Repair(e.ctx)
	for _, k := range done.Rewritten {
		e.note("rewrote %s from its changes", k)
	}
	for _, d := range done.Damaged {
		e.note("cannot repair %s: %v", d.Key, d.Err)
	}
	return err
}

// addForks lists what is forked, after it was repaired if that is asked for.
func (d *diagnosis) addForks(e *env, r *replica.Replica, repair bool) error {
	forks, err := r.Forks(e.ctx)
	if err != nil {
		return err
	}
	repaired := map[crdt.Key]bool{}
	for _, f := range forks {
		if repair && f.Here && !repaired[f.Key] {
			n, err := r.RepairFork(e.ctx, f.Key)
			if err != nil {
				return err
			}
			repaired[f.Key] = true
			e.note("repaired %s: %d changes written anew", f.Key, n)
		}
		if repaired[f.Key] {
			continue
		}
		d.Forked = append(d.Forked, forkLine{
			f.Key.Collection, f.Key.ID, f.Actor.String(), f.Seq, f.Have.String(), f.Got.String(), f.Peer.String(), f.Here, f.Since.UnixMilli(),
		})
	}
	return nil
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

// addDenied lists what peers did not take.
func (d *diagnosis) addDenied(e *env, r *replica.Replica) error {
	all, err := r.Refusals(e.ctx)
	for _, f := range all {
		d.Denied = append(d.Denied, refusedLine{
			f.Peer.String(), f.Key.Collection, f.Key.ID, f.Hash.String(), f.Code, f.Detail, f.Since.UnixMilli(),
		})
	}
	return err
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
	for _, f := range d.Forked {
		where := "the other side's branch gives way: repair it there"
		if f.Here {
			where = "this side's branch gives way: doctor --repair writes it anew"
		}
		e.printf("forked   %s/%s: actor %s has two changes with sequence %d, %s here and %s from %s; %s\n",
			f.Collection, f.ID, f.Actor, f.Seq, f.Have, f.Got, f.Peer, where)
	}
	for _, p := range d.Parked {
		e.printf("waiting  set %s of %s, for %v: %s\n", p.Set, p.Peer, p.Waits, p.Reason)
	}
	for _, q := range d.Quarantined {
		e.printf("refused  %s/%s from %s: %s: %s\n", q.Collection, q.ID, q.Peer, q.Code, q.Detail)
	}
	for _, q := range d.Denied {
		e.printf("denied   %s/%s by %s: %s: %s\n", q.Collection, q.ID, q.Peer, q.Code, q.Detail)
	}
	if len(d.Problems) == 0 {
		e.printf("%s has no problems\n", e.db)
	}
}
