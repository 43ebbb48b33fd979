package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport/auth"
)

func pemOf(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// rsaJWK is of the key in testdata.
func rsaJWK(tb testing.TB, more string) string {
	return `{"kty":"RSA","n":"` + encode(readForger(tb).rsa.N.Bytes()) + `","e":"AQAB"` + more + `}`
}

const okpJWK = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"` // RFC 8037, appendix A.2

func TestParseKeys(t *testing.T) {
	k := readForger(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	edPublic, err := os.ReadFile("testdata/ed25519.pub.pem")
	require.NoError(t, err)
	rsaPublic, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	require.NoError(t, err)
	pkix := func(key any) string { der, err := x509.MarshalPKIXPublicKey(key); return pemOf("PUBLIC KEY", der, err) }
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pemOf("PRIVATE KEY", der, err)
	}
	secret := strings.Repeat("s", 32)

	for name, tt := range map[string]struct {
		content string
		want    string // algorithms, "+" for one that signs; or the error
	}{
		"Ed25519 public":     {string(edPublic), "EdDSA"},
		"Ed25519 private":    {pkcs8(k.ed), "EdDSA+"},
		"RSA public":         {pkix(&k.rsa.PublicKey), "RS256"},
		"RSA private":        {pkcs8(k.rsa), "RS256+"},
		"RSA private, old":   {pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.rsa), nil), "RS256+"},
		"two in PEM":         {string(edPublic) + "\n" + pkix(&k.rsa.PublicKey) + "\n", "EdDSA RS256"},
		"secret":             {" " + secret + "\r\n", "HS256+"},
		"JWK":                {okpJWK + "}", "EdDSA"},
		"JWK set":            {`{"keys":[` + okpJWK + `,"kid":"a"},` + rsaJWK(t, `,"kid":"a"`) + `]}`, "EdDSA RS256"},
		"JWK secret":         {`{"kty":"oct","k":"` + encode([]byte(secret)) + `"}`, "HS256+"},
		"JWK for encryption": {`{"keys":[` + okpJWK + `},` + rsaJWK(t, `,"use":"enc"`) + `]}`, "EdDSA"},
		"JWK for PS256":      {`{"keys":[` + okpJWK + `},` + rsaJWK(t, `,"alg":"PS256"`) + `]}`, "EdDSA"},
		"JWK with key_ops":   {okpJWK + `,"key_ops":["verify"]}`, "EdDSA"},
		"JWK of the future":  {`{"keys":[{"kty":"AKP","alg":"ML-DSA-44"},` + okpJWK + `}]}`, "EdDSA"},

		"empty":               {" \n", "empty"},
		"too large":           {strings.Repeat("s", auth.MaxKeyFile+1), "1048577 bytes"},
		"short secret":        {strings.Repeat("s", 31), "secret of 31 bytes"},
		"RSA public, DER":     {string(rsaPublic), "DER"},
		"RSA public, old DER": {string(x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)), "DER"},
		"OpenSSH public":      {"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 me@here", "convert it"},
		"old PEM public":      {pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), nil), `"RSA PUBLIC KEY"`},
		"certificate":         {pemOf("CERTIFICATE", []byte("x"), nil), `"CERTIFICATE"`},
		"EC":                  {pkix(&ec.PublicKey), "another kind"},
		"small RSA":           {pkix(&small.PublicKey), "RSA key of 1024 bits"},
		"small RSA private":   {pkcs8(small), "RSA key of 1024 bits"},
		"cut PEM":             {string(edPublic[:len(edPublic)-5]), "damaged PEM"},
		"PEM of noise":        {pemOf("PUBLIC KEY", []byte("noise"), nil), "PUBLIC KEY: "},
		"text before PEM":     {"key:\n" + string(edPublic), ""},
		"many in PEM":         {strings.Repeat(string(edPublic), 65), "more than 64"},
		"JWK twice a member":  {okpJWK + `,"alg":"EdDSA","alg":"HS256"}`, `"alg" is there twice`},
		"JWK without kty":     {`{"keys":[{}]}`, `"kty" is missing`},
		"JWK short x":         {`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, "Ed25519 key of 3 bytes"},
		"JWK short secret":    {`{"kty":"oct","k":"AAAA"}`, "secret of 3 bytes"},
		"JWK empty secret":    {`{"kty":"oct","k":""}`, `"k" is missing`},
		"JWK small RSA":       {`{"kty":"RSA","n":"` + encode(small.N.Bytes()) + `","e":"AQAB"}`, "1024 bits"},
		"JWK huge RSA":        {`{"kty":"RSA","n":"` + encode(bytes.Repeat([]byte{255}, 1025)) + `","e":"AQAB"}`, "8200 bits"},
		"JWK even exponent":   {`{"kty":"RSA","n":"` + encode(k.rsa.N.Bytes()) + `","e":"BA"}`, "exponent"},
		"JWK huge exponent":   {`{"kty":"RSA","n":"` + encode(k.rsa.N.Bytes()) + `","e":"AQAAAAAAAAAB"}`, "exponent"},
		"JWK alg of another":  {okpJWK + `,"alg":"HS256"}`, "no key for signatures"},
		"JWK secret as RS256": {`{"kty":"oct","alg":"RS256","k":"` + encode([]byte(secret)) + `"}`, "no key for signatures"},
		"JWK only encryption": {rsaJWK(t, `,"use":"enc"`), "no key for signatures"},
		"JWK same kid":        {`{"keys":[` + okpJWK + `,"kid":"a"},` + okpJWK + `,"kid":"a"}]}`, `same kid "a"`},
		"JWK set of nothing":  {`{"keys":[]}`, "no key for signatures"},
		"JWK set an object":   {`{"keys":{}}`, "not a list"},
		"JWK set of many":     {`{"keys":[` + strings.Repeat(`{"kty":"x"},`, 64) + `{"kty":"x"}]}`, "65 keys"},
		"JWK null":            {`{"keys":[null]}`, "not a JSON object"},
		"JWK nested":          {`{"keys":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "nested too deeply"},
		"JWK not base64url":   {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "base64url"},
		"JSON list":           {`[1]`, "not a JSON object"},
		"JSON cut":            {`{"kty":`, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := auth.ParseKeys([]byte(tt.content))
			var got []string
			for _, k := range keys {
				got = append(got, k.Algorithm()+map[bool]string{true: "+"}[k.CanSign()])
			}
			if err != nil {
				require.Empty(t, keys)
				require.ErrorContains(t, err, tt.want)
				require.NotContains(t, tt.want, "256", "%v", err)
				return
			}
			if tt.want != "" {
				require.Equal(t, tt.want, strings.Join(got, " "))
			}
		})
	}
}

