package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/lanlink"
)

// lanTries is how often a replica that was found is dialled in a row.
const lanTries = 3

// lanFlags have a replica take part in a space on the local network.
type lanFlags struct {
	LAN    string `name:"lan" placeholder:"SPACE" help:"Find others of this space on the local network (mDNS), and be found. Without --lan-key everyone there may read and write it."`
	LANKey string `name:"lan-key" placeholder:"FILE" help:"Speak there only with who has the same secret (at least 32 bytes) in this file, and encrypted."`
}

const lanHelp = `
With --lan SPACE it finds other replicas of that space on the local network, and is found by them, by multicast DNS; there is
nothing to configure. Whoever is on that network may then read and write the space, unless all have the same --lan-key: a
random secret, which "godwit token --generate-key lan.key --alg HS256" makes.
`

// lan is a replica's part in a local network.
type lan struct {
	space  string
	r      *replica.Replica
	key    *lanlink.Key // nil: none
	accept func(context.Context, string, transport.Conn, transport.Grant) error
	opts   []replica.LinkOption
	e      *env

	client *http.Client
	links  *httplink.Server
	server *http.Server
	cancel context.CancelFunc
	served chan error
	ran    chan error
}

func (f *lanFlags) check() error {
	switch {
	case f.LAN == "" && f.LANKey != "":
		return usagef("--lan-key needs --lan")
	case f.LAN != "" && !transport.ValidSpace(f.LAN):
		return usagef("--lan %q: a space's name has 1 to 64 of a-z 0-9 . _ -", f.LAN)
	}
	return nil
}

func (f *lanFlags) key() (*lanlink.Key, error) {
	if f.LANKey == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(f.LANKey)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	key, err := lanlink.NewKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.LANKey, err)
	}
	return key, nil
}

// join begins to take part. failed is told when it can't go on; accept runs sessions of
// those who dial.
func (f *lanFlags) join(e *env, r *replica.Replica, opts []replica.LinkOption, failed func(error),
	accept func(context.Context, string, transport.Conn, transport.Grant) error) (*lan, error) {
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	l := &lan{space: f.LAN, r: r, key: key, accept: accept, opts: opts, e: e, served: make(chan error, 1), ran: make(chan error, 1)}
	listener, err := l.listen()
	if err != nil {
		return nil, fmt.Errorf("take part in the local network: %w", err)
	}
	if key == nil {
		e.note("warning: without --lan-key everyone on the local network may read and write the space %s", f.LAN)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	port := listener.Addr().(*net.TCPAddr).Port
	go func() {
		err := lanlink.Run(ctx, &lanlink.Options{Space: f.LAN, Replica: r.ID(), Port: port, Key: key, Found: l.found})
		if err != nil {
			failed(err)
		}
		l.ran <- err
	}()
	e.note("looking for %s on the local network, from port %d", f.LAN, port)
	return l, nil
}

// host has a space of a hub take part, which is open meanwhile. leave is nil when the
// flags ask for nothing.
func (f *lanFlags) host(e *env, hub *replica.Hub, accept func(context.Context, string, transport.Conn, transport.Grant) error) (leave func() error, err error) {
	if f.LAN == "" {
		return nil, nil
	}
	started, stop, ended := make(chan error, 2), make(chan struct{}), make(chan error, 1)
	failed := func(err error) { e.logger().Error("no longer on the local network", "error", err) }
	go func() {
		err := hub.With(context.Background(), f.LAN, func(r *replica.Replica) error {
			l, err := f.join(e, r, nil, failed, accept)
			if err != nil {
				return err
			}
			started <- nil
			<-stop
			return l.close()
		})
		started <- err
		ended <- err
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error {
		close(stop)
		return <-ended
	}, nil
}

// listen serves the space on a free port.
func (l *lan) listen() (net.Listener, error) {
	round := http.DefaultTransport.(*http.Transport).Clone()
	round.Proxy = nil // it would not be on the local network
	var config *tls.Config
	if l.key != nil {
		var err error
		if config, err = l.key.TLS(); err != nil {
			return nil, err
		}
		round.TLSClientConfig = config.Clone()
	}
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		return nil, err
	}
	l.client = &http.Client{Transport: round}
	l.links = httplink.Handler(&httplink.ServerOptions{Accept: l.accept, Authorize: l.authorize})
	l.server = newServer(l.links, config, l.e.logger())
	go func() { l.served <- serveOn(l.server, listener) }()
	return listener, nil
}

// authorize lets in who is on the local network. Who asks for a host by its name is a
// web page that had its own name lead here (DNS rebinding).
func (l *lan) authorize(r *http.Request, space string) (transport.Grant, error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	_, err2 := netip.ParseAddrPort(r.Host)
	if err != nil || err2 != nil || !lanlink.OnLink(from.Addr()) {
		return transport.Grant{}, &transport.Error{Code: transport.CodeAuth, Message: "only for replicas on the same network"}
	}
	if space != l.space {
		return transport.Grant{}, &transport.Error{Code: transport.CodeSpace, Message: "another space is here"}
	}
	return transport.FullGrant(), nil
}

// found stays connected to a replica until ctx ends, or it can't be reached.
func (l *lan) found(ctx context.Context, p lanlink.Peer) {
	scheme := "http"
	if l.key != nil {
		scheme = "https"
	}
	link, err := httplink.New(fmt.Sprintf("%s://%s/spaces/%s", scheme, p.Addr, l.space), &httplink.Options{HTTPClient: l.client})
	if err != nil {
		return // no address that it could be reached at
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := l.r.Connect(&lanLink{Link: link, lost: cancel}, l.opts...)
	if err != nil {
		return // it is being closed
	}
	defer conn.Close()
	l.e.logger().Info("found a replica", "replica", p.Replica.String(), "link", link.String())
	select {
	case <-ctx.Done():
	case <-conn.Done():
	}
	if err := conn.Err(); err != nil {
		l.e.logger().Warn("a replica on the local network refuses", "replica", p.Replica.String(), "error", err)
	}
}

// lanLink gives up after some attempts: the replica may be somewhere else by now.
type lanLink struct {
	transport.Link
	failed atomic.Int32
	lost   func()
}

// Dial opens a connection.
func (l *lanLink) Dial(ctx context.Context) (transport.Conn, error) {
	conn, err := l.Link.Dial(ctx)
	switch {
	case err == nil:
		l.failed.Store(0)
	case l.failed.Add(1) >= lanTries:
		l.lost()
	}
	return conn, err
}

// close takes leave and ends the sessions.
func (l *lan) close() error {
	l.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	errs := []error{<-l.ran, l.links.Close(ctx), l.server.Close()}
	if err := <-l.served; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// newServer returns a server for links; config is nil for HTTP.
func newServer(h http.Handler, config *tls.Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// serveOn serves HTTPS if the server is configured for it.
func serveOn(s *http.Server, l net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Serve(l)
}
