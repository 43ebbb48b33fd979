package replica_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// listen serves the replica over a loopback WebSocket.
func listen(t testing.TB, r *replica.Replica) transport.Link {
	handler := httplink.Handler(&httplink.ServerOptions{
		Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			return r.Accept(ctx, c, g)
		},
	})
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		require.NoError(t, handler.Close(context.Background()))
		server.Close()
	})
	link, err := httplink.New(server.URL+"/spaces/bench", nil)
	require.NoError(t, err)
	return link
}

// BenchmarkColdSync: 10,000 records of 5 fields with 3 updates each, under
// keys of 20 bytes, into an empty replica, durably.
func BenchmarkColdSync(b *testing.B) {
	const records = 10_000
	hub := open(b, &replica.Options{Synchronous: persist.Normal, Space: "bench"})
	fillIDs(b, hub, records, wideID)
	for u := range 3 {
		for i := 0; i < records; i += 1000 {
			require.NoError(b, hub.Update(context.Background(), func(tx *replica.Tx) error {
				for j := i; j < i+1000; j++ {
					if err := tx.Put(key(wideID(j)), map[string]any{"count": int64(u*records + j)}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	raw := 0
	for i := range 100 {
		chunks, err := hub.Export(context.Background(), key(wideID(i)))
		require.NoError(b, err)
		raw += len(chunks)
	}
	link := listen(b, hub)
	var n replica.Counts
	var took time.Duration
	rounds := 0
	for b.Loop() {
		b.StopTimer()
		r := open(b, nil)
		b.StartTimer()
		start := time.Now()
		n = syncWith(b, r, link)
		took += time.Since(start)
		rounds++
		require.Equal(b, 4*records, n.ChangesReceived)
	}
	b.ReportMetric(float64(raw)/100, "raw-B/record")
	b.ReportMetric(float64(rounds*records)/took.Seconds(), "records/s")
	b.ReportMetric(float64(n.BytesSent+n.BytesReceived)/records, "wire-B/record")
}

// BenchmarkLive: from an update on A to the watcher's event on B through a hub,
// FULL on all three, against three raw commits and two WebSocket hops.
func BenchmarkLive(b *testing.B) {
	hub, from, to := open(b, nil), open(b, nil), open(b, nil)
	link := listen(b, hub)
	for _, r := range []*replica.Replica{from, to} {
		fill(b, r, 10)
		c, err := r.Connect(link)
		require.NoError(b, err)
		b.Cleanup(func() { c.Close() })
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	arrived := make(chan string, 1)
	go func() {
		for ev, err := range to.Watch(ctx, "live") {
			if err != nil {
				b.Error(err)
			}
			arrived <- ev.Key.ID
		}
	}()
	update := func(i int) time.Duration {
		start := time.Now()
		id := strconv.Itoa(i % 10)
		require.NoError(b, from.Update(ctx, func(tx *replica.Tx) error {
			k := key(id)
			k.Collection = "live"
			return tx.Put(k, map[string]any{"n": int64(i)})
		}))
		require.Equal(b, id, <-arrived)
		return time.Since(start)
	}
	update(0)
	raw, hop := openRaw(b, "FULL"), echo(b)
	var live, limit []time.Duration
	for i := 1; b.Loop(); i++ {
		live = append(live, update(i))
		start := time.Now()
		for range 3 {
			require.NoError(b, raw.commit())
		}
		hop()
		limit = append(limit, time.Since(start))
	}
	p := func(d []time.Duration, q float64) float64 {
		slices.Sort(d)
		return float64(d[int(float64(len(d)-1)*q)].Nanoseconds()) / 1e3
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p(live, 0.5), "p50-us")
	b.ReportMetric(p(live, 0.99), "p99-us")
	b.ReportMetric(p(limit, 0.5), "limit-p50-us")
	b.ReportMetric(p(live, 0.5)/p(limit, 0.5), "times-limit")
}

// echo returns a function that sends a message over a bare WebSocket and waits
// for its return: two hops.
func echo(b *testing.B) func() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := websocket.Accept(w, req, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, data) != nil {
				return
			}
		}
	}))
	b.Cleanup(server.Close)
	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	require.NoError(b, err)
	b.Cleanup(func() { c.CloseNow() })
	data := []byte(fmt.Sprintf("%0150d", 1))
	return func() {
		require.NoError(b, c.Write(context.Background(), websocket.MessageBinary, data))
		_, _, err := c.Read(context.Background())
		require.NoError(b, err)
	}
}
