package main

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type forgetCmd struct {
	Targets []targetArg `arg:"" optional:"" name:"target" sep:"none" help:"COLLECTION or COLLECTION/ID."`
	HeldBy  string      `placeholder:"URL" xor:"holder" help:"Ask this space, http(s)://HOST/spaces/NAME, and forget only what it holds in the same state."`
	Unasked bool        `xor:"holder" help:"Forget without asking anybody: what no other replica holds is lost."`
	Outside bool        `help:"Forget what a sync with the same --collection, --prefix and --where leaves out."`
	linkFlags

	selectorFlags
}

// Help is shown by --help.
func (forgetCmd) Help() string {
	return `Drops the data of records here, and nowhere else. Of each a stub remains, which is not shown, sent or updated; "fetch" brings
the record back. The space asked has to be a hub ("godwit serve"), which forgets nothing. Prints how many records were
forgotten, and which of those named were not, and why; exits with 1 if there are such. "compact --vacuum" gives the space
back to the disk.

    godwit forget photos --held-by http://localhost:8080/spaces/crew
    godwit forget photos/1 photos/2 --held-by http://localhost:8080/spaces/crew
    godwit forget --outside --collection tasks --where status=active --held-by http://localhost:8080/spaces/crew`
}

// forgotten is what forget prints with --json.
type forgotten struct {
	Forgotten int          `json:"forgotten"`
	Kept      []keptRecord `json:"kept,omitempty"`
}

// keptRecord is a record that was not forgotten.
type keptRecord struct {
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Why        string `json:"why"`
}

// Run forgets.
func (c *forgetCmd) Run(e *env) error {
	selects := len(c.Collection)+len(c.Prefix)+len(c.Where) > 0
	switch {
	case c.HeldBy == "" && !c.Unasked:
		return usagef("give --held-by URL, or --unasked if what no other replica holds may be lost")
	case c.Outside != selects:
		return usagef("--outside goes together with --collection, --prefix or --where")
	case c.Outside == (len(c.Targets) > 0):
		return usagef("give records and collections to forget, or --outside")
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		keys, err := c.keys(e.ctx, r)
		if err != nil {
			return err
		}
		n, err := c.forget(e, r, keys)
		if err != nil {
			return err
		}
		return printForgotten(e, n)
	})
}

func (c *forgetCmd) forget(e *env, r *replica.Replica, keys []crdt.Key) (replica.Forgetting, error) {
	if c.Unasked {
		return r.ForgetUnasked(e.ctx, keys)
	}
	peer, err := c.peer(c.HeldBy)
	if err != nil {
		return replica.Forgetting{}, err
	}
	link, done, err := peer(r)
	if err != nil {
		return replica.Forgetting{}, err
	}
	defer done()
	return r.Forget(e.ctx, link, keys)
}

// keys returns what is to be forgotten.
func (c *forgetCmd) keys(ctx context.Context, r *replica.Replica) (keys []crdt.Key, err error) {
	if c.Outside {
		return gather(r.OutsideKeys(ctx, c.scope()))
	}
	for _, t := range c.Targets {
		if t.ID != "" {
			keys = append(keys, t.Key)
			continue
		}
		for it, err := range r.List(ctx, t.Collection, 0) {
			if err != nil {
				return nil, err
			}
			keys = append(keys, it.Key)
		}
	}
	return keys, nil
}

func gather(all iter.Seq2[crdt.Key, error]) (keys []crdt.Key, err error) {
	for k, err := range all {
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func printForgotten(e *env, n replica.Forgetting) error {
	out := forgotten{Forgotten: n.Forgotten}
	for k, why := range n.Kept {
		out.Kept = append(out.Kept, keptRecord{k.Collection, k.ID, why})
	}
	slices.SortFunc(out.Kept, func(a, b keptRecord) int {
		return slices.Compare([]string{a.Collection, a.ID}, []string{b.Collection, b.ID})
	})
	if e.json {
		if err := e.printJSON(out); err != nil {
			return err
		}
	} else {
		for _, k := range out.Kept {
			e.printf("%s/%s\tkept: %s\n", k.Collection, k.ID, k.Why)
		}
		e.printf("forgotten: %d records\n", out.Forgotten)
	}
	if len(out.Kept) > 0 {
		return fmt.Errorf("%d records were not forgotten", len(out.Kept))
	}
	return nil
}
