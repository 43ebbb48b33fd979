package main

import (
	"fmt"
	"strconv"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// selectorFlags say what a link carries; by default everything, in both directions.
type selectorFlags struct {
	Collection []collectionArg `placeholder:"NAME" sep:"none" help:"Carry the records of this collection only. Can be repeated."`
	Prefix     []string        `placeholder:"TEXT" sep:"none" help:"Carry records only whose ID begins so. Can be repeated."`
	Where      []whereArg      `placeholder:"FIELD=VALUE" sep:"none" help:"Carry records only while the sender sees this value in the field; JSON, or a plain string. All that are given have to hold."`
	PushOnly   bool            `xor:"direction" help:"Send, and receive nothing."`
	PullOnly   bool            `xor:"direction" help:"Receive, and send nothing."`
}

// whereArg is FIELD=VALUE.
type whereArg transport.Equal

// UnmarshalText reads FIELD=VALUE. Fields may hold = themselves, in quotes: the first =
// that leaves a field counts.
func (a *whereArg) UnmarshalText(text []byte) error {
	s := string(text)
	for i := range s {
		if s[i] != '=' || i == 0 {
			continue
		}
		if _, err := crdt.ParsePath(s[:i]); err != nil {
			continue
		}
		a.Field, a.Value = s[:i], s[i+1:]
		if _, err := crdt.ParseJSON([]byte(a.Value)); err != nil {
			a.Value = strconv.Quote(a.Value)
			_, err = crdt.ParseJSON([]byte(a.Value))
			return err
		}
		return nil
	}
	return fmt.Errorf("%q is no condition: want FIELD=VALUE", text)
}

// scope returns what the flags select, everything if they say nothing.
func (f *selectorFlags) scope() transport.Scope {
	if len(f.Collection)+len(f.Prefix)+len(f.Where) == 0 {
		return transport.Everything()
	}
	var where []transport.Equal
	for _, w := range f.Where {
		where = append(where, transport.Equal(w))
	}
	var scope transport.Scope
	for _, c := range append(f.Collection, make([]collectionArg, 1)...)[:max(len(f.Collection), 1)] {
		for _, p := range append(f.Prefix, "")[:max(len(f.Prefix), 1)] {
			scope.Only = append(scope.Only, transport.Selector{Collection: string(c), Prefix: p, Where: where})
		}
	}
	return scope
}

// options returns what the flags say of a link.
func (f *selectorFlags) options() (opts []replica.LinkOption) {
	if s := f.scope(); !s.All {
		opts = append(opts, replica.Only(s))
	}
	if f.PushOnly {
		opts = append(opts, replica.PushOnly())
	}
	if f.PullOnly {
		opts = append(opts, replica.PullOnly())
	}
	return opts
}

// exchangeFlags say what a link carries, and in which order.
type exchangeFlags struct {
	selectorFlags
	Priority []collectionArg `placeholder:"NAME,..." help:"Exchange these collections first while there is much to be exchanged. Change sets stay whole."`
}

// options returns what the flags say of a link.
func (f *exchangeFlags) options() []replica.LinkOption {
	opts := f.selectorFlags.options()
	if len(f.Priority) == 0 {
		return opts
	}
	var names []string
	for _, c := range f.Priority {
		names = append(names, string(c))
	}
	return append(opts, replica.Priority(names...))
}

// selectorHelp is part of the help of commands that have the flags.
const selectorHelp = `
What a link carries can be narrowed: to collections, to IDs with a prefix, to records with a value in a field, to one direction.
A record that no longer has the value stays where it is and is not updated any more. Widening brings what was left out;
what a narrower selector leaves out stays here, as it was.
`

type fetchCmd struct {
	Record recordArg `arg:"" help:"COLLECTION/ID."`
	URL    string    `arg:"" name:"url" help:"The space: http(s)://HOST/spaces/NAME, or nats://HOST/NAME."`

	linkFlags
}

// Help is shown by --help.
func (fetchCmd) Help() string {
	return `Gets what the other side holds of one record, and nothing else; sends nothing. What a later sync exchanges is not changed by
it. Prints the record. Exits with 1 when there is no such record, or it may not be read.

    godwit fetch notes/1 http://localhost:8080/spaces/crew`
}

// Run fetches the record.
func (c *fetchCmd) Run(e *env) error {
	peer, err := c.peer(c.URL)
	if err != nil {
		return err
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		link, done, err := peer(r)
		if err != nil {
			return err
		}
		defer done()
		if _, err := r.Fetch(e.ctx, link, c.Record.Key); err != nil {
			return err
		}
		value, err := r.Get(e.ctx, c.Record.Key)
		if err != nil {
			return err
		}
		e.printf("%s\n", value)
		return nil
	})
}
