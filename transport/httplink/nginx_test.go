package httplink_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport/httplink"
)

// nginxConf is a whole configuration: where to listen, the hub's address, and
// what else stands in the location.
const nginxConf = `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen %s;
		location / {
			proxy_pass http://%s;
			%s
		}
	}
}
`

// behindNginx runs nginx before a hub until the test ends, and returns the URL of
// the space "crew" through it.
func behindNginx(t *testing.T, h *hub, location string) string {
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("no nginx on PATH")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	target, err := url.Parse(h.url)
	require.NoError(t, err)
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConf, addr, target.Host, location)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // another could not write here
	}
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))

	var said strings.Builder
	cmd := exec.Command(program, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for start := time.Now(); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			require.NoError(t, c.Close())
			return "http://" + addr + "/spaces/crew"
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("nginx ended: %v", err)
		case <-time.After(10 * time.Millisecond):
			require.Less(t, time.Since(start), 30*time.Second)
		}
	}
}

// What Debian's nginx does with a connection under common configurations.
func TestNginx(t *testing.T) {
	const upgrade = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
	for name, tt := range map[string]struct {
		location string
		want     httplink.Rung
	}{
		"websocket allowed":     {upgrade, httplink.RungWebSocket},
		"as installed":          {"", httplink.RungEvents},
		"HTTP/1.1":              {"proxy_http_version 1.1; proxy_set_header Connection '';", httplink.RungEvents},
		"upgrade refused":       {upgrade + "if ($http_upgrade) { return 403; }", httplink.RungEvents},
		"buffers in spite":      {"proxy_ignore_headers X-Accel-Buffering;", httplink.RungPoll},
		"buffers, and cuts off": {"proxy_ignore_headers X-Accel-Buffering; proxy_read_timeout 1s;", httplink.RungPoll},
		"only short POSTs":      {"limit_except POST { deny all; } client_max_body_size 64k; proxy_read_timeout 2s;", httplink.RungPost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := listen(t, httplink.ServerOptions{})
			link := newLink(t, behindNginx(t, h, tt.location), &httplink.Options{Probe: 2 * time.Second})
			c := dialLink(t, link)
			require.Equal(t, tt.want, httplink.RungOf(c))
			s := <-h.sessions
			converse(t, c, s.conn, 15, 300_000)
			require.Equal(t, tt.want, httplink.RungOf(c))
			require.NoError(t, c.Close())
			http.DefaultClient.CloseIdleConnections()
		})
	}
}
