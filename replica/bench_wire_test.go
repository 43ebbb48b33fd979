package replica_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

var large = flag.Bool("large", false, "run the benchmarks that take a minute and more")

// wideID is the i-th id of 20 bytes; there is no order in them.
func wideID(i int) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(i)))
	return hex.EncodeToString(sum[:10])
}

// metered counts the bytes of all connections that it accepts, as the kernel gets
// them: WebSocket's framing and masks included.
type metered struct {
	net.Listener
	bytes *atomic.Int64
}

func (l metered) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return meteredConn{c, l.bytes}, err
}

type meteredConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

func (c meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// listenMetered serves the replica over a loopback WebSocket and counts its bytes in
// both directions.
func listenMetered(b testing.TB, r *replica.Replica) (transport.Link, *atomic.Int64) {
	handler := httplink.Handler(&httplink.ServerOptions{
		Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			return r.Accept(ctx, c, g)
		},
	})
	bytes := new(atomic.Int64)
	server := httptest.NewUnstartedServer(handler)
	server.Listener = metered{server.Listener, bytes}
	server.Start()
	b.Cleanup(func() {
		require.NoError(b, handler.Close(context.Background()))
		server.Close()
	})
	link, err := httplink.New(server.URL+"/spaces/bench", nil)
	require.NoError(b, err)
	return link, bytes
}

// edit puts a new count into n of the records from the given one on, in one change set.
func edit(b testing.TB, r *replica.Replica, from, n int) {
	require.NoError(b, r.Update(context.Background(), func(tx *replica.Tx) error {
		for i := from; i < from+n; i++ {
			if err := tx.Put(key(wideID(i)), map[string]any{"count": benchCount.Add(1)}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// settled waits until nothing has moved for a while, and returns how much had.
func settled(bytes *atomic.Int64) int64 {
	for {
		before := bytes.Load()
		time.Sleep(300 * time.Millisecond)
		if bytes.Load() == before {
			return before
		}
	}
}

// BenchmarkWireLive: single-field updates of existing records, 100 a second, over one
// link: bytes an update on the socket, acknowledgements and all. The first update of a
// record in a session names it; that is shown too.
func BenchmarkWireLive(b *testing.B) {
	const records = 100
	hub, r := open(b, nil), open(b, nil)
	fillIDs(b, hub, records, wideID)
	link, bytes := listenMetered(b, hub)
	syncWith(b, r, link)
	c, err := r.Connect(link)
	require.NoError(b, err)
	b.Cleanup(func() { c.Close() })
	before := settled(bytes)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range records {
		<-tick.C
		edit(b, r, i, 1)
	}
	first := settled(bytes)
	n := 0
	for b.Loop() {
		<-tick.C
		edit(b, r, n*7%records, 1)
		n++
	}
	b.ReportMetric(float64(first-before)/records, "first-B/update")
	b.ReportMetric(float64(settled(bytes)-first)/float64(n), "B/update")
}

// BenchmarkWireBatch: the same, 1,000 records a change set.
func BenchmarkWireBatch(b *testing.B) {
	const records = 1000
	hub, r := open(b, nil), open(b, nil)
	fillIDs(b, hub, records, wideID)
	link, bytes := listenMetered(b, hub)
	syncWith(b, r, link)
	c, err := r.Connect(link)
	require.NoError(b, err)
	b.Cleanup(func() { c.Close() })
	before := settled(bytes)
	edit(b, r, 0, records)
	first := settled(bytes)
	n := 0
	for b.Loop() {
		edit(b, r, 0, records)
		n++
	}
	b.ReportMetric(float64(first-before)/records, "first-B/update")
	b.ReportMetric(float64(settled(bytes)-first)/float64(n*records), "B/update")
}

// BenchmarkHealing: 2,000 shared records; both sides edit 1,000 of them while apart,
// 500 of these the same.
func BenchmarkHealing(b *testing.B) {
	const records = 2000
	hub, r := open(b, nil), open(b, nil)
	fillIDs(b, hub, records, wideID)
	link, bytes := listenMetered(b, hub)
	syncWith(b, r, link)
	var moved int64
	var took time.Duration
	n := 0
	for b.Loop() {
		b.StopTimer()
		edit(b, hub, 0, 1000)
		edit(b, r, 500, 1000)
		before := bytes.Load()
		b.StartTimer()
		start := time.Now()
		syncWith(b, r, link)
		took += time.Since(start)
		moved += bytes.Load() - before
		n++
	}
	b.StopTimer()
	requireEqual(b, hub, r)
	b.ReportMetric(float64(moved)/float64(n)/1000, "kB")
	b.ReportMetric(took.Seconds()/float64(n), "s")
}

// BenchmarkColdSyncLarge: 100,000 records of the shape of BenchmarkColdSync, and what
// memory the receiver takes, which is a process of its own.
func BenchmarkColdSyncLarge(b *testing.B) {
	if url := os.Getenv("GODWIT_COLD_SYNC"); url != "" {
		coldSyncInto(b, url)
		return
	}
	if !*large {
		b.Skip("only with -large")
	}
	const records = 100_000
	hub := open(b, &replica.Options{Synchronous: persist.Normal, Space: "bench"})
	fillIDs(b, hub, records, wideID)
	for range 3 {
		for i := 0; i < records; i += 1000 {
			edit(b, hub, i, 1000)
		}
	}
	link, bytes := listenMetered(b, hub)
	for b.Loop() {
		before := bytes.Load()
		out := runSelf(b, "BenchmarkColdSyncLarge", "GODWIT_COLD_SYNC="+link.String())
		var took, resident float64
		i := strings.Index(out, "cold sync took ")
		require.GreaterOrEqual(b, i, 0, out)
		_, err := fmt.Sscanf(out[i:], "cold sync took %f s, %f MB", &took, &resident)
		require.NoError(b, err)
		b.ReportMetric(records/took, "records/s")
		b.ReportMetric(resident, "receiver-MB")
		b.ReportMetric(float64(bytes.Load()-before)/records, "wire-B/record")
	}
}

// coldSyncInto is what the other process of BenchmarkColdSyncLarge does.
func coldSyncInto(b *testing.B, url string) {
	link, err := httplink.New(url, nil)
	require.NoError(b, err)
	r := open(b, nil)
	start := time.Now()
	n := syncWith(b, r, link)
	require.Equal(b, 400_000, n.ChangesReceived)
	fmt.Printf("cold sync took %f s, %f MB\n", time.Since(start).Seconds(), peakResident(b))
}

// peakResident returns the most memory that this process has had, in MB.
func peakResident(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	i := strings.Index(string(status), "VmHWM:")
	require.GreaterOrEqual(b, i, 0)
	var kb float64
	_, err = fmt.Sscanf(string(status[i:]), "VmHWM: %f kB", &kb)
	require.NoError(b, err)
	return kb / 1000
}

// runSelf runs one benchmark of this binary in a process of its own.
func runSelf(b *testing.B, name string, env ...string) string {
	cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^"+name+"$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", out)
	return string(out)
}
