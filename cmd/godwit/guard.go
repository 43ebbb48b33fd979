package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/auth"
	"github.com/godwitdb/godwit/transport/httplink"
)

// guardFlags say whom a server lets in.
type guardFlags struct {
	AuthKey   []string `placeholder:"FILE" sep:"none" help:"Let in who shows a token signed with a key in this file: PEM, JWK set, or a secret."`
	TokenFile []string `placeholder:"FILE" sep:"none" help:"Let in who shows the token in this file, or one of its identities (a JSON list)."`
	Audience  string   `placeholder:"NAME" help:"Take only signed tokens that are for this audience."`
	TLSCert   string   `name:"tls-cert" placeholder:"FILE" help:"Serve HTTPS with this certificate (PEM)."`
	TLSKey    string   `name:"tls-key" placeholder:"FILE" help:"The certificate's private key."`
	ClientCA  string   `name:"client-ca" placeholder:"FILE" help:"Know clients by certificates of these authorities; an identity in --token-file names each."`
	Origin    []string `placeholder:"ORIGIN" sep:"none" help:"Let web pages of this origin speak with the server: https://HOST[:PORT]."`

	MaxRequests float64 `placeholder:"N" help:"Requests a second of one subject; more are told to come back later."`
	MaxSessions int     `placeholder:"N" help:"Open connections of one subject."`
	MaxFrames   float64 `placeholder:"N" help:"Frames a second of one subject; more are read later."`
	MaxBytes    float64 `placeholder:"N" help:"Bytes a second of one subject, at least 1048576; more are read later."`
	MaxFailures float64 `placeholder:"N" help:"Wrong tokens a second of one address; then it is told to come back later. Not behind a proxy."`
}

// server returns the options of a server that lets in whom the flags say, and
// the configuration of TLS, nil for none.
func (f *guardFlags) server(log *slog.Logger) (*httplink.ServerOptions, *tls.Config, error) {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return nil, nil, usagef("--tls-cert and --tls-key go together")
	}
	if f.ClientCA != "" && (f.TLSCert == "" || len(f.TokenFile) == 0) {
		return nil, nil, usagef("--client-ca needs --tls-cert and --tls-key, and a --token-file that says who has which certificate")
	}
	opts := &httplink.ServerOptions{Origins: f.Origin, Limits: httplink.Limits{
		Requests: f.MaxRequests, Sessions: f.MaxSessions, Frames: f.MaxFrames, Bytes: f.MaxBytes, Failures: f.MaxFailures,
	}}
	for _, origin := range f.Origin {
		if err := httplink.CheckOrigin(origin); err != nil {
			return nil, nil, &usageError{err}
		}
	}
	if len(f.AuthKey)+len(f.TokenFile) > 0 {
		authority, err := auth.Open(auth.Files{Keys: f.AuthKey, Tokens: f.TokenFile}, &auth.Options{Audience: f.Audience})
		if err != nil {
			return nil, nil, err
		}
		opts.Authorize = logged(authority, log)
	}
	config, err := f.tls()
	return opts, config, err
}

// logged says once when the files have become unreadable.
func logged(a *auth.Authority, log *slog.Logger) httplink.Authorizer {
	authorize := httplink.Authorize(a)
	var mu sync.Mutex // guards said
	said := ""
	return func(r *http.Request, space string) (transport.Grant, error) {
		g, err := authorize(r, space)
		now := ""
		if failure := a.Err(); failure != nil {
			now = failure.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		if now != said && now != "" {
			log.Error("keys and tokens have changed and can't be read: the old ones stay in force", "error", now)
		}
		said = now
		return g, err
	}
}

func (f *guardFlags) tls() (*tls.Config, error) {
	if f.TLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(f.TLSCert, f.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", f.TLSCert, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if f.ClientCA != "" {
		// Whoever shows no certificate may still show a token.
		config.ClientAuth = tls.VerifyClientCertIfGiven
		if config.ClientCAs, err = readCAs(f.ClientCA); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func readCAs(name string) (*x509.CertPool, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read certificates: none in %s: want PEM", name)
	}
	return pool, nil
}
