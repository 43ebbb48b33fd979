package main

import (
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

type policyCmd struct {
	Collection collectionArg `arg:"" help:"The collection."`
	Rules      []ruleArg     `arg:"" optional:"" sep:"none" name:"rule" help:"[FIELD=]RESOLVER: what is shown of a conflict, in one field or everywhere else: automerge, lww, fww, local or remote."`
}

// Help is shown by --help.
func (policyCmd) Help() string {
	return `Without resolvers, prints the policy; with them, sets it as a whole, and returns when the stored values of all records
follow. A policy is a way of looking: it changes no history, so every other one can be set at any time, on every replica
its own.

    godwit policy notes
    godwit policy notes lww title=local 'items[*].price=fww'

automerge shows the greatest operation ID, as every Automerge does (the default); lww the latest, fww the earliest
change; local this replica's own value, remote another one's. Fields are paths in which * stands for any key and [*] for
any index.`
}

// Run shows or sets the policy.
func (c *policyCmd) Run(e *env) error {
	name := string(c.Collection)
	if len(c.Rules) == 0 {
		return e.replica(mustExist, func(r *replica.Replica) error {
			p, err := r.Policy(e.ctx, name)
			if err != nil {
				return err
			}
			return printPolicy(e, p)
		})
	}
	p, err := c.policy()
	if err != nil {
		return err
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		bar := newProgress(e.stderr, "rebuild "+name, -1, false)
		defer bar.done()
		if err := r.SetPolicy(e.ctx, name, p, func(done int) { bar.set(int64(done)) }); err != nil {
			return err
		}
		return printPolicy(e, p)
	})
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
	if p.Default == "" {
		p.Default = crdt.ResolverAutomerge
	}
	if err := e.printJSON(p); err != nil {
		return fmt.Errorf("print policy: %w", err)
	}
	return nil
}
