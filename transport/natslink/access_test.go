package natslink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/natslink"
)

// echo serves a space by sending back what comes.
func echo(t testing.TB, n *natslink.Node) {
	serve(t, n, &natslink.ServeOptions{Space: space, Accept: func(ctx context.Context, _ string, c transport.Conn, _ transport.Grant) error {
		for {
			f, err := c.Recv(ctx)
			if err != nil {
				return err
			}
			if err := c.Send(ctx, f); err != nil {
				return err
			}
		}
	}})
}

func requireEcho(t testing.TB, l transport.Link) {
	t.Helper()
	c := dial(t, l)
	require.NoError(t, c.Send(within(t), &transport.Ping{Nonce: 7}))
	f, err := c.Recv(within(t))
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 7}, f)
	require.NoError(t, c.Close())
}

func requireCode(t testing.TB, code string, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, transport.CodeOf(err), "%v", err)
}

// Two accounts of a server do not see each other.
func TestAccounts(t *testing.T) {
	one, two := server.NewAccount("one"), server.NewAccount("two")
	s := startServer(t, &server.Options{Accounts: []*server.Account{one, two}, Users: []*server.User{
		{Username: "a", Password: "pa", Account: one}, {Username: "b", Password: "pb", Account: two},
	}})
	host := s.Addr().String()
	echo(t, newNode(t, "nats://a:pa@"+host, nil))
	requireEcho(t, peerLink(t, newNode(t, "nats://a:pa@"+host, nil), space))
	other := newNode(t, "nats://b:pb@"+host, nil)
	require.Equal(t, "nats://"+host, other.String())
	_, err := peerLink(t, other, space).Dial(within(t))
	require.ErrorIs(t, err, natslink.ErrNobody)
	_, err = peerLink(t, newNode(t, "nats://a:wrong@"+host, nil), space).Dial(within(t))
	requireCode(t, transport.CodeAuth, err)
	require.NotContains(t, err.Error(), "wrong")
	requireCode(t, transport.CodeAuth, newNode(t, "nats://"+host, nil).Serve(within(t), &natslink.ServeOptions{Space: space}))
}

// Users with rights to a space of their own: every other one is denied, and the
// error says so.
func TestPermissions(t *testing.T) {
	may := func(subjects ...string) *server.Permissions {
		return &server.Permissions{Publish: &server.SubjectPermission{Allow: subjects}, Subscribe: &server.SubjectPermission{Allow: subjects}}
	}
	o := withJetStream(t)
	o.Users = []*server.User{
		{Username: "crew", Password: "p", Permissions: may("godwit.v1.crew.>")},
		{Username: "deaf", Password: "p", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}},
	}
	s := startServer(t, o)
	host := s.Addr().String()
	crew := newNode(t, "nats://crew:p@"+host, nil)
	echo(t, newNode(t, "nats://crew:p@"+host, nil))
	requireEcho(t, peerLink(t, crew, space))

	_, err := peerLink(t, crew, "other").Dial(within(t))
	requireCode(t, transport.CodeAuth, err)
	require.ErrorContains(t, err, "godwit.v1.other.")
	err = newNode(t, "nats://crew:p@"+host, nil).Serve(within(t), &natslink.ServeOptions{Space: "other"})
	requireCode(t, transport.CodeAuth, err)
	require.ErrorContains(t, err, "godwit.v1.other.")
	_, err = peerLink(t, newNode(t, "nats://deaf:p@"+host, nil), space).Dial(within(t))
	requireCode(t, transport.CodeAuth, err)
	require.ErrorContains(t, err, "Subscription")

	// JetStream is denied: no reason to give up, a fleet can do without.
	link, err := crew.Stream(space)
	require.NoError(t, err)
	_, err = link.Dial(within(t))
	requireCode(t, transport.CodeClosed, err)
	require.ErrorContains(t, err, "ermissions")
	var dial *transport.DialError
	require.ErrorAs(t, err, &dial)
	require.Positive(t, dial.RetryAfter)
}

func TestWithoutJetStream(t *testing.T) {
	s := startServer(t, &server.Options{})
	link, err := newNode(t, s.ClientURL(), nil).Stream(space)
	require.NoError(t, err)
	_, err = link.Dial(within(t))
	requireCode(t, transport.CodeClosed, err)
	require.ErrorContains(t, err, "jetstream not enabled")
}

func TestNKey(t *testing.T) {
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "seed")
	require.NoError(t, os.WriteFile(file, seed, 0o600))
	s := startServer(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
	key, err := nats.NkeyOptionFromSeed(file)
	require.NoError(t, err)
	with := &natslink.Options{NATS: []nats.Option{key}}
	echo(t, newNode(t, s.ClientURL(), with))
	requireEcho(t, peerLink(t, newNode(t, s.ClientURL(), with), space))
	_, err = peerLink(t, newNode(t, s.ClientURL(), nil), space).Dial(within(t))
	requireCode(t, transport.CodeAuth, err)
}

// A credentials file, of a user in an account that an operator signed.
func TestCreds(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	require.NoError(t, err)
	account, err := nkeys.CreateAccount()
	require.NoError(t, err)
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public := func(k nkeys.KeyPair) string {
		s, err := k.PublicKey()
		require.NoError(t, err)
		return s
	}
	accountJWT, err := jwt.NewAccountClaims(public(account)).Encode(operator)
	require.NoError(t, err)
	userJWT, err := jwt.NewUserClaims(public(user)).Encode(account)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "user.creds")
	require.NoError(t, os.WriteFile(file, creds, 0o600))
	resolver := &server.MemAccResolver{}
	require.NoError(t, resolver.Store(public(account), accountJWT))
	claims := jwt.NewOperatorClaims(public(operator))
	s := startServer(t, &server.Options{TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver})
	with := &natslink.Options{NATS: []nats.Option{nats.UserCredentials(file)}}
	echo(t, newNode(t, s.ClientURL(), with))
	requireEcho(t, peerLink(t, newNode(t, s.ClientURL(), with), space))
	_, err = peerLink(t, newNode(t, s.ClientURL(), nil), space).Dial(within(t))
	requireCode(t, transport.CodeAuth, err)
}

func TestTLS(t *testing.T) {
	cert, roots := certificate(t)
	s := startServer(t, &server.Options{TLS: true, TLSTimeout: 5, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	url := "tls://" + s.Addr().String()
	with := &natslink.Options{NATS: []nats.Option{nats.RootCAs(roots)}}
	echo(t, newNode(t, url, with))
	requireEcho(t, peerLink(t, newNode(t, url, with), space))
	_, err := peerLink(t, newNode(t, url, nil), space).Dial(within(t))
	requireCode(t, transport.CodeClosed, err)
	require.ErrorContains(t, err, "certificate")
}

// certificate returns one for 127.0.0.1 that signs itself, and the file that says so.
func certificate(t testing.TB) (cert tls.Certificate, file string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
