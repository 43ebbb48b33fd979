package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/natslink"
)

// natsFlags say who this is to a NATS server.
type natsFlags struct {
	Creds  string `name:"nats-creds" placeholder:"FILE" help:"Show a NATS server the credentials in this file."`
	NKey   string `name:"nats-nkey" placeholder:"FILE" help:"Show a NATS server the NKey whose seed is in this file."`
	Domain string `name:"nats-domain" placeholder:"NAME" help:"Keep streams in this JetStream domain, on the other side of a leaf node."`
}

// options are those of a node; the files of TLS may be "".
func (f *natsFlags) options(log *slog.Logger, ca, cert, key string) (*natslink.Options, error) {
	o := &natslink.Options{Domain: f.Domain, Logger: log}
	if f.Creds != "" && f.NKey != "" {
		return nil, usagef("--nats-creds and --nats-nkey exclude each other")
	}
	if f.Creds != "" {
		o.NATS = append(o.NATS, nats.UserCredentials(f.Creds))
	}
	if f.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(f.NKey)
		if err != nil {
			return nil, fmt.Errorf("read NKey: %s: %w", f.NKey, err)
		}
		o.NATS = append(o.NATS, option)
	}
	if ca != "" {
		o.NATS = append(o.NATS, nats.RootCAs(ca))
	}
	if cert != "" {
		o.NATS = append(o.NATS, nats.ClientCert(cert, key))
	}
	return o, nil
}

// isNATS tells URLs of NATS servers from those of hubs.
func isNATS(url string) bool {
	return strings.HasPrefix(url, "nats://") || strings.HasPrefix(url, "tls://")
}

// fleet is a space on a NATS server, as a command line names it.
type fleet struct {
	server, space string
	opts          *natslink.Options
}

func (f *linkFlags) fleet(url string, log *slog.Logger) (*fleet, error) {
	server, space, err := natslink.ParseURL(url)
	if err != nil {
		return nil, &usageError{err}
	}
	opts, err := f.natsFlags.options(log, f.CA, f.Cert, f.Key)
	return &fleet{server, space, opts}, err
}

// node returns a node that others know by the replica's ID. The caller closes it.
func (f *fleet) node(r *replica.Replica) (*natslink.Node, error) {
	opts := *f.opts
	opts.ID = r.ID().String()
	return natslink.New(f.server, &opts)
}

// peer returns a link to any member of the space but the replica itself. done hangs up.
func (f *fleet) peer(r *replica.Replica) (link transport.Link, done func(), err error) {
	node, err := f.node(r)
	if err != nil {
		return nil, nil, err
	}
	link, err = node.Peer(f.space)
	return link, func() { _ = node.Close() }, err // it cannot fail
}

// sync exchanges changes with a peer. When there is none it gives what is new to the
// space's stream and takes what that has, and still fails: nobody has confirmed.
func (f *fleet) sync(ctx context.Context, r *replica.Replica, opts ...replica.LinkOption) (_ replica.Counts, name string, err error) {
	node, err := f.node(r)
	if err != nil {
		return replica.Counts{}, "", err
	}
	defer node.Close()
	link, err := node.Peer(f.space)
	if err != nil {
		return replica.Counts{}, "", err
	}
	n, err := r.Sync(ctx, link, opts...)
	if !errors.Is(err, natslink.ErrNobody) {
		return n, link.String(), err
	}
	stream, err2 := node.Stream(f.space)
	if err2 != nil {
		return n, link.String(), err2
	}
	if n, err2 = r.Sync(ctx, stream, opts...); err2 != nil {
		return n, link.String(), errors.Join(err, err2)
	}
	return n, link.String(), fmt.Errorf("%w (%d changes were handed to the stream, %d received from it)", err, n.ChangesSent, n.ChangesReceived)
}

// join has the replica take part in the fleet until ctx ends: it returns the links
// to connect it to. stop waits for the end; failed is told why, if it is for good.
func (f *fleet) join(ctx context.Context, r *replica.Replica, failed func(error)) (links []transport.Link, stop func(), err error) {
	node, err := f.node(r)
	if err != nil {
		return nil, nil, err
	}
	all, err := node.Fleet(f.space)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := node.Serve(ctx, &natslink.ServeOptions{Space: f.space, Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			return r.Accept(ctx, c, g)
		}})
		if err != nil {
			failed(err)
		}
	}()
	return all.Links(), func() {
		cancel()
		<-done
		_ = node.Close() // it cannot fail
	}, nil
}

