package httplink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/coder/websocket"

	"github.com/godwitdb/godwit/transport"
)

// Options of a link. The zero Options is good for a hub without auth.
type Options struct {
	Token       string                                     // a bearer token; "" for none
	TokenSource TokenSource                                // asked instead of Token; for tokens that end
	Header      http.Header                                // added to each request
	HeaderFunc  func(context.Context) (http.Header, error) // asked for each request, and added to Header
	HTTPClient  *http.Client                               // nil means http.DefaultClient; its Timeout bounds dialling
	Backoff     transport.Backoff
	Heartbeat   time.Duration // how long a connection may be silent before it is probed; 0 means 20 s

	Rung       Rung          // use this one alone; "" means the highest that gets through
	Probe      time.Duration // what a rung gets to show that it works; 0 means 10 s
	ClimbAfter time.Duration // how often a connection on a lower rung tries higher ones; a dial leaves out what did not get through for as long, twice as long each time; 0 means 5 minutes
}

// New returns a link to the space at url: http(s)://host[:port]/any/prefix/spaces/NAME
// (ws and wss are taken too). nil options mean the zero ones.
func New(url string, opts *Options) (transport.Link, error) {
	u, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	l := &link{url: u, codec: transport.NewCodec(), ladder: ladder{blocked: map[Rung]block{}}}
	if opts != nil {
		l.opts = *opts
	}
	if err := l.opts.Rung.check(); err != nil {
		return nil, err
	}
	l.opts.Heartbeat = cmp.Or(max(l.opts.Heartbeat, 0), defaultHeartbeat)
	l.opts.Probe = cmp.Or(max(l.opts.Probe, 0), defaultProbe)
	l.ladder.climb = cmp.Or(max(l.opts.ClimbAfter, 0), defaultClimb)
	l.client = *cmp.Or(l.opts.HTTPClient, http.DefaultClient)
	l.client.Timeout = 0 // each request has its own, and a stream none
	return l, nil
}

// parseURL never repeats a URL that may hold a secret.
func parseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var why *url.Error
		if errors.As(err, &why) {
			err = why.Err
		}
		return "", fmt.Errorf("parse URL of a space: %w", err)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("parse URL of a space: it may hold no user, query or fragment; a token goes into Options")
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return "", fmt.Errorf("parse URL %q: want http or https, as in http://host/spaces/NAME", raw)
	}
	if u.Hostname() == "" {
		return "", fmt.Errorf("parse URL %q: no host, want http://host/spaces/NAME", raw)
	}
	if _, ok := spaceOf(u.Path); !ok {
		return "", fmt.Errorf("parse URL %q: want it to end in /spaces/NAME, NAME being 1 to 64 of a-z, 0-9 and ._-", raw)
	}
	return u.String(), nil
}

// spaceOf returns the space that a path ends in.
func spaceOf(p string) (name string, ok bool) {
	dir, name := path.Split(p)
	return name, strings.HasSuffix(dir, "/spaces/") && transport.ValidSpace(name)
}

// link is a transport.Link.
type link struct {
	url    string
	opts   Options
	client http.Client
	codec  *transport.Codec
	ladder ladder
}

// String implements transport.Link.
func (l *link) String() string { return l.url }

// Backoff implements transport.Link.
func (l *link) Backoff() transport.Backoff { return l.opts.Backoff }

// dial takes the highest rung that gets through. One that did not is left out for
// a while, if a lower one did.
func (l *link) dial(ctx context.Context) (transport.Conn, error) {
	if l.opts.HTTPClient != nil && l.opts.HTTPClient.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.opts.HTTPClient.Timeout)
		defer cancel()
	}
	switch {
	case l.opts.Rung == RungWebSocket:
		return result(l.dialWebSocket(ctx))
	case l.opts.Rung != "":
		return result(l.dialCarried(ctx))
	case !l.ladder.open(RungWebSocket):
		if c, err := l.dialCarried(ctx); err == nil || !onTheWay(err) {
			return result(c, err)
		}
		l.ladder.forget()
	}
	c, err := l.dialWebSocket(ctx)
	if err == nil || !onTheWay(err) {
		return result(c, err)
	}
	lower, err2 := l.dialCarried(ctx, RungWebSocket)
	if err2 != nil && onTheWay(err2) {
		err2 = err // both failed alike: the first says it best
	}
	return result(lower, err2)
}

// result keeps what a caller need not know of to itself: a nil *conn in an
// interface, and whom an error blames.
func result[C transport.Conn](c C, err error) (transport.Conn, error) {
	var way *wayError
	switch {
	case errors.As(err, &way):
		way.refusal.Doubtful = true
		return nil, way.refusal
	case err != nil:
		return nil, err
	}
	return c, nil
}

// wayError is a failure that may be the work of something between here and the
// hub: another rung may get through, or the same one later.
type wayError struct{ refusal *transport.DialError }

func (e *wayError) Error() string { return e.refusal.Error() }
func (e *wayError) Unwrap() error { return e.refusal }

func onTheWay(err error) bool {
	var way *wayError
	return errors.As(err, &way)
}

