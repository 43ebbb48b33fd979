package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/godwitdb/godwit/transport/auth"
)

type tokenCmd struct {
	GenerateKey string `placeholder:"FILE" help:"Write a new key to FILE, and its public part to FILE.pub, instead of a token."`
	Alg         string `enum:"EdDSA,HS256,RS256," default:"" placeholder:"ALG" help:"EdDSA (the default for a new key), HS256 or RS256. A key is for one of them."`

	Key      string        `placeholder:"FILE" help:"Sign with the private key or the secret in this file."`
	Subject  string        `placeholder:"NAME" help:"Who the token is for."`
	Space    []string      `placeholder:"NAME" help:"The spaces it is good for; * stands for any characters."`
	Read     []string      `placeholder:"SELECTOR" help:"What may be read: COLLECTION, COLLECTION/PREFIX or *."`
	Write    []string      `placeholder:"SELECTOR" help:"What may be written."`
	Relay    bool          `help:"Changes that other replicas authored may be brought."`
	Admin    bool          `help:"The space's policies may be written."`
	TTL      time.Duration `name:"ttl" default:"1h" placeholder:"TIME" help:"For how long it is good."`
	Audience []string      `placeholder:"NAME" help:"The hub it is for, if that wants to be named."`
}

// Help is shown by --help.
func (tokenCmd) Help() string {
	return `For development and tests: an identity provider can issue such tokens as well. A token is a JWT with a claim "godwit",
which the package transport/auth describes.

    godwit token --generate-key issuer.pem
    godwit serve --data hub --auth-key issuer.pem.pub
    godwit token --key issuer.pem --subject alice --space crew --read tasks,notes/abc --write tasks > alice.token
    godwit sync http://localhost:8080/spaces/crew --token-file alice.token

A replica that has synced with others brings their changes too, and needs --relay for it.`
}

// Run prints a token or makes a key.
func (c *tokenCmd) Run(e *env) error {
	if c.GenerateKey != "" {
		if c.Key != "" || c.Subject != "" || len(c.Space) > 0 {
			return usagef("--generate-key makes a key and no token: leave --key, --subject and --space out")
		}
		return c.generate(e)
	}
	if c.Key == "" || c.Subject == "" || len(c.Space) == 0 {
		return usagef("a token needs --key, --subject and --space")
	}
	if c.TTL < time.Second {
		return usagef("--ttl %v is less than a second", c.TTL)
	}
	return c.mint(e)
}

func (c *tokenCmd) mint(e *env) error {
	data, err := os.ReadFile(c.Key)
	if err != nil {
		return fmt.Errorf("token: read key: %w", err)
	}
	keys, err := auth.ParseKeys(data)
	if err != nil {
		return fmt.Errorf("token: %s: %w", c.Key, err)
	}
	key := keys[0]
	if c.Alg != "" && c.Alg != key.Algorithm() {
		return fmt.Errorf("token: the key in %s is for %s, not for %s", c.Key, key.Algorithm(), c.Alg)
	}
	now := time.Now()
	claims := &auth.Claims{
		Subject: c.Subject, Audience: c.Audience, IssuedAt: now, Expires: now.Add(c.TTL),
		Rules: []auth.Rule{{Spaces: c.Space, Read: c.Read, Write: c.Write, Relay: c.Relay, Admin: c.Admin}},
	}
	token, err := auth.Mint(claims, key)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if e.json {
		return e.printJSON(map[string]any{"token": token, "subject": c.Subject, "expires": claims.Expires.UTC().Format(time.RFC3339)})
	}
	e.printf("%s\n", token)
	return nil
}

// generate writes a key that none but the user may read, and never over another.
func (c *tokenCmd) generate(e *env) error {
	alg := c.Alg
	if alg == "" {
		alg = auth.EdDSA
	}
	key, err := auth.GenerateKey(alg)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	private, err := key.MarshalPrivate()
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	public, err := key.MarshalPublic()
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := writeNew(c.GenerateKey, private, 0o600); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if public == nil {
		e.note("wrote %s, a secret that signs and verifies with %s", c.GenerateKey, alg)
		return nil
	}
	if err := writeNew(c.GenerateKey+".pub", public, 0o644); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	e.note("wrote %s, a private key that signs with %s, and %s.pub, which verifies", c.GenerateKey, alg, c.GenerateKey)
	return nil
}

func writeNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}
