package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

// segment makes two network namespaces that a cable joins, without any route, and
// returns what runs a program in each.
func segment(t *testing.T) (in [2]func(args ...string) *exec.Cmd) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and the program ip (iproute2)")
	}
	ip := func(args ...string) {
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "ip %v: %s", args, out)
	}
	var names [2]string
	for i := range names {
		name := fmt.Sprintf("godwit%d-%d", os.Getpid(), i)
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: %s", out)
		}
		t.Cleanup(func() { ip("netns", "del", name) })
		names[i] = name
		in[i] = func(args ...string) *exec.Cmd {
			return exec.Command("ip", append([]string{"netns", "exec", name}, args...)...)
		}
	}
	ip("link", "add", "lan0", "netns", names[0], "type", "veth", "peer", "name", "lan0", "netns", names[1])
	for i, name := range names {
		ip("-n", name, "addr", "add", fmt.Sprintf("169.254.7.%d/16", i+1), "dev", "lan0")
		ip("-n", name, "link", "set", "lan0", "up", "multicast", "on")
		ip("-n", name, "link", "set", "lo", "up")
	}
	return in
}

// runs has a program run in the background until the test ends.
func runs(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p, err := startProcess(cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

// TestLAN has replicas find each other in a network that knows no addresses, also when
// one of them died and is elsewhere, and has strangers kept out.
func TestLAN(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  []string // to be used
	}{
		{"open", nil},
		{"with a key", []string{"--lan-key", "lan.key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := segment(t)
			dir := t.TempDir()
			if tt.key != nil {
				mustGodwit(t, "token", "--generate-key", filepath.Join(dir, "lan.key"), "--alg", "HS256")
			}
			connect := func(i int) *process {
				cmd := in[i](append([]string{"godwit", "--db", fmt.Sprintf("%d.db", i), "connect", "--lan", "crew"}, tt.key...)...)
				cmd.Dir = dir
				p := runs(t, cmd)
				_, err := p.await(regexp.MustCompile("^looking for crew"))
				require.NoError(t, err)
				return p
			}
			put := func(i int, key string) {
				mustGodwit(t, "--db", filepath.Join(dir, fmt.Sprintf("%d.db", i)), "put", key, `{"here":true}`)
			}
			arrives := func(p *process, id string) {
				_, err := p.await(regexp.MustCompile(id))
				require.NoError(t, err)
			}

			a, b := connect(0), connect(1)
			put(0, "notes/from-a")
			arrives(b, "from-a")
			put(1, "notes/from-b")
			arrives(a, "from-b")

			require.NoError(t, b.cmd.Process.Kill())
			<-b.done
			put(0, "notes/missed")
			arrives(connect(1), "missed")
		})
	}
}

// TestLANLetsIn: replicas on the same network, for this space, and no page that had its
// name lead here.
func TestLANLetsIn(t *testing.T) {
	for _, tt := range []struct{ name, from, host, space, code string }{
		{"a neighbour", "127.0.0.1:999", "127.0.0.1:80", "crew", ""},
		{"beyond a router", "203.0.113.9:999", "127.0.0.1:80", "crew", transport.CodeAuth},
		{"asks for a name", "127.0.0.1:999", "page.example:80", "crew", transport.CodeAuth},
		{"asks for localhost", "127.0.0.1:999", "localhost:80", "crew", transport.CodeAuth},
		{"another space", "127.0.0.1:999", "127.0.0.1:80", "other", transport.CodeSpace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Host = tt.from, tt.host
			grant, err := (&lan{space: "crew"}).authorize(r, tt.space)
			if tt.code == "" {
				require.NoError(t, err)
				require.Equal(t, transport.FullGrant(), grant)
				return
			}
			require.Equal(t, tt.code, transport.CodeOf(err))
			require.True(t, grant.Read.None() && grant.Write.None())
		})
	}
}

// TestLANHub has a hub be found, and carry on what it is given.
func TestLANHub(t *testing.T) {
	in := segment(t)
	dir := t.TempDir()
	hub := runs(t, in[0]("godwit", "serve", "--data", filepath.Join(dir, "hub"), "--listen", "127.0.0.1:0", "--lan", "crew"))
	url, err := hub.await(regexp.MustCompile(`^(http://\S+)`))
	require.NoError(t, err)

	a, b := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	mustGodwit(t, "--db", a, "put", "notes/over-the-hub", `{"here":true}`)
	runs(t, in[1]("godwit", "--db", a, "connect", "--lan", "crew"))
	behind := runs(t, in[0]("godwit", "--db", b, "connect", url[1]+"/spaces/crew"))
	_, err = behind.await(regexp.MustCompile("over-the-hub"))
	require.NoError(t, err)
}
