package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/auth"
	"github.com/godwitdb/godwit/transport/httplink"
)

// linkFlags say how to reach a peer and what to show it.
type linkFlags struct {
	TokenFile string `placeholder:"FILE" help:"Show the token in this file; it is read again when the token is about to end."`
	CA        string `name:"ca" placeholder:"FILE" help:"Trust the servers of these authorities (PEM), not those that this machine trusts."`
	Cert      string `placeholder:"FILE" help:"Show this client certificate (PEM)."`
	Key       string `placeholder:"FILE" help:"The certificate's private key."`
	Rung      string `enum:"auto,ws,sse,poll,post" default:"auto" help:"Carry it over HTTP by this alone: a WebSocket, server-sent events, long-poll or single POSTs; auto takes the first that gets through."`
	natsFlags
}

// peer returns what makes a link to a space for a replica; its done hangs up.
func (f *linkFlags) peer(url string) (func(*replica.Replica) (link transport.Link, done func(), err error), error) {
	if isNATS(url) {
		fleet, err := f.fleet(url, nil)
		if err != nil {
			return nil, err
		}
		return fleet.peer, nil
	}
	link, err := f.link(url)
	return func(*replica.Replica) (transport.Link, func(), error) { return link, func() {}, nil }, err
}

// link returns the link to a space on a hub.
func (f *linkFlags) link(url string) (transport.Link, error) {
	var opts httplink.Options
	if f.TokenFile != "" {
		if _, _, err := f.token(context.Background()); err != nil {
			return nil, err
		}
		opts.TokenSource = f.token
	}
	client, err := f.client()
	if err != nil {
		return nil, err
	}
	opts.HTTPClient = client
	if f.Rung != "auto" {
		opts.Rung = httplink.Rung(f.Rung)
	}
	link, err := httplink.New(url, &opts)
	if err != nil {
		return nil, &usageError{err}
	}
	return link, nil
}

// token reads the token file.
func (f *linkFlags) token(context.Context) (token string, expires time.Time, err error) {
	b, err := os.ReadFile(f.TokenFile)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read token: %w", err)
	}
	if token = strings.TrimSpace(string(b)); token == "" {
		return "", time.Time{}, fmt.Errorf("read token: %s is empty", f.TokenFile)
	}
	expires, _ = auth.Expiry(token) // another kind of token does not say
	return token, expires, nil
}

// client returns nil for the default one.
func (f *linkFlags) client() (*http.Client, error) {
	if (f.Cert == "") != (f.Key == "") {
		return nil, usagef("--cert and --key go together")
	}
	if f.CA == "" && f.Cert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		var err error
		if config.RootCAs, err = readCAs(f.CA); err != nil {
			return nil, err
		}
	}
	if f.Cert != "" {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s: %w", f.Cert, err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	round := http.DefaultTransport.(*http.Transport).Clone()
	round.TLSClientConfig = config
	return &http.Client{Transport: round}, nil
}
