package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type conflictsCmd struct {
	Collection collectionArg `arg:"" optional:"" help:"The collection; all of them if none is given."`
}

// Help is shown by --help.
func (conflictsCmd) Help() string {
	return `A field is in conflict when several replicas wrote different values to it without knowing of each other. None is
lost: the collection's policy says which is shown, "winner" marks it (where it combines them, none is), and any later
edit of the field settles it. A field that one replica deleted while another wrote to it is in conflict too: the deletion
is a candidate with "deleted":true. So is a map, list, text or counter that one replica deleted or overwrote while another
edited in it: it has "hidden":true, since no Automerge shows it, and who edited it and when. resolve --pick writes it anew.
Under a policy of whole records (whole-record-lww, update-wins, delete-wins) the
record itself can be in conflict; its path is "". One line of JSON a conflict; time is in milliseconds since 1970.

    godwit conflicts notes
    godwit resolve notes/1 title --pick 0`
}

// conflictLine is a line of conflicts.
type conflictLine struct {
	Collection string          `json:"collection"`
	ID         string          `json:"id"`
	Path       string          `json:"path"`
	Candidates []candidateLine `json:"candidates"`
}

type candidateLine struct {
	Value   json.RawMessage `json:"value"`             // null of a deletion
	Deleted bool            `json:"deleted,omitempty"` // it is a deletion
	Hidden  bool            `json:"hidden,omitempty"`  // it was deleted or overwritten by who had not seen an edit in it
	Replica string          `json:"replica"`           // "" for an author that is no godwit replica
	Actor   string          `json:"actor"`
	Op      string          `json:"op"`
	Time    int64           `json:"time"`
	Hash    string          `json:"hash"`
	Message string          `json:"message,omitempty"`
	Winner  bool            `json:"winner"`
}

// Run lists the conflicts.
func (c *conflictsCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		for conflict, err := range r.Conflicts(e.ctx, string(c.Collection)) {
			if err != nil {
				return err
			}
			line := conflictLine{Collection: conflict.Key.Collection, ID: conflict.Key.ID, Path: conflict.Path.String()}
			for _, cand := range conflict.Candidates {
				l, err := lineOf(cand)
				if err != nil {
					return fmt.Errorf("%v, %s: %w", conflict.Key, line.Path, err)
				}
				line.Candidates = append(line.Candidates, l)
			}
			if err := e.printJSON(line); err != nil {
				return err
			}
		}
		return nil
	})
}

func lineOf(c crdt.Candidate) (candidateLine, error) {
	value, err := crdt.AppendJSON(nil, c.Value)
	l := candidateLine{
		Value: value, Deleted: c.Deleted, Hidden: c.Hidden, Actor: c.Actor.String(), Op: c.Op.String(), Time: c.Time, Hash: c.Hash.String(),
		Message: c.Message, Winner: c.Winner,
	}
	if c.Replica != (crdt.ReplicaID{}) {
		l.Replica = c.Replica.String()
	}
	return l, err
}

type resolveCmd struct {
	Record recordArg `arg:"" name:"collection/id" help:"The record."`
	Path   pathArg   `arg:"" optional:"" help:"The field, as conflicts prints it: a.b[2].c; unusual keys as [\"full name\"]. Without one, the record itself, under a policy of whole records."`
	Pick   *uint32   `xor:"choice" required:"" placeholder:"N" help:"Keep this candidate, counted from 0 in the order that conflicts prints."`
	Value  *string   `xor:"choice" required:"" placeholder:"JSON" help:"Set this value instead of all candidates."`
}

// Help is shown by --help.
func (resolveCmd) Help() string {
	return `Everyone who receives the choice sees it, under every policy, unless they write to the field at the same time.

    godwit resolve notes/1 title --pick 1
    godwit resolve notes/1 title --value '"Tides and currents"'
    godwit resolve notes/1 depth --value=-4`
}

// Run settles the conflict.
func (c *resolveCmd) Run(e *env) error {
	var value any
	if c.Value != nil {
		var err error
		if value, err = crdt.ParseJSON([]byte(*c.Value)); err != nil {
			return fmt.Errorf("resolve %v: --value: %w", c.Record, err)
		}
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		candidates, err := c.candidates(e, r)
		if err != nil {
			return err
		}
		keep, err := c.choose(candidates, value)
		if err != nil {
			return err
		}
		return r.Update(e.ctx, func(tx *replica.Tx) error {
			return tx.Edit(c.Record.Key, func(ed *crdt.Edit) error {
				// First one candidate, so that a value which is written into it, as
				// into a map or a text, leaves no other one standing.
				err := ed.Resolve(c.Path.Path, keep.Op)
				if err == nil && c.Value != nil {
					err = ed.Put(c.Path.Path, value, crdt.Replace)
				}
				return err
			})
		})
	})
}

// candidates returns those of the conflict, as conflicts prints them.
func (c *resolveCmd) candidates(e *env, r *replica.Replica) ([]crdt.Candidate, error) {
	policy, err := r.Policy(e.ctx, c.Record.Collection)
	if err != nil {
		return nil, err
	}
	view, err := policy.View(r.ID())
	if err != nil {
		return nil, err
	}
	history, err := r.History(e.ctx, c.Record.Key)
	if err != nil {
		return nil, err
	}
	for _, conflict := range history.Conflicts(view) {
		if slices.Equal(conflict.Path, c.Path.Path) {
			return conflict.Candidates, nil
		}
	}
	return nil, &replica.Error{Op: "resolve", Record: c.Record.Key, Err: c.noConflict()}
}

func (c *resolveCmd) noConflict() error {
	if len(c.Path.Path) == 0 {
		return errors.New("there is no conflict of the record itself; name a field")
	}
	return fmt.Errorf("there is no conflict at %s", c.Path)
}

// choose returns the candidate to keep: the one picked, else one that has the
// value already, else the one that is shown.
func (c *resolveCmd) choose(all []crdt.Candidate, value any) (crdt.Candidate, error) {
	if c.Pick != nil {
		if int64(*c.Pick) >= int64(len(all)) {
			return crdt.Candidate{}, fmt.Errorf("resolve %v: there are %d candidates, --pick takes 0 to %d", c.Record, len(all), len(all)-1)
		}
		return all[*c.Pick], nil
	}
	want, err := crdt.AppendJSON(nil, value)
	if err != nil {
		return crdt.Candidate{}, err
	}
	for _, cand := range all {
		got, err := crdt.AppendJSON(nil, cand.Value)
		if err == nil && !cand.Deleted && bytes.Equal(got, want) {
			return cand, nil
		}
	}
	for _, cand := range all {
		if cand.Winner {
			return cand, nil
		}
	}
	return all[0], nil // the policy combines them
}