// What is generated can be written, read again, and used by whoever has but the
// public part.
func TestGenerateAndMint(t *testing.T) {
	dir := t.TempDir()
	for _, alg := range []string{auth.EdDSA, auth.HS256, auth.RS256} {
		key, err := auth.GenerateKey(alg)
		require.NoError(t, err)
		private, err := key.MarshalPrivate()
		require.NoError(t, err)
		public, err := key.MarshalPublic()
		require.NoError(t, err)
		again, err := auth.ParseKeys(private)
		require.NoError(t, err)
		require.Len(t, again, 1)
		require.True(t, again[0].CanSign())
		require.Equal(t, alg, again[0].Algorithm())
		file := public
		if alg == auth.HS256 {
			require.Nil(t, public)
			file = private
		} else {
			readable, err := auth.ParseKeys(public)
			require.NoError(t, err)
			require.False(t, readable[0].CanSign())
			_, err = auth.Mint(&auth.Claims{Subject: "a", Rules: []auth.Rule{{Spaces: []string{"x"}}}}, readable[0])
			require.ErrorContains(t, err, "private")
			_, err = readable[0].MarshalPrivate()
			require.Error(t, err)
		}
		name := filepath.Join(dir, alg)
		require.NoError(t, os.WriteFile(name, file, 0o600))
		a, err := auth.Open(auth.Files{Keys: []string{name}}, &auth.Options{Audience: "hub", Now: func() time.Time { return now }})
		require.NoError(t, err)
		token, err := auth.Mint(&auth.Claims{
			Subject: "alice", Audience: []string{"other", "hub"}, Expires: now.Add(time.Hour), IssuedAt: now, NotBefore: now,
			Rules: []auth.Rule{{Spaces: []string{"cr*"}, Read: []string{"notes"}, Relay: true}, {Spaces: []string{"*"}, Read: []string{"tasks/x"}, Admin: true}},
		}, again[0])
		require.NoError(t, err)
		g, err := a.Token(token, "crew")
		require.NoError(t, err)
		require.Equal(t, "alice", g.Subject)
		require.Len(t, g.Read.Only, 2)
		require.True(t, g.Write.None() && g.Relay && g.Admin)
		require.True(t, now.Add(time.Hour+30*time.Second).Equal(g.Expires))
		g, err = a.Token(token, "fleet")
		require.NoError(t, err)
		require.False(t, g.Relay, "only the second rule is for it")
		end, ok := auth.Expiry(token)
		require.True(t, ok && end.Equal(now.Add(time.Hour)))
	}
	_, err := auth.GenerateKey("none")
	require.Error(t, err)
}

func TestMintRefuses(t *testing.T) {
	key, err := auth.GenerateKey(auth.HS256)
	require.NoError(t, err)
	for want, c := range map[string]auth.Claims{
		"subject":        {},
		"grants nothing": {Subject: "a"},
		"names no space": {Subject: "a", Rules: []auth.Rule{{Spaces: []string{"Crew"}}}},
		"no collection":  {Subject: "a", Rules: []auth.Rule{{Spaces: []string{"crew"}, Write: []string{""}}}},
		"8192":           {Subject: "a", Rules: []auth.Rule{{Spaces: []string{"crew"}, Write: slices.Repeat([]string{strings.Repeat("w", 100)}, 70)}}},
	} {
		_, err := auth.Mint(&c, key)
		require.ErrorContains(t, err, want)
	}
}
