package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/auth"
)

var writeCorpus = flag.Bool("write-corpus", false, "write testdata/hostile.json again, from the cases of this test")

// now is when the tokens of this package's tests are looked at.
var now = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)

// hostile is a token of the corpus, and how it has to be refused for space crew.
type hostile struct {
	Name, Token string
	Code, Text  string // Text is a part of the message
}

// corpusAuthority trusts the keys in testdata: Ed25519 without a kid, and a set
// of RSA "rsa-1" and a secret "hmac-1".
func corpusAuthority(tb testing.TB) *auth.Authority {
	a, err := auth.Open(auth.Files{Keys: []string{"testdata/ed25519.pub.pem", "testdata/jwks.json"}},
		&auth.Options{Now: func() time.Time { return now }})
	require.NoError(tb, err)
	return a
}

// TestHostileTokens holds the verifier against the committed corpus.
func TestHostileTokens(t *testing.T) {
	if *writeCorpus {
		writeHostile(t)
	}
	a := corpusAuthority(t)
	for _, tt := range readHostile(t) {
		t.Run(tt.Name, func(t *testing.T) {
			g, err := a.Token(tt.Token, "crew")
			require.Error(t, err)
			require.Equal(t, transport.Grant{}, g)
			var told *transport.Error
			require.ErrorAs(t, err, &told)
			require.Equal(t, tt.Code, told.Code, told.Message)
			require.Contains(t, told.Message, tt.Text)
			require.Less(t, len(told.Message), 600, "what a peer is told stays short")
		})
	}
}

func readHostile(tb testing.TB) (corpus []hostile) {
	b, err := os.ReadFile("testdata/hostile.json")
	require.NoError(tb, err)
	require.NoError(tb, json.Unmarshal(b, &corpus))
	require.Greater(tb, len(corpus), 60)
	return corpus
}

// TestGoodTokens proves that the corpus is refused for what it does, not for how
// the test signs: the same keys and claims without the attack are taken.
func TestGoodTokens(t *testing.T) {
	k := readForger(t)
	a := corpusAuthority(t)
	for name, token := range map[string]string{
		"EdDSA":           k.eddsa(`{"alg":"EdDSA"}`, claims()),
		"EdDSA, any kid":  k.eddsa(`{"alg":"EdDSA","kid":"what"}`, claims()),
		"RS256":           k.rs256(`{"alg":"RS256","kid":"rsa-1"}`, claims()),
		"RS256, no kid":   k.rs256(`{"alg":"RS256"}`, claims()),
		"HS256":           k.hs256(k.secret, `{"typ":"JWT","alg":"HS256","kid":"hmac-1"}`, claims()),
		"within leeway":   k.eddsa(`{"alg":"EdDSA"}`, claims("exp", now.Unix()-29)),
		"soon valid":      k.eddsa(`{"alg":"EdDSA"}`, claims("nbf", now.Unix()+30)),
		"fraction":        k.eddsa(`{"alg":"EdDSA"}`, claims("exp", 1798761600.5)),
		"unknown claim":   k.eddsa(`{"alg":"EdDSA"}`, claims("email", "a@b")),
		"other case":      k.eddsa(`{"alg":"EdDSA"}`, claims("EXP", 1, "SUB", 5)),
		"audience unread": k.eddsa(`{"alg":"EdDSA"}`, claims("aud", []string{"x"})),
	} {
		t.Run(name, func(t *testing.T) {
			g, err := a.Token(token, "crew")
			require.NoError(t, err)
			require.Equal(t, "alice", g.Subject)
			require.True(t, g.Read.All)
			require.Equal(t, []transport.Selector{{Collection: "tasks"}}, g.Write.Only)
			require.False(t, g.Relay || g.Admin)
			require.False(t, g.Expires.IsZero())
		})
	}
}

