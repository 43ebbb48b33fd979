package auth_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/auth"
)

// FuzzClaims holds the parser of claims against any bytes: what it takes is
// within its bounds, can be granted, and says the same when written again.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(claims()))
	f.Add([]byte(claims("aud", "hub", "nbf", 1, "iat", 2.5, "godwit", json.RawMessage(`[{"spaces":["*"],"read":["*/a","b/c"],"relay":true,"admin":true}]`))))
	for _, h := range readHostile(f) {
		if parts := strings.Split(h.Token, "."); len(parts) == 3 {
			if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
				f.Add(payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := auth.ParseClaims(data)
		if err != nil {
			return
		}
		require.NotEmpty(t, c.Subject)
		require.LessOrEqual(t, len(c.Rules), auth.MaxRules)
		if g, err := c.Grant("crew"); err != nil {
			require.Equal(t, transport.CodeAuth, transport.CodeOf(err), "what was taken can be granted")
		} else {
			require.Equal(t, c.Subject, g.Subject)
		}
		again, err := json.Marshal(c)
		require.NoError(t, err)
		second, err := auth.ParseClaims(again)
		require.NoError(t, err, "%s", again)
		c.Expires, c.NotBefore, c.IssuedAt = second.Expires, second.NotBefore, second.IssuedAt // less than a second is lost
		require.Equal(t, normal(c), normal(second))
	})
}

// normal makes lists of nothing nil.
func normal(c *auth.Claims) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// FuzzKeys holds the parsers of key files against any bytes: a key that is
// taken is strong enough, and a public one is never an HMAC secret.
func FuzzKeys(f *testing.F) {
	for _, name := range []string{"testdata/ed25519.pem", "testdata/ed25519.pub.pem", "testdata/rsa.pem", "testdata/jwks.json"} {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte(okpJWK + `,"kid":"a","alg":"EdDSA","use":"sig","key_ops":["verify"]}`))
	f.Add([]byte(`{"keys":[` + rsaJWK(f, `,"kid":"b"`) + `,{"kty":"EC","crv":"P-256"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := auth.ParseKeys(data)
		if err != nil {
			require.Empty(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		for _, k := range keys {
			if k.CanSign() && k.Algorithm() != auth.HS256 {
				continue // signing with a private key that is damaged may fail
			}
			_, err := k.MarshalPublic()
			require.NoError(t, err)
		}
	})
}

// FuzzToken shows any text as a token to an authority: the only ones that it
// takes are signed.
func FuzzToken(f *testing.F) {
	k := readForger(f)
	f.Add(k.eddsa(`{"alg":"EdDSA"}`, claims()))
	for _, h := range readHostile(f) {
		f.Add(h.Token)
	}
	a := corpusAuthority(f)
	f.Fuzz(func(t *testing.T, token string) {
		_, err := a.Token(token, "crew")
		if _, ok := auth.Expiry(token); !ok || err != nil {
			code := transport.CodeOf(err)
			require.Contains(t, []string{transport.CodeToken, transport.CodeExpired, transport.CodeAuth}, code, "%v", err)
			return
		}
		require.Equal(t, k.eddsa(`{"alg":"EdDSA"}`, claims()), token, "found a second signature")
	})
}

// BenchmarkToken verifies tokens, and in the same run their signatures alone.
func BenchmarkToken(b *testing.B) {
	k := readForger(b)
	a := corpusAuthority(b)
	public := k.ed.Public().(ed25519.PublicKey)
	for _, tt := range []struct {
		name, token string
		verify      func(signed, signature []byte) bool
	}{
		{"EdDSA", k.eddsa(`{"alg":"EdDSA"}`, claims()), func(b, s []byte) bool { return ed25519.Verify(public, b, s) }},
		{"HS256", k.hs256(k.secret, `{"alg":"HS256"}`, claims()), func(b, s []byte) bool {
			h := hmac.New(sha256.New, k.secret)
			h.Write(b)
			return hmac.Equal(h.Sum(nil), s)
		}},
		{"RS256", k.rs256(`{"alg":"RS256"}`, claims()), func(b, s []byte) bool {
			sum := sha256.Sum256(b)
			return rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, sum[:], s) == nil
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := a.Token(tt.token, "crew"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(tt.name+" signature alone", func(b *testing.B) {
			end := strings.LastIndexByte(tt.token, '.')
			signature, err := base64.RawURLEncoding.DecodeString(tt.token[end+1:])
			require.NoError(b, err)
			for b.Loop() {
				if !tt.verify([]byte(tt.token[:end]), signature) {
					b.Fatal("not verified")
				}
			}
		})
	}
}
