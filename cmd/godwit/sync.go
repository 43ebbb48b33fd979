package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

type syncCmd struct {
	URL string `arg:"" name:"url" help:"The space: http(s)://HOST/spaces/NAME, or nats://HOST/NAME."`
	linkFlags

	exchangeFlags
}

// Help is shown by --help.
func (syncCmd) Help() string {
	return `Exits with 0 when both sides hold the same, and with 1 when the other side could not be reached or one side did not take
a change of the other's (see doctor). What was exchanged before an error is kept.
` + selectorHelp + `
    godwit sync http://localhost:8080/spaces/crew
    godwit sync http://localhost:8080/spaces/crew --collection tasks --where status=active
    godwit sync http://localhost:8080/spaces/crew --pull-only
    godwit sync http://localhost:8080/spaces/crew --priority orders,payments`
}

// synced is what sync prints with --json.
type synced struct {
	URL             string `json:"url"`
	Equal           bool   `json:"equal"`
	ChangesSent     int    `json:"changes_sent"`
	ChangesReceived int    `json:"changes_received"`
	BytesSent       int64  `json:"bytes_sent"`
	BytesReceived   int64  `json:"bytes_received"`
	Refused         int    `json:"refused"`     // changes that the other side refused, or parked
	Quarantined     int    `json:"quarantined"` // changes that this side refused, or parked
	Outside         int64  `json:"outside"`     // records here that the selector leaves out
}

// Run exchanges changes once.
func (c *syncCmd) Run(e *env) error {
	exchange, err := c.exchange(e)
	if err != nil {
		return err
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		n, name, err := exchange(r)
		var incomplete *replica.IncompleteError
		if err != nil && !errors.As(err, &incomplete) {
			return err
		}
		outside, countErr := r.Outside(e.ctx, c.scope())
		return errors.Join(err, countErr, printSync(e, synced{
			Outside: outside,
			URL:     name, Equal: err == nil, ChangesSent: n.ChangesSent, ChangesReceived: n.ChangesReceived,
			BytesSent: n.BytesSent, BytesReceived: n.BytesReceived, Refused: n.Refused, Quarantined: n.Quarantined,
		}))
	})
}

// exchange returns what exchanges changes over the URL.
func (c *syncCmd) exchange(e *env) (func(*replica.Replica) (n replica.Counts, name string, err error), error) {
	if isNATS(c.URL) {
		f, err := c.fleet(c.URL, e.logger())
		return func(r *replica.Replica) (replica.Counts, string, error) { return f.sync(e.ctx, r, c.options()...) }, err
	}
	link, err := c.link(c.URL)
	return func(r *replica.Replica) (replica.Counts, string, error) {
		n, err := r.Sync(e.ctx, link, c.options()...)
		return n, link.String(), err
	}, err
}

func printSync(e *env, s synced) error {
	if e.json {
		return e.printJSON(s)
	}
	state := "both sides are equal"
	if !s.Equal {
		state = "the sides are not equal"
	}
	if s.Outside > 0 {
		state += fmt.Sprintf(" in what was selected; %d records here are outside of it", s.Outside)
	}
	e.printf("changes: %d sent, %d received; bytes: %d sent, %d received; %s\n",
		s.ChangesSent, s.ChangesReceived, s.BytesSent, s.BytesReceived, state)
	return nil
}

type connectCmd struct {
	URLs  []string      `arg:"" optional:"" name:"url" sep:"none" help:"Spaces: http(s)://HOST/spaces/NAME, or nats://HOST/NAME."`
	Every time.Duration `placeholder:"TIME" help:"Exchange what there is each time this has passed, as in 5m, and hang up in between. For URLs; on a local network changes go out at once."`
	linkFlags

	exchangeFlags
	lanFlags
}

// Help is shown by --help.
func (connectCmd) Help() string {
	return `Sends what is committed here, by any process, and prints what arrives as watch does, until interrupted. A connection that
breaks is dialled again; one that is refused for good (no rights, another space) ends the program.
` + lanHelp + selectorHelp + `
    godwit connect http://localhost:8080/spaces/crew
    godwit connect http://localhost:8080/spaces/crew --every 5m
    godwit connect nats://localhost:4222/crew
    godwit connect --lan crew --lan-key lan.key`
}

// Run stays connected.
func (c *connectCmd) Run(e *env) error {
	if err := c.lanFlags.check(); err != nil {
		return err
	}
	if len(c.URLs) == 0 && c.LAN == "" {
		return usagef("name a space by its URL, or --lan SPACE")
	}
	if c.Every < 0 {
		return usagef("--every %v: want a time that is positive", c.Every)
	}
	e.space = c.LAN
	var links []transport.Link
	var fleets []*fleet
	for _, url := range c.URLs {
		if isNATS(url) {
			f, err := c.fleet(url, e.logger())
			if err != nil {
				return err
			}
			fleets = append(fleets, f)
			continue
		}
		link, err := c.link(url)
		if err != nil {
			return err
		}
		links = append(links, link)
	}
	return e.replica(mayCreate, func(r *replica.Replica) error {
		ctx, cancel := context.WithCancelCause(e.ctx)
		defer cancel(nil)
		events := r.Watch(ctx, "")
		for _, f := range fleets {
			more, stop, err := f.join(ctx, r, cancel)
			if err != nil {
				return err
			}
			defer stop()
			links = append(links, more...)
		}
		opts := c.options()
		if c.Every != 0 {
			opts = append(opts, replica.Every(c.Every))
		}
		for _, link := range links {
			conn, err := r.Connect(link, opts...)
			if err != nil {
				return err
			}
			defer conn.Close()
			e.note("connecting to %s", link)
			go func() {
				<-conn.Done()
				cancel(conn.Err())
			}()
		}
		leave := func() error { return nil }
		if c.LAN != "" {
			lan, err := c.join(e, r, c.options(), cancel, func(ctx context.Context, _ string, conn transport.Conn, g transport.Grant) error {
				return r.Accept(ctx, conn, g)
			})
			if err != nil {
				return err
			}
			leave = lan.close
		}
		err := printEvents(e, events, func(ev *replica.Event) bool { return !ev.Origin.Local })
		err = errors.Join(err, leave())
		if e.ctx.Err() == nil && ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx)) // a link was refused
		}
		return err
	})
}
