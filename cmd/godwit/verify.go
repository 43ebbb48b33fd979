package main

import (
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

type verifyCmd struct {
	URL string `arg:"" name:"url" help:"The space: http(s)://HOST/spaces/NAME, or nats://HOST/NAME."`
	linkFlags

	selectorFlags
}

// Help is shown by --help.
func (verifyCmd) Help() string {
	return `Compares what this replica and the other one hold, as far as the other one shows it. Nothing is exchanged and neither side
changes. Exits with 0 when both hold the same, and prints the fingerprint, which is the same on both; else with 1, and
prints each record that differs, and how.
` + selectorHelp + `
    godwit verify http://localhost:8080/spaces/crew
    godwit verify nats://localhost:4222/crew`
}

// verified is what verify prints with --json, before the records that differ.
type verified struct {
	URL         string            `json:"url"`
	Peer        string            `json:"peer"`
	Equal       bool              `json:"equal"`
	Records     int               `json:"records"` // here
	Fingerprint string            `json:"fingerprint"`
	Differing   int               `json:"differing"`
	Scopes      []transport.Scope `json:"scopes,omitempty"` // compared were the records in all of them; none: all
	Differences []differing       `json:"differences,omitempty"`
}

// differing is a record that differs.
type differing struct {
	Collection string `json:"collection"`
	ID         string `json:"id"`
	How        string `json:"how"`
	Lacks      uint64 `json:"lacks"` // changes that this side lacks
	Owed       uint64 `json:"owed"`  // changes that the other side lacks
}

// Run compares.
func (c *verifyCmd) Run(e *env) error {
	peer, err := c.peer(c.URL)
	if err != nil {
		return err
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		link, done, err := peer(r)
		if err != nil {
			return err
		}
		defer done()
		bar := newProgress(e.stderr, "records that differ", -1, false)
		v, err := r.Verify(e.ctx, link, func(n int) { bar.set(int64(n)) }, c.options()...)
		bar.done()
		if err != nil {
			return err
		}
		if err := printVerified(e, link.String(), v); err != nil || v.Equal() {
			return err
		}
		return fmt.Errorf("not equal: %d records differ", v.Differing)
	})
}

func printVerified(e *env, url string, v replica.VerifyResult) error {
	if e.json {
		out := verified{URL: url, Peer: v.Peer.String(), Equal: v.Equal(), Records: v.Records, Fingerprint: v.Fingerprint,
			Differing: v.Differing, Scopes: v.Scopes}
		for _, d := range v.Differences {
			out.Differences = append(out.Differences, differing{d.Key.Collection, d.Key.ID, d.How, d.Lacks, d.Owed})
		}
		return e.printJSON(out)
	}
	for _, d := range v.Differences {
		e.printf("%s\t%s\n", d.Key, howMuch(d))
	}
	if more := v.Differing - len(v.Differences); more > 0 {
		e.printf("and %d more\n", more)
	}
	if v.Equal() {
		e.printf("equal: %d records, fingerprint %s%s\n", v.Records, v.Fingerprint, compared(v.Scopes))
	}
	return nil
}

// howMuch says how a record differs.
func howMuch(d replica.Difference) string {
	var parts []string
	if d.How == replica.DiffersHeads {
		if d.Lacks > 0 {
			parts = append(parts, fmt.Sprintf("%d changes are missing here", d.Lacks))
		}
		if d.Owed > 0 {
			parts = append(parts, fmt.Sprintf("%d changes are missing there", d.Owed))
		}
	}
	if len(parts) == 0 {
		return d.How
	}
	return strings.Join(parts, ", ")
}

// compared says which records were, if not all.
func compared(scopes []transport.Scope) string {
	var all []string
	for _, s := range scopes {
		var some []string
		for _, sel := range s.Only {
			name := sel.Collection
			if name == "" {
				name = "*"
			}
			some = append(some, name+"/"+sel.Prefix+sel.ID+"*")
		}
		all = append(all, strings.Join(some, " or "))
	}
	if len(all) == 0 {
		return ""
	}
	return "; compared was what is in " + strings.Join(all, ", and in ")
}
