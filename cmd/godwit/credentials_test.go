package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdForge writes a token that no issuer has signed, for everything in space
// crew: unsigned, or with the content of a file as an HMAC secret.
func cmdForge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: forge TOKEN none|hs256 [FILE]")
	}
	payload := fmt.Sprintf(`{"sub":"mallory","exp":%d,"godwit":[{"spaces":["crew"],"read":["*"],"write":["*"],"relay":true,"admin":true}]}`,
		time.Now().Add(time.Hour).Unix())
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(payload)) + "."
	if args[1] == "hs256" {
		token = encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(payload))
		h := hmac.New(sha256.New, []byte(ts.ReadFile(args[2])))
		h.Write([]byte(token))
		token += "." + encode(h.Sum(nil))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token), 0o600))
}

// cmdCertificate writes NAME.pem and NAME.key, signed by CA.pem and CA.key; one
// without CA is an authority.
func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: certificate NAME [CA]")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: args[0]},
		DNSNames: []string{args[0] + ".example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := template, key
	if len(args) == 1 {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		block, _ := pem.Decode([]byte(ts.ReadFile(args[1] + ".pem")))
		parent, err = x509.ParseCertificate(block.Bytes)
		ts.Check(err)
		block, _ = pem.Decode([]byte(ts.ReadFile(args[1] + ".key")))
		signer, err = x509.ParseECPrivateKey(block.Bytes)
		ts.Check(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	ts.Check(err)
	secret, err := x509.MarshalECPrivateKey(key)
	ts.Check(err)
	for name, block := range map[string]*pem.Block{
		".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+name), pem.EncodeToMemory(block), 0o600))
	}
}
