package auth

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godwitdb/godwit/transport"
)

// Files name where an Authority finds whom to trust.
type Files struct {
	Keys   []string // key files: their holders issue tokens
	Tokens []string // token files
}

// Authority knows whom to trust. It is safe for concurrent use.
type Authority struct {
	files Files
	opts  Options

	mu      sync.Mutex // guards what follows
	known   *known
	looked  time.Time        // when the files were last looked at
	stamps  map[string]stamp // what they were when they were read
	failure error            // why they could not be read the last time
}

// known is what the files say. It does not change.
type known struct {
	keys   []Key
	tokens map[[sha256.Size]byte]*Claims
	certs  map[string]*Claims // by "dns:NAME" and so on
}

// stamp tells whether a file has changed.
type stamp struct {
	size     int64
	modified time.Time
}

// Open reads the files. nil options mean the zero ones.
func Open(files Files, opts *Options) (*Authority, error) {
	a := &Authority{files: files}
	if opts != nil {
		a.opts = *opts
	}
	if err := a.opts.fill(); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	a.looked, a.stamps = a.opts.Now(), files.stamps()
	var err error
	a.known, err = files.read()
	return a, err
}

// Token returns what the bearer of a token may do in a space. Its error is a
// *transport.Error.
func (a *Authority) Token(token, space string) (transport.Grant, error) {
	if len(token) > MaxToken {
		return transport.Grant{}, refuse(transport.CodeToken, "the token has %d bytes, at most %d are allowed", len(token), MaxToken)
	}
	k := a.current()
	c, ok := k.tokens[sha256.Sum256([]byte(token))]
	if ok {
		return a.grant(c, space)
	}
	if len(k.keys) == 0 || strings.Count(token, ".") != 2 {
		return transport.Grant{}, refuse(transport.CodeToken, "the token is not known")
	}
	c, err := a.opts.verify(token, k.keys)
	if err != nil {
		return transport.Grant{}, err
	}
	return c.Grant(space)
}

// Certificate returns what the holder of a verified client certificate may do in
// a space, until the certificate ends. Its error is a *transport.Error.
func (a *Authority) Certificate(cert *x509.Certificate, space string) (transport.Grant, error) {
	k := a.current()
	for _, name := range certificateNames(cert) {
		if c, ok := k.certs[name]; ok {
			g, err := a.grant(c, space)
			if err == nil && (g.Expires.IsZero() || cert.NotAfter.Before(g.Expires)) {
				g.Expires = cert.NotAfter
			}
			return g, err
		}
	}
	return transport.Grant{}, refuse(transport.CodeToken, "the client certificate is not known")
}

// grant is for an identity of a file, which need not end.
func (a *Authority) grant(shared *Claims, space string) (transport.Grant, error) {
	c, opts := *shared, a.opts
	opts.NoExpiry, opts.Audience = true, ""
	if err := opts.inForce(&c); err != nil {
		return transport.Grant{}, err
	}
	return c.Grant(space)
}

// certificateNames returns what an entry of a token file can call a certificate.
func certificateNames(cert *x509.Certificate) []string {
	var names []string
	for _, s := range cert.DNSNames {
		names = append(names, "dns:"+s)
	}
	for _, u := range cert.URIs {
		names = append(names, "uri:"+u.String())
	}
	for _, s := range cert.EmailAddresses {
		names = append(names, "email:"+s)
	}
	if cert.Subject.CommonName != "" {
		names = append(names, "cn:"+cert.Subject.CommonName)
	}
	return names
}

// Err returns why changed files could not be read; nil when what is in force is
// what they say.
func (a *Authority) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

// current returns what is known, after a look at the files if the last one was
// a while ago.
func (a *Authority) current() *known {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.opts.Now()
	if now.Sub(a.looked) < a.opts.Reload {
		return a.known
	}
	a.looked = now
	stamps := a.files.stamps()
	changed := false
	for name, s := range stamps {
		changed = changed || a.stamps[name] != s
	}
	if !changed && a.failure == nil {
		return a.known
	}
	k, err := a.files.read()
	if a.failure = err; err == nil {
		a.known, a.stamps = k, stamps
	}
	return a.known
}

// stamps of the files; that of one that is not there is zero.
func (f Files) stamps() map[string]stamp {
	all := map[string]stamp{}
	for _, list := range [][]string{f.Keys, f.Tokens} {
		for _, name := range list {
			all[name] = stamp{}
			if info, err := os.Stat(name); err == nil {
				all[name] = stamp{info.Size(), info.ModTime()}
			}
		}
	}
	return all
}

func (f Files) read() (*known, error) {
	k := &known{tokens: map[[sha256.Size]byte]*Claims{}, certs: map[string]*Claims{}}
	for _, name := range f.Keys {
		data, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		keys, err := ParseKeys(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if k.keys = append(k.keys, keys...); len(k.keys) > MaxKeys {
			return nil, fmt.Errorf("%s: read keys: more than %d in all", name, MaxKeys)
		}
	}
	for _, name := range f.Tokens {
		data, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("read tokens: %w", err)
		}
		if err := k.addTokens(data); err != nil {
			return nil, fmt.Errorf("%s: read tokens: %w", name, err)
		}
	}
	return k, nil
}

// readFile reads a file of at most MaxKeyFile bytes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, MaxKeyFile+1))
	if len(data) > MaxKeyFile {
		err = cmp.Or(err, fmt.Errorf("%s is larger than %d bytes", name, MaxKeyFile))
	}
	return data, err
}
