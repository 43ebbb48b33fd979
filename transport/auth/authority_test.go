package auth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/auth"
)

func write(tb testing.TB, content string) string {
	name := filepath.Join(tb.TempDir(), "file")
	require.NoError(tb, os.WriteFile(name, []byte(content), 0o600))
	return name
}

func at(t time.Time) *auth.Options { return &auth.Options{Now: func() time.Time { return t }} }

const crewRule = `"godwit":[{"spaces":["crew"],"read":["*"]}]`

func TestTokenFile(t *testing.T) {
	long := strings.Repeat("x", auth.MaxToken)
	for name, tt := range map[string]struct {
		content string
		want    string // an error's text; "" for none
	}{
		"one token":         {" abc \r\n", ""},
		"longest":           {long, ""},
		"identities":        {`[{"sub":"a","token":"t1",` + crewRule + `},{"sub":"a","token":"t2",` + crewRule + `}]`, ""},
		"no identities":     {`[]`, ""},
		"empty":             {" \n", "empty"},
		"two words":         {"a b", "without space"},
		"two lines":         {"a\nb", "without space"},
		"not ASCII":         {"ä", "ASCII"},
		"NUL":               {"a\x00", "ASCII"},
		"too long":          {long + "x", "8193 bytes"},
		"same token":        {`[{"sub":"a","token":"t",` + crewRule + `},{"sub":"b","token":"t",` + crewRule + `}]`, "identity 2: two identities have the same token"},
		"same, hashed":      {`[{"sub":"a","token":"abc",` + crewRule + `},{"sub":"b","token_sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",` + crewRule + `}]`, "same token"},
		"no token":          {`[{"sub":"a",` + crewRule + `}]`, "want one of"},
		"token and hash":    {`[{"sub":"a","token":"t","token_sha256":"00",` + crewRule + `}]`, "want one of"},
		"empty token":       {`[{"sub":"a","token":"",` + crewRule + `}]`, "a token of 0 bytes"},
		"short hash":        {`[{"sub":"a","token_sha256":"00",` + crewRule + `}]`, "64 hexadecimal"},
		"long hash":         {`[{"sub":"a","token_sha256":"` + strings.Repeat("0", 66) + `",` + crewRule + `}]`, "64 hexadecimal"},
		"no subject":        {`[{"token":"t",` + crewRule + `}]`, "sub"},
		"no rights":         {`[{"sub":"a","token":"t"}]`, "grants nothing"},
		"unknown member":    {`[{"sub":"a","token":"t","grants":[],` + crewRule + `}]`, `"grants" is not known`},
		"twice a member":    {`[{"sub":"a","sub":"b","token":"t",` + crewRule + `}]`, "twice"},
		"certificate":       {`[{"sub":"a","certificate":"dns:a",` + crewRule + `}]`, ""},
		"bare certificate":  {`[{"sub":"a","certificate":"a",` + crewRule + `}]`, "want dns:"},
		"certificate of ip": {`[{"sub":"a","certificate":"ip:1.2.3.4",` + crewRule + `}]`, "want dns:"},
		"nameless":          {`[{"sub":"a","certificate":"cn:",` + crewRule + `}]`, "want dns:"},
		"same certificate":  {`[{"sub":"a","certificate":"cn:a",` + crewRule + `},{"sub":"b","certificate":"cn:a",` + crewRule + `}]`, "two identities"},
		"not objects":       {`["t"]`, "not a JSON object"},
		"cut":               {`[{"sub":`, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, tt.content)
			_, err := auth.Open(auth.Files{Tokens: []string{file}}, nil)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, file)
		})
	}
	_, err := auth.Open(auth.Files{Tokens: []string{"/nowhere/tokens"}}, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = auth.Open(auth.Files{Keys: []string{"/nowhere/keys"}}, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = auth.Open(auth.Files{}, &auth.Options{Leeway: 6 * time.Minute})
	require.ErrorContains(t, err, "leeway")
}

func TestIdentities(t *testing.T) {
	single, many := write(t, "the-one\n"), write(t, `[
		{"sub":"alice","token":"t1","godwit":[{"spaces":["crew"],"read":["tasks","notes/abc"],"write":["tasks"],"relay":true}]},
		{"sub":"ben","token_sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","exp":1767312000,"godwit":[{"spaces":["*"],"read":["*"]}]}]`)
	a, err := auth.Open(auth.Files{Tokens: []string{single, many}}, at(now))
	require.NoError(t, err)

	g, err := a.Token("the-one", "any")
	require.NoError(t, err)
	require.Equal(t, transport.FullGrant(), g)

	g, err = a.Token("t1", "crew")
	require.NoError(t, err)
	require.Equal(t, transport.Grant{
		Subject: "alice", Relay: true, Write: transport.Scope{Only: []transport.Selector{{Collection: "tasks"}}},
		Read: transport.Scope{Only: []transport.Selector{{Collection: "notes", Prefix: "abc"}, {Collection: "tasks"}}},
	}, g)
	g, err = a.Token("abc", "fleet")
	require.NoError(t, err)
	require.Equal(t, time.Unix(1767312000+30, 0), g.Expires)

	for token, want := range map[string]string{"t2": "token", "": "token", "T1": "token", "the-one ": "token", "a.b.c": "token", strings.Repeat("x", 8193): "token"} {
		_, err := a.Token(token, "crew")
		require.Equal(t, want, transport.CodeOf(err), "%.20q: %v", token, err)
	}
	_, err = a.Token("t1", "fleet")
	require.Equal(t, transport.CodeAuth, transport.CodeOf(err))
	late, err := auth.Open(auth.Files{Tokens: []string{many}}, at(time.Unix(1767312031, 0)))
	require.NoError(t, err)
	_, err = late.Token("abc", "crew")
	require.Equal(t, transport.CodeExpired, transport.CodeOf(err))
}

func TestCertificates(t *testing.T) {
	file := write(t, `[{"sub":"pump","certificate":"dns:pump.example","godwit":[{"spaces":["crew"],"write":["*"]}]},
		{"sub":"spiffe","certificate":"uri:spiffe://x/y","godwit":[{"spaces":["crew"]}]},
		{"sub":"mail","certificate":"email:a@b","exp":1767312000,"godwit":[{"spaces":["crew"]}]},
		{"sub":"named","certificate":"cn:pump.example","godwit":[{"spaces":["crew"]}]}]`)
	a, err := auth.Open(auth.Files{Tokens: []string{file}}, at(now))
	require.NoError(t, err)
	id, err := url.Parse("spiffe://x/y")
	require.NoError(t, err)
	end := now.Add(24 * time.Hour)
	for want, cert := range map[string]*x509.Certificate{
		"pump":   {DNSNames: []string{"other", "pump.example"}},
		"spiffe": {URIs: []*url.URL{id}},
		"mail":   {EmailAddresses: []string{"a@b"}},
		"named":  {Subject: pkix.Name{CommonName: "pump.example"}},
	} {
		cert.NotAfter = end
		g, err := a.Certificate(cert, "crew")
		require.NoError(t, err)
		require.Equal(t, want, g.Subject)
		if want == "mail" {
			require.Equal(t, time.Unix(1767312030, 0), g.Expires)
		} else {
			require.Equal(t, end, g.Expires)
		}
		g, err = a.Certificate(cert, "fleet")
		require.Equal(t, transport.CodeAuth, transport.CodeOf(err))
		require.Equal(t, transport.Grant{}, g)
	}
	for _, cert := range []*x509.Certificate{{}, {DNSNames: []string{"cn:pump.example", "spiffe://x/y"}}, {Subject: pkix.Name{CommonName: "dns:pump.example"}}} {
		_, err := a.Certificate(cert, "crew")
		require.Equal(t, transport.CodeToken, transport.CodeOf(err))
	}
}

// The keys of the first file are not for the audience's sake alone.
func TestAudience(t *testing.T) {
	k := readForger(t)
	opts := at(now)
	opts.Audience, opts.NoExpiry = "hub", true
	a, err := auth.Open(auth.Files{Keys: []string{"testdata/ed25519.pub.pem"}}, opts)
	require.NoError(t, err)
	for payload, ok := range map[string]bool{
		claims("aud", "hub"): true, claims("aud", []string{"x", "hub"}): true, claims("aud", "hub", "exp", nil): true,
		claims(): false, claims("aud", "hub2"): false, claims("aud", []string{}): false, claims("aud", []any{nil}): false, claims("aud", 7): false,
	} {
		_, err := a.Token(k.eddsa(`{"alg":"EdDSA"}`, payload), "crew")
		require.Equal(t, ok, err == nil, "%s: %v", payload, err)
		if !ok {
			require.Equal(t, transport.CodeToken, transport.CodeOf(err))
		}
	}
}

// Files that change are read again; one that is broken leaves what was in force.
func TestReload(t *testing.T) {
	clock := now
	file := write(t, "first")
	a, err := auth.Open(auth.Files{Tokens: []string{file}}, &auth.Options{Reload: time.Second, Now: func() time.Time { return clock }})
	require.NoError(t, err)
	knows := func(token string) bool { _, err := a.Token(token, "crew"); return err == nil }
	require.True(t, knows("first"))

	require.NoError(t, os.WriteFile(file, []byte("the-second"), 0o600))
	require.True(t, knows("first"), "not looked at before Reload is over")
	clock = clock.Add(time.Second)
	require.True(t, knows("the-second"))
	require.False(t, knows("first"))

	require.NoError(t, os.WriteFile(file, []byte("not one token"), 0o600))
	clock = clock.Add(time.Second)
	require.True(t, knows("the-second"))
	require.ErrorContains(t, a.Err(), "without space")
	require.NoError(t, os.Remove(file))
	clock = clock.Add(time.Second)
	require.True(t, knows("the-second"))
	require.ErrorIs(t, a.Err(), os.ErrNotExist)

	require.NoError(t, os.WriteFile(file, []byte("third"), 0o600))
	clock = clock.Add(time.Second)
	require.True(t, knows("third"))
	require.NoError(t, a.Err())
}

func TestParseScope(t *testing.T) {
	parse := func(s ...string) transport.Scope {
		scope, err := auth.ParseScope(s)
		require.NoError(t, err)
		return scope
	}
	require.True(t, parse().None())
	require.Equal(t, transport.Everything(), parse("a", "*", "b/c"))
	require.Equal(t, []transport.Selector{{Prefix: "x"}, {Collection: "a"}, {Collection: "b", Prefix: "c"}, {Collection: "b", Prefix: "d"}},
		parse("b/d", "b/c", "b/cc", "a/z", "a", "a/", "b/xy", "*/x", "b/c").Only)
	require.Equal(t, parse("a", "b").Hash(), parse("b", "a", "b/c", "a").Hash())
	for _, bad := range []string{"", "/", "/a", "a/b/c", "a\n", "a/\x00", "\xff", strings.Repeat("a", 2000)} {
		_, err := auth.ParseScope([]string{"fine", bad})
		require.Error(t, err, "%q", bad)
	}
}

func TestExpiry(t *testing.T) {
	k := readForger(t)
	for token, want := range map[string]bool{
		k.eddsa("{}", claims()): true, k.eddsa("{}", claims("exp", nil)): false, k.eddsa("{}", claims("exp", "1")): false,
		"secret": false, "": false, "a.b.c": false, "..": false, k.eddsa("{}", "[]"): false,
	} {
		_, ok := auth.Expiry(token)
		require.Equal(t, want, ok, "%q", token)
	}
}
