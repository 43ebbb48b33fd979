package natslink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/godwitdb/godwit/transport"
)

// Options of a node. The zero Options is good for a server without auth.
type Options struct {
	// NATS are nats.go's own options: credentials, an NKey, TLS, a custom
	// inbox prefix and so on.
	NATS []nats.Option
	// Domain is the JetStream domain, for a leaf node whose streams are the hub's.
	Domain string
	// Stream changes what a space's stream is created with: limits, replicas,
	// storage. A stream that is there is used as it is. nil keeps the defaults, see
	// defaultStream.
	Stream func(*jetstream.StreamConfig)
	// ID names this node among the members of a space; "" takes a random one. A
	// replica's own ID, which stays, has it meet the same peer again. Letters and
	// digits, at most 64.
	ID string
	// Hub says that this node hosts spaces for others: those prefer it to each
	// other, share the load among all hubs, and leave it to hubs to put change sets
	// onto the stream that others wrote.
	Hub       bool
	Backoff   transport.Backoff
	Heartbeat time.Duration // how long a session may be silent before it is probed; 0 means 10 s
	Pulse     time.Duration // how often a fleet with a stream asks a peer for what the stream lost; 0 means a minute
	Logger    *slog.Logger  // receives what no caller can be told; nil is silent
}

// Defaults of Options.
const (
	defaultHeartbeat = 10 * time.Second
	defaultPulse     = time.Minute
	connectTimeout   = 5 * time.Second
	requestTimeout   = 5 * time.Second
)

// Attribute keys of what is logged.
const (
	logSubject = "subject"
	logBytes   = "bytes"
	logStream  = "stream"
	logError   = "error"
)

// Node is one connection to NATS, shared by links and servers. It is made when it
// is first needed, and again after it was lost. A Node is safe for concurrent use.
type Node struct {
	servers string // with secrets
	name    string // without
	opts    Options
	codec   *transport.Codec

	foreigners atomic.Int64

	mu      sync.Mutex // guards what follows
	nc      *nats.Conn
	js      jetstream.JetStream // of nc; nil until it is needed
	closed  bool
	denials map[chan error]struct{} // who wants to know of permissions the server denies
}

// New returns a node of the NATS server at url, nats://HOST[:PORT]; several, of
// one cluster, are divided by commas. It does not connect yet. nil options mean
// the zero ones.
func New(url string, opts *Options) (*Node, error) {
	name, err := parseServers(url)
	if err != nil {
		return nil, err
	}
	n := &Node{servers: url, name: name, codec: transport.NewCodec(), denials: map[chan error]struct{}{}}
	if opts != nil {
		n.opts = *opts
	}
	n.opts.Heartbeat = cmp.Or(n.opts.Heartbeat, defaultHeartbeat)
	n.opts.Pulse = cmp.Or(n.opts.Pulse, defaultPulse)
	n.opts.ID = cmp.Or(n.opts.ID, nuid.Next())
	if n.opts.Logger == nil {
		n.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if !validID(n.opts.ID) {
		return nil, fmt.Errorf("node ID %q: want letters and digits, at most 64", n.opts.ID)
	}
	return n, nil
}

func validID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
}

// String returns the server's URL without secrets.
func (n *Node) String() string { return n.name }

// Close ends the connection, and with it all sessions. Servers and links should
// have ended before. It is safe to call more than once.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	nc := n.nc
	n.mu.Unlock()
	if nc != nil {
		nc.Close()
	}
	return nil
}

// Foreign returns how many messages were passed over that are not godwit's.
func (n *Node) Foreign() int64 { return n.foreigners.Load() }

// foreign notes a message that is none of ours.
func (n *Node) foreign(subject string, data []byte) {
	n.foreigners.Add(1)
	n.opts.Logger.Warn("pass over a foreign message", logSubject, subject, logBytes, len(data))
}

// connect returns the connection, making it if there is none. Its error is a
// *transport.DialError.
func (n *Node) connect(ctx context.Context) (*nats.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, n.refused(transport.CodeClosed, errors.New("this node was closed"))
	}
	if n.nc != nil && !n.nc.IsClosed() {
		return n.nc, nil
	}
	timeout := connectTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(end), time.Millisecond))
	}
	options := []nats.Option{
		nats.Name("godwit"), nats.Timeout(timeout), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(n.opts.Heartbeat), nats.ErrorHandler(n.onError),
	}
	nc, err := nats.Connect(n.servers, append(options, n.opts.NATS...)...)
	if err != nil {
		return nil, n.refused(codeOf(err), err)
	}
	n.nc = nc
	return nc, nil
}

// current returns the connection, nil if there is none.
func (n *Node) current() *nats.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nc
}

// codeOf tells refusals from failures to reach a server.
func codeOf(err error) string {
	for _, no := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrPermissionViolation} {
		if errors.Is(err, no) {
			return transport.CodeAuth
		}
	}
	return transport.CodeClosed
}

func (n *Node) refused(code string, err error) error {
	return &transport.DialError{Peer: n.name, Code: code, Err: err}
}

// onError is told what the server says no to, sooner or later after the call.
func (n *Node) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	n.opts.Logger.Warn("NATS reports an error", logError, err)
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.denials {
		select {
		case c <- err:
		default:
		}
	}
}

// watchDenials returns a channel of errors from the server, until stop is called.
func (n *Node) watchDenials() (denied chan error, stop func()) {
	denied = make(chan error, 8)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.denials[denied] = struct{}{}
	return denied, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.denials, denied)
	}
}

// untilDenied returns a context that ends when the server says no to one of the
// subjects: it does so beside the answer, which then never comes.
func (n *Node) untilDenied(ctx context.Context, subjects ...string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	denied, stop := n.watchDenials()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case err := <-denied:
				if denies(err, subjects...) {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// denies reports whether err is about one of the subjects.
func denies(err error, subjects ...string) bool {
	for _, s := range subjects {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// attend has look called every heartbeat and whenever asked to, on a goroutine of done's,
// until the session is dead. It fails with look's error, or when the connection to the
// server breaks: what was under way then is lost.
func (n *Node) attend(nc *nats.Conn, done *sync.WaitGroup, dead, asked <-chan struct{}, look func() error, fail func(error)) {
	status := nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	done.Go(func() {
		defer nc.RemoveStatusListener(status)
		tick := time.NewTicker(n.opts.Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-dead:
				return
			case <-status:
				fail(errors.New("the connection to the NATS server broke"))
				return
			case <-tick.C:
			case <-asked:
			}
			if err := look(); err != nil {
				fail(err)
				return
			}
		}
	})
}

// jetStream returns the connection's view of JetStream, which all sessions share: what
// nats.go begins for the first message published ends with the connection, and not
// reliably before (v1.55: CleanupPublisher races with it).
func (n *Node) jetStream(nc *nats.Conn) (js jetstream.JetStream, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.js != nil && n.js.Conn() == nc {
		return n.js, nil
	}
	opts := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(maxUnacked), jetstream.WithPublishAsyncTimeout(publishTimeout)}
	if n.opts.Domain != "" {
		js, err = jetstream.NewWithDomain(nc, n.opts.Domain, opts...)
	} else {
		js, err = jetstream.New(nc, opts...)
	}
	n.js = js
	return js, err
}
