package httplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	Token      string                                // a bearer token; "" for none
	TokenFunc  func(context.Context) (string, error) // asked at each dial instead of Token; for tokens that expire
	Header     http.Header                           // added to the request that dials
	HTTPClient *http.Client                          // nil means http.DefaultClient; its Timeout bounds dialling
	Backoff    transport.Backoff
	Heartbeat  time.Duration // how long a connection may be silent before it is probed; 0 means 20 s
}

// New returns a link to the space at url: http(s)://host[:port]/any/prefix/spaces/NAME
// (ws and wss are taken too). nil options mean the zero ones.
func New(url string, opts *Options) (transport.Link, error) {
	u, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	l := &link{url: u, codec: transport.NewCodec()}
	if opts != nil {
		l.opts = *opts
	}
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
	url   string
	opts  Options
	codec *transport.Codec
}

// String implements transport.Link.
func (l *link) String() string { return l.url }

// Backoff implements transport.Link.
func (l *link) Backoff() transport.Backoff { return l.opts.Backoff }

// Dial implements transport.Link.
func (l *link) Dial(ctx context.Context) (transport.Conn, error) {
	header, err := l.header(ctx)
	if err != nil {
		return nil, l.refused(transport.CodeAuth, fmt.Errorf("get token: %w", err))
	}
	ws, resp, err := websocket.Dial(ctx, l.url, &websocket.DialOptions{
		HTTPClient: l.opts.HTTPClient, HTTPHeader: header, Subprotocols: []string{subprotocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, l.refused(transport.CodeClosed, ctx.Err())
	case err != nil && resp == nil:
		return nil, l.refused(transport.CodeClosed, cause(err))
	case err != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, l.answered(resp)
	case err != nil:
		return nil, l.refused(transport.CodeProtocol, err)
	case ws.Subprotocol() != subprotocol:
		_ = ws.CloseNow()
		return nil, l.refused(transport.CodeProtocol, fmt.Errorf("the server does not speak %s", subprotocol))
	}
	return newConn(ws, l.codec, l.opts.Heartbeat), nil
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

func (l *link) header(ctx context.Context) (http.Header, error) {
	header := http.Header{}
	maps.Copy(header, l.opts.Header)
	token := l.opts.Token
	if l.opts.TokenFunc != nil {
		var err error
		if token, err = l.opts.TokenFunc(ctx); err != nil {
			return nil, err
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

// answered turns a server's answer that is no WebSocket into an error.
func (l *link) answered(resp *http.Response) *transport.DialError {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // all there is, at most 1024 bytes
	err := l.refused(codeOfStatus(resp.StatusCode), errors.New(resp.Status))
	if line := printable(string(text)); line != "" && !strings.HasSuffix(resp.Status, line) {
		err.Err = fmt.Errorf("%s: %s", resp.Status, line)
	}
	err.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return err
}

func codeOfStatus(status int) string {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return transport.CodeAuth
	case status == http.StatusNotFound:
		return transport.CodeSpace
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return transport.CodeBusy
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
