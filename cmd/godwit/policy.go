package main

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type policyCmd struct {
	Collection collectionArg `arg:"" help:"The collection."`
	Rules      []ruleArg     `arg:"" optional:"" sep:"none" name:"rule" help:"[FIELD=]RESOLVER: what is shown of a conflict, in one field or everywhere else."`
	Space      bool          `help:"Show or set the space's policy, which replicates and holds on every replica that has none of its own."`
	Clear      bool          `help:"Remove the replica's own policy, so that the space's holds; with --space, remove that."`
}

// Help is shown by --help.
func (policyCmd) Help() string {
	return `Without resolvers, prints the policy that holds; with them, sets it as a whole, and returns when the stored values of all
records follow. A policy is a way of looking: it changes no history, so every other one can be set at any time, on every
replica its own, or with --space for all of them.

    godwit policy notes
    godwit policy notes lww title=local 'items[*].price=max'
    godwit policy --space notes lww 'tags=union' 'body=concat: / '
    godwit policy --clear notes

Resolvers of a field or of everything:
  automerge       the greatest operation ID, as every Automerge shows (the default)
  lww, fww        the latest, the earliest change
  local, remote   this replica's own, another one's
  prefer:ID,...   the first of these replicas that wrote one
  max, min        null < bool < number < time < string < bytes < list < map
  union, concat, concat:SEPARATOR, merge, sum
                  lists (and maps), texts, maps, counters that were made at the same time, combined
  go:NAME         a function that the application registered

Of whole records, so without a field:
  whole-record-lww  the record as of the latest change
  update-wins       a record that was edited while it was deleted elsewhere is there whole
  delete-wins       it is gone, until somebody edits it who knows

Fields are paths in which * stands for any key and [*] for any index; what is in them follows. The most specific counts:
the longest, then the one whose first * comes later, then the first.`
}

// Run shows or sets the policy.
func (c *policyCmd) Run(e *env) error {
	if c.Clear && len(c.Rules) > 0 {
		return usagef("--clear takes no resolvers")
	}
	if !c.Clear && len(c.Rules) == 0 {
		return e.replica(mustExist, func(r *replica.Replica) error { return c.print(e, r) })
	}
	p, err := c.policy()
	if err != nil {
		return err
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		if err := c.set(e, r, p); err != nil {
			return err
		}
		return c.print(e, r)
	})
}

func (c *policyCmd) set(e *env, r *replica.Replica, p crdt.Policy) error {
	name := string(c.Collection)
	bar := newProgress(e.stderr, "rebuild "+name, -1, false)
	defer bar.done()
	progress := func(done int) { bar.set(int64(done)) }
	switch {
	case c.Space:
		return r.SetSpacePolicy(e.ctx, name, p, progress)
	case c.Clear:
		return r.ClearPolicy(e.ctx, name, progress)
	}
	return r.SetPolicy(e.ctx, name, p, progress)
}

func (c *policyCmd) print(e *env, r *replica.Replica) error {
	read := r.Policy
	if c.Space {
		read = r.SpacePolicy
	}
	p, err := read(e.ctx, string(c.Collection))
	if err != nil {
		return err
	}
	return printPolicy(e, p)
}

// policy returns what the arguments say.
func (c *policyCmd) policy() (p crdt.Policy, err error) {
	seen := map[string]bool{}
	for _, rule := range c.Rules {
		switch {
		case seen[rule.Field] && rule.Field == "":
			return p, usagef("there are two resolvers for all fields")
		case seen[rule.Field]:
			return p, usagef("there are two resolvers for %s", rule.Field)
		case rule.Field == "":
			p.Default = rule.Resolver
		default:
			p.Fields = append(p.Fields, crdt.FieldPolicy(rule))
		}
		seen[rule.Field] = true
	}
	return p, nil
}

func printPolicy(e *env, p crdt.Policy) error {
	p.Version = 0 // of the stored form
	if p.Default == "" {
		p.Default = crdt.ResolverAutomerge
	}
	if err := e.printJSON(p); err != nil {
		return fmt.Errorf("print policy: %w", err)
	}
	return nil
}