// dialWebSocket opens a WebSocket and, the first time, waits for something to come
// through: some proxies let it be opened and nothing more.
func (l *link) dialWebSocket(ctx context.Context) (*conn, error) {
	trial, cancel := context.WithTimeout(ctx, l.opts.Probe)
	defer cancel()
	ws, err := l.openWebSocket(trial, ctx, subprotocol)
	if err != nil {
		return nil, err
	}
	c := newConn(ws, l.codec, l.opts.Heartbeat)
	if !l.ladder.isProven() {
		if err := c.prove(trial); err != nil {
			c.abort(err)
			_ = c.Close()
			return nil, l.wayError(ctx, fmt.Errorf("the WebSocket opens, and nothing comes through: %w", err))
		}
	}
	l.ladder.landed(RungWebSocket)
	return c, nil
}

// openWebSocket opens one that speaks protocol, within trial, which is a part of ctx.
func (l *link) openWebSocket(trial, ctx context.Context, protocol string) (*websocket.Conn, error) {
	header, err := l.header(ctx)
	if err != nil {
		return nil, err
	}
	ws, resp, err := websocket.Dial(trial, l.url, &websocket.DialOptions{
		HTTPClient: &l.client, HTTPHeader: header, Subprotocols: []string{protocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	switch {
	case err != nil && resp == nil:
		return nil, l.unanswered(ctx, err)
	case err != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, l.answered(resp)
	case err != nil:
		return nil, l.wayError(ctx, err)
	case ws.Subprotocol() != protocol:
		_ = ws.CloseNow()
		return nil, &wayError{l.refused(transport.CodeProtocol, fmt.Errorf("the server does not speak %s", protocol))}
	}
	return ws, nil
}

// probeWebSocket reports whether a WebSocket would get through.
func (l *link) probeWebSocket(ctx context.Context) error {
	trial, cancel := context.WithTimeout(ctx, l.opts.Probe)
	defer cancel()
	ws, err := l.openWebSocket(trial, ctx, probeProtocol)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	if err := ws.Write(trial, websocket.MessageBinary, make([]byte, probeSize)); err != nil {
		return err
	}
	_, _, err = ws.Read(trial)
	return err
}

// unanswered turns a request's failure into an error: of the way, if something
// was there to take the request.
func (l *link) unanswered(ctx context.Context, err error) error {
	var dialling *net.OpError
	var unknown *net.DNSError
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &dialling) && dialling.Op == "dial" || errors.As(err, &unknown) || errors.As(err, &untrusted) {
		return l.refused(transport.CodeClosed, cause(err))
	}
	return l.wayError(ctx, cause(err))
}

// wayError is the error for what broke off, or did not answer in time, unless ctx
// had ended for another reason.
func (l *link) wayError(ctx context.Context, err error) error {
	if ctx.Err() != nil && context.Cause(ctx) != errSlow {
		return l.refused(transport.CodeClosed, ctx.Err())
	}
	return &wayError{l.refused(transport.CodeClosed, err)}
}

// cause returns the error of the network below those of the libraries, which
// repeat the address.
func cause(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

// header returns what goes with each request.
func (l *link) header(ctx context.Context) (http.Header, error) {
	header := http.Header{}
	maps.Copy(header, l.opts.Header)
	if l.opts.HeaderFunc != nil {
		more, err := l.opts.HeaderFunc(ctx)
		if err != nil {
			return nil, l.refused(transport.CodeAuth, fmt.Errorf("get headers: %w", err))
		}
		maps.Copy(header, more)
	}
	token := l.opts.Token
	if l.opts.TokenSource != nil {
		var err error
		if token, _, err = l.opts.TokenSource(ctx); err != nil {
			return nil, l.refused(transport.CodeToken, fmt.Errorf("get token: %w", err))
		}
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return header, nil
}

func (l *link) refused(code string, err error) *transport.DialError {
	return &transport.DialError{Peer: l.url, Code: code, Err: err}
}

// answered turns an answer that is not the wanted one into an error: of the way,
// unless it is the hub's own or one that every rung would get.
func (l *link) answered(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // all there is, at most 1024 bytes
	err := l.refused(codeOfStatus(resp.StatusCode), errors.New(resp.Status))
	if line := printable(string(text)); line != "" && !strings.HasSuffix(resp.Status, line) {
		err.Err = fmt.Errorf("%s: %s", resp.Status, line)
	}
	err.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	own := printable(resp.Header.Get(headerCode))
	if own != "" {
		err.Code = own
	}
	if own != "" || resp.StatusCode == http.StatusUnauthorized || err.Code == transport.CodeBusy && err.RetryAfter > 0 {
		return err
	}
	return &wayError{err}
}

func codeOfStatus(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return transport.CodeToken
	case status == http.StatusForbidden:
		return transport.CodeAuth
	case status == http.StatusNotFound:
		return transport.CodeSpace
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return transport.CodeBusy
	case status == http.StatusRequestEntityTooLarge:
		return transport.CodeTooLarge
	case status >= 500:
		return transport.CodeInternal
	}
	return transport.CodeProtocol // a web server of another kind
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3), at most
// an hour.
func retryAfter(v string, now time.Time) time.Duration {
	d := time.Duration(0)
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, time.Hour))
}

// printable returns the first line, without what a terminal could act upon.
func printable(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s[:min(len(s), 200)])
}
