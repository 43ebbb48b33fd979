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
	Data      string `required:"" placeholder:"DIR" help:"The folder of the spaces, each in SPACE.db; it is created if there is none."`
	Listen    string `default:"localhost:8080" placeholder:"ADDR" help:"Where to listen, HOST:PORT; port 0 takes a free one."`
	TokenFile string `placeholder:"FILE" help:"Let in only those who show the token in this file."`
	Insecure  bool   `help:"Listen beyond this machine without a token."`
}

// Help is shown by --help.
func (serveCmd) Help() string {
	return `Hosts any number of spaces, each created when it is first asked for. Prints its URL when it is ready, and closes cleanly
when interrupted or terminated.

    godwit serve --data hub
    godwit serve --data hub --listen :8080 --token-file token

The space crew is then at http://HOST:PORT/spaces/crew. Beyond this machine it serves only with a token, or when
--insecure says that everyone may read and write. It speaks HTTP; a proxy before it makes that HTTPS.`
}

// Run serves until interrupted.
func (c *serveCmd) Run(e *env) error {
	authorize, err := c.authorizer()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if err := httplink.CheckListen(c.Listen, authorize != nil, c.Insecure); err != nil {
		return fmt.Errorf("serve: %w (--token-file, --insecure)", err)
	}
	hub, err := replica.OpenHub(c.Data, &replica.Options{Logger: e.logger()})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), hub.Close())
	}
	h := &host{hub: hub, log: e.logger()}
	h.links = httplink.Handler(&httplink.ServerOptions{Accept: h.accept, Authorize: authorize})
	h.server = &http.Server{Handler: h.links, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelWarn)}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(listener) }()

	if err := printURL(e, listener.Addr()); err != nil {
		return errors.Join(err, h.close(served))
	}
	select {
	case err := <-served:
		served <- err
	case <-e.ctx.Done():
	}
	return h.close(served)
}

func (c *serveCmd) authorizer() (httplink.Authorizer, error) {
	if c.TokenFile == "" {
		return nil, nil
	}
	return httplink.BearerTokenFile(c.TokenFile)
}

func printURL(e *env, addr net.Addr) error {
	url := "http://" + addr.String()
	if e.json {
		if err := e.printJSON(map[string]string{"url": url}); err != nil {
			return err
		}
	} else {
		e.printf("%s\n", url)
	}
	return e.stdout.Flush()
}

// host is a running server.
type host struct {
	hub    *replica.Hub
	links  *httplink.Server
	server *http.Server
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
	errs := []error{h.links.Close(ctx), h.server.Close(), h.hub.Close()}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, fmt.Errorf("serve: %w", err))
	}
	return errors.Join(errs...)
}
