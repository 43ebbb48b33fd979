package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// closeTimeout bounds how long sessions may take to end.
const closeTimeout = 10 * time.Second

type serveCmd struct {
	Data     string `required:"" placeholder:"DIR" help:"The folder of the spaces, each in SPACE.db; it is created if there is none."`
	Listen   string `default:"localhost:8080" placeholder:"ADDR" help:"Where to listen, HOST:PORT; port 0 takes a free one."`
	Insecure bool   `help:"Listen beyond this machine without a token, or with tokens that others can read."`

	CompactEvery time.Duration `placeholder:"TIME" help:"Compact the spaces that are open each time this has passed, as in 24h; see compact."`

	guardFlags
	hubFlags
	lanFlags
	opsFlags
}

// Help is shown by --help.
func (serveCmd) Help() string {
	return `Hosts any number of spaces, each created when it is first asked for. Prints its URL when it is ready, and closes cleanly
when interrupted or terminated.

    godwit serve --data hub
    godwit serve --data hub --listen :8080 --token-file token
    godwit serve --data hub --listen :8443 --auth-key issuer.pem.pub --tls-cert hub.pem --tls-key hub.key
    godwit serve --data hub --nats-embedded
    godwit serve --data hub2 --nats nats://HOST:4222

The space crew is then at http://HOST:PORT/spaces/crew. Beyond this machine it serves only those who show a token or a
certificate, unless --insecure says that everyone may read and write. Without --tls-cert it speaks HTTP; a proxy before it
can make that HTTPS. "godwit token" makes keys and tokens. Changed keys and tokens are taken in as they are.

With --nats it takes part in the fleets of that server too: hubs share those who connect to nats://HOST:PORT/SPACE, and carry
changes between them and HTTP. Who may do so is the NATS server's configuration. --nats-embedded is that server too.
` + lanHelp + opsHelp
}

// Run serves until interrupted.
func (c *serveCmd) Run(e *env) error {
	if err := c.lanFlags.check(); err != nil {
		return err
	}
	if err := c.opsFlags.check(); err != nil {
		return err
	}
	if c.CompactEvery < 0 {
		return usagef("--compact-every is negative")
	}
	e.log = c.opsFlags.logger(e.stderr)
	opts, config, err := c.server(e.logger())
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	warning, err := httplink.CheckListen(c.Listen, opts.Authorize != nil, config != nil, c.Insecure)
	if err != nil {
		return fmt.Errorf("serve: %w (--auth-key, --token-file, --insecure)", err)
	}
	if warning != "" {
		e.note("warning: %s", warning)
	}
	key, err := e.key.key()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	hub, err := replica.OpenHub(c.Data, &replica.Options{Keeper: true, Key: key, CompactEvery: c.CompactEvery, Logger: e.logger()})
	if err != nil {
		return err
	}
	fleets, err := c.hubFlags.start(e, c.Data, c.Insecure, hub)
	if err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), hub.Close())
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), hub.Close(), fleets.stop())
	}
	h := &host{hub: hub, fleets: fleets, log: e.logger()}
	if h.ops, err = c.opsFlags.start(hub, h.log); err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), listener.Close(), hub.Close(), fleets.stop())
	}
	opts.Accept = h.accept
	h.links = httplink.Handler(opts)
	h.server = newServer(h.links, config, h.log)
	served := make(chan error, 1)
	go func() { served <- serveOn(h.server, listener) }()

	if h.leave, err = c.host(e, hub, h.accept); err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), h.close(served))
	}
	if fleets != nil {
		fleets.serve(h.accept)
	}
	if err := printURL(e, listener.Addr(), config != nil, h); err != nil {
		return errors.Join(err, h.close(served))
	}
	select {
	case err := <-served:
		served <- err
	case err := <-fleets.ended():
		fleets.served <- err
	case <-e.ctx.Done():
		h.drain(c.DrainTimeout)
	}
	return h.close(served)
}

func printURL(e *env, addr net.Addr, secure bool, h *host) error {
	url := "http://" + addr.String()
	if secure {
		url = "https://" + addr.String()
	}
	if e.json {
		line := map[string]string{"url": url}
		if h.fleets != nil && h.fleets.url != "" {
			line["nats"] = h.fleets.url
		}
		if h.ops != nil {
			line["ops"] = h.ops.url()
		}
		if err := e.printJSON(line); err != nil {
			return err
		}
	} else {
		e.printf("%s\n", url)
		if h.fleets != nil && h.fleets.url != "" {
			e.printf("%s\n", h.fleets.url)
		}
		if h.ops != nil {
			e.printf("ops %s\n", h.ops.url())
		}
	}
	return e.stdout.Flush()
}

// host is a running server.
type host struct {
	hub    *replica.Hub
	fleets *natsHub // nil: none
	links  *httplink.Server
	server *http.Server
	ops    *ops         // nil: none
	leave  func() error // the local network; nil: it takes no part
	log    *slog.Logger
}

// accept runs a session and says when it failed.
func (h *host) accept(ctx context.Context, space string, conn transport.Conn, grant transport.Grant) error {
	err := h.hub.Accept(ctx, space, conn, grant)
	if err != nil && ctx.Err() == nil {
		h.log.Warn("a session failed", "space", space, "error", err)
	}
	return err
}

// close ends the sessions, the listener and the spaces, in this order, and
// returns why serving ended, if that was not meant.
func (h *host) close(served <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if h.leave != nil {
		errs = append(errs, h.leave())
	}
	errs = append(errs, h.links.Close(ctx), h.server.Close(), h.fleets.end(), h.hub.Close(), h.fleets.stop(), h.ops.close())
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, fmt.Errorf("serve: %w", err))
	}
	return errors.Join(errs...)
}