// hubFlags have a server take part in fleets.
type hubFlags struct {
	NATS     string `name:"nats" placeholder:"URL" help:"Take part in the fleets of this NATS server: nats://HOST[:PORT]."`
	Embedded bool   `name:"nats-embedded" help:"Run a NATS server with JetStream inside this program, its store in the data folder."`
	NListen  string `name:"nats-listen" default:"localhost:4222" placeholder:"ADDR" help:"Where the embedded NATS server listens; port 0 takes a free one."`
	NConfig  string `name:"nats-config" placeholder:"FILE" help:"Configure the embedded NATS server by this file of its own: accounts, TLS, leaf nodes."`
	NCA      string `name:"nats-ca" placeholder:"FILE" help:"Trust NATS servers of these authorities (PEM)."`
	natsFlags
}

// natsHub is a server's part in fleets.
type natsHub struct {
	embedded *server.Server // nil: none
	node     *natslink.Node
	url      string // of the embedded server, "" without
	cancel   context.CancelFunc
	served   chan error
}

// start returns nil when the flags ask for nothing.
func (f *hubFlags) start(e *env, data string, insecure bool, hub *replica.Hub) (*natsHub, error) {
	if f.NATS == "" && !f.Embedded {
		return nil, nil
	}
	if f.NATS != "" && f.Embedded {
		return nil, usagef("--nats and --nats-embedded exclude each other")
	}
	opts, err := f.options(e.logger(), f.NCA, "", "")
	if err != nil {
		return nil, err
	}
	opts.Hub = true
	h := &natsHub{served: make(chan error, 1)}
	url := f.NATS
	if f.Embedded {
		var o *server.Options
		if h.embedded, o, err = f.embed(data, insecure); err != nil {
			return nil, err
		}
		h.url = h.embedded.ClientURL()
		url = h.url
		opts.NATS = append(opts.NATS, nats.InProcessServer(h.embedded))
		if o.Username != "" {
			opts.NATS = append(opts.NATS, nats.UserInfo(o.Username, o.Password))
		}
	}
	if h.node, err = natslink.New(url, opts); err != nil {
		return nil, errors.Join(&usageError{err}, h.stop())
	}
	hub.OnOpen(func(space string, r *replica.Replica) error {
		fleet, err := h.node.Fleet(space)
		if err != nil {
			return err
		}
		for _, l := range fleet.Links() {
			if _, err := r.Connect(l); err != nil {
				return err
			}
		}
		return nil
	})
	return h, nil
}

// serve lets the hub be found by members of fleets.
func (h *natsHub) serve(accept func(context.Context, string, transport.Conn, transport.Grant) error) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() { h.served <- h.node.Serve(ctx, &natslink.ServeOptions{Accept: accept}) }()
}

// ended tells why the hub is no longer to be found, which nobody asked for.
func (h *natsHub) ended() <-chan error {
	if h == nil {
		return nil
	}
	return h.served
}

// end ends the sessions; stop, after the spaces are closed, the rest.
func (h *natsHub) end() error {
	if h == nil || h.cancel == nil {
		return nil
	}
	h.cancel()
	return <-h.served
}

func (h *natsHub) stop() error {
	if h == nil {
		return nil
	}
	if h.node != nil {
		_ = h.node.Close() // it cannot fail
	}
	if h.embedded != nil {
		h.embedded.Shutdown()
		h.embedded.WaitForShutdown()
	}
	return nil
}

// embed starts a NATS server.
func (f *hubFlags) embed(data string, insecure bool) (*server.Server, *server.Options, error) {
	o := &server.Options{}
	if f.NConfig != "" {
		var err error
		if o, err = server.ProcessConfigFile(f.NConfig); err != nil {
			return nil, nil, fmt.Errorf("read the NATS configuration: %w", err)
		}
	} else if _, err := httplink.CheckListen(f.NListen, false, false, insecure); err != nil {
		return nil, nil, fmt.Errorf("%w (--nats-config, --insecure)", err)
	}
	if f.NConfig == "" || o.Port == 0 {
		if err := listenAt(o, f.NListen); err != nil {
			return nil, nil, err
		}
	}
	o.JetStream, o.StoreDir = true, cmp.Or(o.StoreDir, filepath.Join(data, "nats"))
	o.NoSigs, o.NoLog = true, o.LogFile == ""
	s, err := server.NewServer(o)
	if err != nil {
		return nil, nil, fmt.Errorf("start the NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(closeTimeout) {
		s.Shutdown()
		return nil, nil, fmt.Errorf("start the NATS server: not ready within %v", closeTimeout)
	}
	return s, o, nil
}

// listenAt has the server listen at an address, which it checks to be free: the
// server itself would only log that it is not.
func listenAt(o *server.Options, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("start the NATS server: %w", err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	o.Host = host
	o.Port, err = strconv.Atoi(port)
	return err
}