// claims returns a payload for alice in crew, with members set or, with nil,
// taken out.
func claims(change ...any) string {
	m := map[string]any{
		"sub": "alice", "exp": now.Unix() + 3600,
		"godwit": []any{map[string]any{"spaces": []string{"crew"}, "read": []string{"*"}, "write": []string{"tasks"}}},
	}
	for i := 0; i < len(change); i += 2 {
		if m[change[i].(string)] = change[i+1]; change[i+1] == nil {
			delete(m, change[i].(string))
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// forger signs anything, without this module's code.
type forger struct {
	ed     ed25519.PrivateKey
	rsa    *rsa.PrivateKey
	secret []byte
}

func readForger(tb testing.TB) *forger {
	private := func(name string) any {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(tb, err)
		block, _ := pem.Decode(b)
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(tb, err)
		return k
	}
	return &forger{
		ed: private("ed25519.pem").(ed25519.PrivateKey), rsa: private("rsa.pem").(*rsa.PrivateKey),
		secret: []byte("a secret that is known to everyone who reads this test"),
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func compact(header, payload string, sign func(signed []byte) []byte) string {
	signed := encode([]byte(header)) + "." + encode([]byte(payload))
	return signed + "." + encode(sign([]byte(signed)))
}

func (k *forger) eddsa(header, payload string) string {
	return compact(header, payload, func(b []byte) []byte { return ed25519.Sign(k.ed, b) })
}

func (k *forger) rs256(header, payload string) string {
	return compact(header, payload, func(b []byte) []byte {
		sum := sha256.Sum256(b)
		s, err := rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return s
	})
}

func (k *forger) hs256(secret []byte, header, payload string) string {
	return compact(header, payload, func(b []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(b)
		return h.Sum(nil)
	})
}

func writeHostile(t *testing.T) {
	var all []hostile
	k := readForger(t)
	add := func(name, token, code, text string) { all = append(all, hostile{name, token, code, text}) }
	const ed = `{"alg":"EdDSA"}`
	forgedHeaders(k, add)
	for name, tt := range map[string]struct {
		payload    string
		code, text string
	}{
		"other space":         {claims("godwit", []any{map[string]any{"spaces": []string{"fleet", "crew2"}, "read": []string{"*"}}}), "auth", "no rights in space"},
		"expired":             {claims("exp", now.Unix()-31), "expired", "expired"},
		"expired long ago":    {claims("exp", 0), "expired", "expired"},
		"not yet valid":       {claims("nbf", now.Unix()+31), "token", "not valid yet"},
		"issued in future":    {claims("iat", now.Unix()+31), "token", "not valid yet"},
		"missing exp":         {claims("exp", nil), "token", `"exp"`},
		"exp in other case":   {claims("exp", nil, "EXP", now.Unix()+3600), "token", `"exp"`},
		"exp a string":        {claims("exp", "1799999999"), "token", `"exp"`},
		"exp null":            {strings.Replace(claims("exp", 7), `"exp":7`, `"exp":null`, 1), "token", `"exp"`},
		"exp 1e300":           {strings.Replace(claims("exp", 7), `"exp":7`, `"exp":1e300`, 1), "token", `"exp"`},
		"exp 1e400":           {strings.Replace(claims("exp", 7), `"exp":7`, `"exp":1e400`, 1), "token", `"exp"`},
		"exp negative":        {claims("exp", -1), "token", `"exp"`},
		"nbf a list":          {claims("nbf", []int{1}), "token", `"nbf"`},
		"missing sub":         {claims("sub", nil), "token", `"sub"`},
		"empty sub":           {claims("sub", ""), "token", `"sub"`},
		"sub a number":        {claims("sub", 7), "token", `"sub"`},
		"sub with line feed":  {claims("sub", "alice\nroot"), "token", "control character"},
		"long sub":            {claims("sub", strings.Repeat("a", 257)), "token", "257 bytes"},
		"duplicate sub":       {`{"sub":"mallory",` + claims()[1:], "token", `"sub" is there twice`},
		"duplicate exp":       {strings.TrimSuffix(claims(), "}") + `,"exp":9999999999}`, "token", `"exp" is there twice`},
		"duplicate, escaped":  {strings.TrimSuffix(claims(), "}") + `,"\u0065xp":9999999999}`, "token", `"exp" is there twice`},
		"duplicate in rule":   {claims("godwit", json.RawMessage(`[{"spaces":["x"],"spaces":["crew"],"read":["*"]}]`)), "token", "twice"},
		"nested bomb":         {claims("x", json.RawMessage(strings.Repeat("[", 2500)+strings.Repeat("]", 2500))), "token", "nested too deeply"},
		"nested objects":      {claims("x", json.RawMessage(strings.Repeat(`{"a":`, 17)+"1"+strings.Repeat("}", 17))), "token", "nested too deeply"},
		"payload not JSON":    {"alice", "token", "not JSON"},
		"payload cut":         {claims()[:40], "token", "not JSON"},
		"payload a list":      {"[" + claims() + "]", "token", "not a JSON object"},
		"payload null":        {"null", "token", "not a JSON object"},
		"payload empty":       {"", "token", "not JSON"},
		"payload twice":       {claims() + claims(), "token", "follows"},
		"not UTF-8":           {strings.Replace(claims(), "alice", "ali\xffce", 1), "token", "UTF-8"},
		"no rules":            {claims("godwit", nil), "token", "grants nothing"},
		"empty rules":         {claims("godwit", []any{}), "token", "grants nothing"},
		"rules an object":     {claims("godwit", map[string]any{"spaces": []string{"crew"}}), "token", "not a list"},
		"rule a string":       {claims("godwit", []string{"crew"}), "token", "not a JSON object"},
		"rule null":           {claims("godwit", []any{nil}), "token", "not a JSON object"},
		"rule in other case":  {claims("godwit", json.RawMessage(`[{"Spaces":["crew"]}]`)), "token", `"Spaces" is not known`},
		"rule with condition": {claims("godwit", json.RawMessage(`[{"spaces":["crew"],"read":["*"],"where":"mine"}]`)), "token", `"where" is not known`},
		"rule without spaces": {claims("godwit", json.RawMessage(`[{"read":["*"]}]`)), "token", "no spaces"},
		"space null":          {claims("godwit", json.RawMessage(`[{"spaces":[null]}]`)), "token", "not a list of strings"},
		"space a path":        {claims("godwit", json.RawMessage(`[{"spaces":["../crew"]}]`)), "token", "names no space"},
		"space a class":       {claims("godwit", json.RawMessage(`[{"spaces":["[a-z]*"]}]`)), "token", "names no space"},
		"selector empty":      {claims("godwit", json.RawMessage(`[{"spaces":["crew"],"read":[""]}]`)), "token", "no collection"},
		"selector of root":    {claims("godwit", json.RawMessage(`[{"spaces":["crew"],"write":["/abc"]}]`)), "token", "no collection"},
		"selector of three":   {claims("godwit", json.RawMessage(`[{"spaces":["crew"],"read":["a/b/c"]}]`)), "token", "slash"},
		"relay a string":      {claims("godwit", json.RawMessage(`[{"spaces":["crew"],"relay":"true"}]`)), "token", "true or false"},
		"many rules":          {claims("godwit", json.RawMessage("["+strings.Repeat(`{"spaces":["a"]},`, 64)+`{"spaces":["crew"]}]`)), "token", "65 rules"},
		"many selectors":      {claims("godwit", json.RawMessage(`[{"spaces":["crew"],"read":[`+strings.Repeat(`"a",`, 1024)+`"a"]}]`)), "token", "1024 selectors"},
	} {
		add(name, k.eddsa(ed, tt.payload), tt.code, tt.text)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	require.NoError(t, enc.Encode(sorted(all)))
	require.NoError(t, os.WriteFile("testdata/hostile.json", b.Bytes(), 0o644))
}

// forgedHeaders are attacks on the signature.
func forgedHeaders(k *forger, add func(name, token, code, text string)) {
	public, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		panic(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	unsigned := func(header string) string { return compact(header, claims(), func([]byte) []byte { return nil }) }
	good := k.eddsa(`{"alg":"EdDSA"}`, claims())
	parts := strings.Split(good, ".")
	own := ed25519.NewKeyFromSeed(make([]byte, 32))
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + encode(own.Public().(ed25519.PublicKey)) + `"}`

	add("alg none", unsigned(`{"alg":"none"}`), "token", `algorithm "none"`)
	add("alg None", unsigned(`{"alg":"None"}`), "token", `algorithm "None"`)
	add("alg none, signed", k.eddsa(`{"alg":"none"}`, claims()), "token", `algorithm "none"`)
	add("alg missing", k.eddsa(`{"typ":"JWT"}`, claims()), "token", `algorithm ""`)
	add("alg a number", k.eddsa(`{"alg":7}`, claims()), "token", `"alg" is not a string`)
	add("alg twice", k.eddsa(`{"alg":"none","alg":"EdDSA"}`, claims()), "token", `"alg" is there twice`)
	add("alg in lower case", k.eddsa(`{"alg":"eddsa"}`, claims()), "token", "no key")
	add("HS256 with the RSA key in PEM", k.hs256(publicPEM, `{"alg":"HS256"}`, claims()), "token", "signature is wrong")
	add("HS256 with the RSA key in PEM, its kid", k.hs256(publicPEM, `{"alg":"HS256","kid":"rsa-1"}`, claims()), "token", `"rsa-1", which is not known`)
	add("HS256 with the RSA key in DER", k.hs256(public, `{"alg":"HS256"}`, claims()), "token", "signature is wrong")
	add("HS256 with the Ed25519 key", k.hs256(k.ed.Public().(ed25519.PublicKey), `{"alg":"HS256"}`, claims()), "token", "signature is wrong")
	add("HS256 with an empty secret", k.hs256(nil, `{"alg":"HS256"}`, claims()), "token", "signature is wrong")
	add("RS256 signed with Ed25519", k.eddsa(`{"alg":"RS256"}`, claims()), "token", "signature is wrong")
	add("EdDSA signed with RSA", k.rs256(`{"alg":"EdDSA"}`, claims()), "token", "signature is wrong")
	add("RS512", k.rs256(`{"alg":"RS512"}`, claims()), "token", `algorithm "RS512"`)
	add("PS256", k.rs256(`{"alg":"PS256"}`, claims()), "token", `algorithm "PS256"`)
	add("ES256", k.rs256(`{"alg":"ES256"}`, claims()), "token", `algorithm "ES256"`)
	add("wrong kid", k.rs256(`{"alg":"RS256","kid":"rsa-2"}`, claims()), "token", `"rsa-2", which is not known`)
	add("kid of a path", k.hs256(nil, `{"alg":"HS256","kid":"../../dev/null"}`, claims()), "token", "which is not known")
	add("kid a number", k.rs256(`{"alg":"RS256","kid":1}`, claims()), "token", `"kid" is not a string`)
	add("own key in header", compact(`{"alg":"EdDSA","jwk":`+jwk+`}`, claims(), func(b []byte) []byte { return ed25519.Sign(own, b) }), "token", "signature is wrong")
	add("key behind a URL", compact(`{"alg":"EdDSA","jku":"http://127.0.0.1:1/jwks"}`, claims(), func(b []byte) []byte { return ed25519.Sign(own, b) }), "token", "signature is wrong")
	add("crit", k.eddsa(`{"alg":"EdDSA","crit":["b64"],"b64":false}`, claims()), "token", "must be understood")
	add("nested header", k.eddsa(`{"alg":"EdDSA","x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}`, claims()), "token", "nested too deeply")
	add("long header", k.eddsa(`{"alg":"EdDSA","x":"`+strings.Repeat("a", 1024)+`"}`, claims()), "token", "header is too long")
	add("encrypted", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aaaa.bbbb.cccc", "token", "not known")
	add("huge", good+strings.Repeat("A", 9000), "token", "at most 8192")
	add("empty", "", "token", "not known")
	add("two parts", parts[0]+"."+parts[1], "token", "not known")
	add("four parts", good+".", "token", "not known")
	add("only dots", "..", "token", "not JSON")
	add("no signature", parts[0]+"."+parts[1]+".", "token", "signature is wrong")
	add("signature cut", good[:len(good)-4], "token", "")
	add("signature of other claims", parts[0]+"."+strings.Split(k.eddsa(`{"alg":"EdDSA"}`, claims("sub", "root")), ".")[1]+"."+parts[2], "token", "signature is wrong")
	add("padded", good+"==", "token", "base64url")
	add("line feed", good[:len(good)-1]+"\n"+good[len(good)-1:], "token", "base64url")
	add("standard base64", parts[0]+"."+parts[1]+"."+strings.Repeat("+/", 43), "token", "base64url")
	add("loose last bits", looseBits(good), "token", "base64url")
	add("space in token", " "+good, "token", "base64url")
	add("NUL", "\x00.\x00.\x00", "token", "base64url")
}

// looseBits changes bits of the last character that decode to nothing.
func looseBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[i|1])
}

// sorted keeps the file's order from run to run.
func sorted(all []hostile) []hostile {
	slices.SortFunc(all, func(a, b hostile) int { return strings.Compare(a.Name, b.Name) })
	return all
}
