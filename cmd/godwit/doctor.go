package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type doctorCmd struct {
	Repair bool   `help:"First repair what is damaged, and the forked records of which the branch held here gives way."`
	From   string `placeholder:"URL" help:"With --repair: fetch damaged changes again from the space at this URL."`
	linkFlags
}

// Help is shown by --help.
func (doctorCmd) Help() string {
	return `Walks the whole file: the store's invariants, and whether each record's history gives what is stored of it. Then lists
the forked records, the change sets that wait for another change, the refused changes, with peer and reason, and those of
this replica that a peer refused: they are sent again when that lets this replica write more, or the record changes. Exits
with 1 when the file has a problem; what is forked, waits or was refused is none.

--repair first computes anew, from the changes of records, what is stored beside them: values, heads, clocks, indexes. Damaged
changes are named. With --from they are taken out of their records and fetched again from a peer; what builds on them
waits in the file meanwhile, and nothing that can be read is lost. What the peer does not have either is listed as lost, and comes
with a later sync from whoever has it. Damaged changes are never sent.

When pages of the file cannot be read, or the log in it does not hold together, --repair makes a new file of all that can be
read, as the same replica, and keeps the damaged one beside it as FILE.damaged-1. No other program may have it open then.

A record is forked when a program was copied with its actor, and both copies wrote: two changes have one name, and no
Automerge takes the second. --repair writes one of the branches anew under other actors; it says for each fork whether
that is to be done here or at the peer. Nothing is lost, and replicas that hold the same branch follow by themselves.
Without --repair nothing is changed.

    godwit doctor
    godwit doctor --repair
    godwit doctor --repair --from https://hub.example/spaces/crew
    godwit doctor --json`
}

// diagnosis is what doctor prints with --json.
type diagnosis struct {
	Problems    []problemLine `json:"problems"`
	Forked      []forkLine    `json:"forked"`
	Parked      []parkedLine  `json:"parked"`
	Quarantined []refusedLine `json:"quarantined"`
	Denied      []refusedLine `json:"denied"` // by the peer
	Lost        []lostLine    `json:"lost"`
}

// lostLine is a change that was damaged and that nobody has brought back.
type lostLine struct {
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Hash       string `json:"hash"` // "" if not even that is known
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
	d := diagnosis{Problems: []problemLine{}, Forked: []forkLine{}, Parked: []parkedLine{}, Quarantined: []refusedLine{}, Denied: []refusedLine{}, Lost: []lostLine{}}
	if c.From != "" && !c.Repair {
		return usagef("--from goes with --repair")
	}
	if c.Repair {
		if err := c.repair(e); err != nil {
			return err
		}
	}
	err := e.replica(mustExist, func(r *replica.Replica) error {
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
		lost, err := r.Lost(e.ctx)
		if err != nil {
			return err
		}
		for _, l := range lost {
			d.Lost = append(d.Lost, lostLine{l.Key.Collection, l.Key.ID, hashName(l.Hash)})
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

// repair repairs what it can, in a new file if need be, and says what that was.
func (c *doctorCmd) repair(e *env) error {
	broken, err := c.mend(e)
	if !broken {
		return err
	}
	key, err := e.key.key()
	if err != nil {
		return err
	}
	s, err := replica.Salvage(e.ctx, e.db, &replica.Options{Key: key, Logger: e.logger()})
	if err != nil {
		return err
	}
	e.note("made a new file of what can be read: %d records, %d changes; the damaged one is %s", s.Records, s.Changes, s.Copy)
	for _, m := range s.Missing {
		e.note("nothing can be read at positions %d to %d of the old log", m.From, m.To)
	}
	if s.Unnamed > 0 {
		e.note("of %d changes it is not known which record they are of", s.Unnamed)
	}
	if c.From == "" {
		e.note("to fetch what is missing: godwit doctor --repair --from URL")
	}
	_, err = c.mend(e)
	return err
}

// mend repairs the file as it is, from the peer if one is named, and says what it did;
// broken says that this takes a new file.
func (c *doctorCmd) mend(e *env) (broken bool, err error) {
	var done replica.Repaired
	err = e.replica(mustExist, func(r *replica.Replica) (err error) {
		if c.From == "" {
			done, err = r.Repair(e.ctx)
			return err
		}
		dial, err := c.peer(c.From)
		if err != nil {
			return err
		}
		link, hangUp, err := dial(r)
		if err != nil {
			return err
		}
		defer hangUp()
		done, err = r.RepairFrom(e.ctx, link)
		return err
	})
	for _, k := range done.Rewritten {
		e.note("rewrote %s from its changes", k)
	}
	for _, k := range done.Parted {
		e.note("took the damaged changes out of %s, to be fetched again", k)
	}
	for _, d := range done.Damaged {
		e.note("cannot repair %s: %v", d.Key, d.Err)
	}
	if len(done.Damaged) > 0 && c.From == "" {
		e.note("to fetch damaged changes again from a peer: godwit doctor --repair --from URL")
	}
	return len(done.Broken) > 0 || errors.Is(err, replica.ErrDamaged) || errors.Is(err, replica.ErrNotOurs), err
}

func hashName(h crdt.Hash) string {
	if h == (crdt.Hash{}) {
		return ""
	}
	return h.String()
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
	for _, l := range d.Lost {
		e.printf("lost     %s/%s: change %s was damaged here, and no peer has brought it back yet\n", l.Collection, l.ID, cmp.Or(l.Hash, "of unknown hash"))
	}
	if len(d.Problems) == 0 {
		e.printf("%s has no problems\n", e.db)
	}
}
