package httplink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/auth"
	"github.com/godwitdb/godwit/transport/httplink"
)

// bearer returns an authoriser with the content of a token file.
func bearer(tb testing.TB, tokens string) httplink.Authorizer {
	name := filepath.Join(tb.TempDir(), "tokens")
	require.NoError(tb, os.WriteFile(name, []byte(tokens), 0o600))
	a, err := auth.Open(auth.Files{Tokens: []string{name}}, nil)
	require.NoError(tb, err)
	return httplink.Authorize(a)
}

func TestAuthorizationHeader(t *testing.T) {
	authorize := bearer(t, "abc")
	for header, want := range map[string]bool{
		"Bearer abc": true, "bearer  abc": true, "BEARER abc ": true, "Basic abc": false, "Bearer abcd": false,
		"Bearer ": false, "Bearer": false, "": false, "abc": false, "Bearer abc abc": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		grant, err := authorize(r, "crew")
		require.Equal(t, want, err == nil, "%q", header)
		require.Equal(t, want, grant.Write.All && grant.Read.All, "%q", header)
		if !want {
			require.Equal(t, transport.CodeToken, transport.CodeOf(err))
		}
	}
}

func TestCheckListen(t *testing.T) {
	for _, tt := range []struct {
		addr                string
		auth, tls, insecure bool
		ok, warns           bool
	}{
		{addr: "localhost:0", ok: true}, {addr: "127.0.0.1:80", ok: true}, {addr: "127.9.9.9:80", ok: true},
		{addr: "[::1]:80", ok: true}, {addr: "[::ffff:127.0.0.1]:80", ok: true}, {addr: "LocalHost:1", ok: true},
		{addr: "localhost:0", auth: true, ok: true},
		{addr: ":80"}, {addr: "0.0.0.0:80"}, {addr: "[::]:80"}, {addr: "192.168.1.2:80"}, {addr: "example.org:80"},
		{addr: "localhost.example.org:80"}, {addr: "localhost"}, {addr: ""}, {addr: ":80", tls: true}, {addr: "80", auth: true},
		{addr: ":80", auth: true, ok: true, warns: true}, {addr: ":80", auth: true, tls: true, ok: true},
		{addr: ":80", insecure: true, ok: true}, {addr: ":80", auth: true, insecure: true, ok: true},
	} {
		warning, err := httplink.CheckListen(tt.addr, tt.auth, tt.tls, tt.insecure)
		require.Equal(t, tt.ok, err == nil, "%+v: %v", tt, err)
		require.Equal(t, tt.warns, warning != "", "%+v: %s", tt, warning)
	}
}

// Pages of other origins may neither open a WebSocket nor post, with whatever
// the browser says.
func TestOrigins(t *testing.T) {
	hub := func(opts httplink.ServerOptions) string { return listen(t, opts).url }
	open := hub(httplink.ServerOptions{})
	trusting := hub(httplink.ServerOptions{Origins: []string{"https://app.example", "nonsense", "*"}})
	authed := hub(httplink.ServerOptions{Authorize: bearer(t, "abc")})
	own := func(url string) string { return url[:len(url)-len("/spaces/crew")] }
	for name, tt := range map[string]struct {
		url    string
		header http.Header
		host   string
		ok     bool
	}{
		"no browser":           {url: open, ok: true},
		"own":                  {url: open, header: http.Header{"Origin": {own(open)}}, ok: true},
		"own, modern":          {url: open, header: http.Header{"Origin": {own(open)}, "Sec-Fetch-Site": {"same-origin"}}, ok: true},
		"cross-site":           {url: open, header: http.Header{"Origin": {"https://evil.example"}}},
		"cross-site, modern":   {url: open, header: http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}},
		"claims to be same":    {url: open, header: http.Header{"Origin": {own(open)}, "Sec-Fetch-Site": {"cross-site"}}},
		"other port":           {url: open, header: http.Header{"Origin": {"http://127.0.0.1:1"}}},
		"sandboxed":            {url: open, header: http.Header{"Origin": {"null"}}},
		"rebound":              {url: open, header: http.Header{"Origin": {"http://evil.example"}}, host: "evil.example"},
		"rebound, modern":      {url: open, header: http.Header{"Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"same-origin"}}, host: "evil.example"},
		"rebound, no browser":  {url: open, host: "hub.example", ok: true},
		"localhost":            {url: open, header: http.Header{"Origin": {"http://localhost"}}, host: "localhost", ok: true},
		"behind a proxy":       {url: authed, header: http.Header{"Origin": {"https://hub.example"}, "Authorization": {"Bearer abc"}}, host: "hub.example", ok: true},
		"cross-site, token":    {url: authed, header: http.Header{"Origin": {"https://evil.example"}, "Authorization": {"Bearer abc"}}},
		"trusted":              {url: trusting, header: http.Header{"Origin": {"https://app.example"}}, ok: true},
		"trusted, modern":      {url: trusting, header: http.Header{"Origin": {"https://app.example"}, "Sec-Fetch-Site": {"cross-site"}}, ok: true},
		"like the trusted one": {url: trusting, header: http.Header{"Origin": {"https://app.example.evil.example"}}},
		"trusted without TLS":  {url: trusting, header: http.Header{"Origin": {"http://app.example"}}},
	} {
		t.Run(name, func(t *testing.T) {
			upgrade := http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Protocol": {"godwit.1"},
			}
			post := http.Header{"Content-Type": {"text/plain"}} // of no use, but let in as far as the origin goes
			for method, header := range map[string]http.Header{http.MethodGet: upgrade, http.MethodPost: post} {
				r, err := http.NewRequest(method, tt.url, nil)
				require.NoError(t, err)
				r.Header, r.Host = header, tt.host
				for k, v := range tt.header {
					r.Header[k] = v
				}
				resp, err := http.DefaultClient.Do(r)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				if !tt.ok {
					require.Equal(t, http.StatusForbidden, resp.StatusCode, method)
				} else {
					require.NotEqual(t, http.StatusForbidden, resp.StatusCode, method)
				}
				if tt.ok && method == http.MethodGet {
					require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
				}
			}
		})
	}
	require.NoError(t, httplink.CheckOrigin("https://app.example:8443"))
	for _, bad := range []string{"", "*", "app.example", "https://app.example/", "https://app.example/x"} {
		require.Error(t, httplink.CheckOrigin(bad), "%q", bad)
	}
}

// A hub over TLS knows a client by its certificate, or by a token.
func TestTLS(t *testing.T) {
	ca, caKey := certificate(t, "the authority", nil, nil)
	other, otherKey := certificate(t, "another authority", nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	var grants = make(chan transport.Grant, 1)
	s := httplink.Handler(&httplink.ServerOptions{
		Authorize: bearer(t, `[{"sub":"pump","certificate":"dns:pump.example","godwit":[{"spaces":["crew"],"write":["*"]}]},
			{"sub":"ben","token":"b3n","godwit":[{"spaces":["crew"],"read":["*"]}]}]`),
		Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			grants <- g
			_, err := c.Recv(ctx)
			return err
		},
	})
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	server.StartTLS()
	t.Cleanup(func() {
		require.NoError(t, s.Close(context.Background()))
		server.Close()
	})
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	pump, pumpKey := certificate(t, "pump.example", ca, caKey)
	forged, forgedKey := certificate(t, "pump.example", other, otherKey)
	unknown, unknownKey := certificate(t, "valve.example", ca, caKey)

	for name, tt := range map[string]struct {
		cert    *x509.Certificate
		key     *ecdsa.PrivateKey
		roots   *x509.CertPool
		token   string
		subject string
		code    string
	}{
		"certificate":         {cert: pump, key: pumpKey, roots: trusted, subject: "pump"},
		"token":               {token: "b3n", roots: trusted, subject: "ben"},
		"both":                {cert: pump, key: pumpKey, token: "b3n", roots: trusted, subject: "ben"},
		"neither":             {roots: trusted, code: transport.CodeToken},
		"unknown certificate": {cert: unknown, key: unknownKey, roots: trusted, code: transport.CodeToken},
		"forged certificate":  {cert: forged, key: forgedKey, roots: trusted, code: transport.CodeClosed},
		"server not trusted":  {token: "b3n", roots: pool, code: transport.CodeClosed},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				config := &tls.Config{RootCAs: tt.roots}
				if tt.cert != nil {
					shown := &tls.Certificate{Certificate: [][]byte{tt.cert.Raw}, PrivateKey: tt.key}
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil } // wanted or not
				}
				round := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2}
				defer round.CloseIdleConnections()
				c, err := dial(t, server.URL+"/spaces/crew", &httplink.Options{Token: tt.token, HTTPClient: &http.Client{Transport: round}})
				if tt.code != "" {
					require.Equal(t, tt.code, transport.CodeOf(err), "%v", err)
					t.Log(err)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tt.subject, (<-grants).Subject)
				require.NoError(t, c.Close())
			})
		}
	}
}

// certificate makes one for a name, signed by ca or by itself.
func certificate(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}
