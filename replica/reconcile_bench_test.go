package replica_test

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

var reconcileRecords = flag.Int("reconcile.records", 20_000, "records of BenchmarkReconcile; its figures are for 1000000")

// BenchmarkReconcile: two replicas of many records differ in 100, half of them on each
// side, and one has lost its cursor. Frames are counted on the wire.
func BenchmarkReconcile(b *testing.B) {
	n := *reconcileRecords
	dir := b.TempDir()
	quick := &replica.Options{Synchronous: persist.Normal, Space: "bench"}
	for _, name := range []string{"a", "b"} {
		fillDirectly(b, filepath.Join(dir, name+".db"), n)
	}
	one, two := openAt(b, filepath.Join(dir, "a.db"), quick), openAt(b, filepath.Join(dir, "b.db"), quick)
	net := network(b)
	serve(b, net, "a", one)
	link := net.Link("b", "a")

	before := heap()
	start := time.Now()
	require.True(b, verify(b, two, link).Equal())
	cold := time.Since(start)
	grown := heap() - before
	count := &countLink{Link: link}
	var took time.Duration
	rounds := 0
	for b.Loop() {
		b.StopTimer()
		for i := range 50 {
			at := (rounds*50 + i) * 7919 % n
			for side, r := range map[int]*replica.Replica{at: one, (at + 1) % n: two} {
				require.NoError(b, r.Update(context.Background(), func(tx *replica.Tx) error {
					return tx.Put(crdt.Key{Collection: "notes", ID: benchID(side)}, map[string]any{"n": int64(rounds + 2)})
				}))
			}
		}
		rounds++
		doubt(b, two, one)
		require.Equal(b, 100, verify(b, two, link).Differing) // the trees are warm now
		count.reset()
		b.StartTimer()
		start := time.Now()
		moved := syncWith(b, two, count)
		took += time.Since(start)
		b.StopTimer()
		require.Zero(b, verify(b, two, link).Differing)
		require.GreaterOrEqual(b, moved.ChangesReceived+moved.ChangesSent, 100)
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took.Seconds()*1000/float64(rounds), "ms")
	b.ReportMetric(float64(count.requests), "round-trips")
	b.ReportMetric(float64(count.bytes)/1000, "KB")
	b.ReportMetric(cold.Seconds()*1000, "cold-ms")
	b.ReportMetric(float64(grown)/2/float64(n), "B/record")
}

func benchID(i int) string { return fmt.Sprintf("record-%013d", i) } // 20 bytes

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// fillDirectly writes records past the replica: the same in every file.
func fillDirectly(b *testing.B, path string, n int) {
	s, err := persist.Open(context.Background(), path, &persist.Options{Synchronous: persist.Normal})
	require.NoError(b, err)
	defer s.Close()
	h := crdt.NewHistory()
	e := h.Begin("sixteen bytes!!!", int64(1e12), nil)
	require.NoError(b, e.Put(nil, map[string]any{"title": "Tides", "n": int64(1)}, crdt.Merge))
	c, err := e.Commit("")
	require.NoError(b, err)
	json := []byte(`{"n":1,"title":"Tides"}`)
	for from := 0; from < n; from += 10_000 {
		require.NoError(b, s.Commit(context.Background(), func(tx *persist.Tx) error {
			for i := from; i < min(from+10_000, n); i++ {
				k := crdt.Key{Collection: "notes", ID: benchID(i)}
				rec := &persist.Record{RID: tx.NewRID(), Key: k, Heads: h.Heads(), Clock: h.Clock(), MaxOp: h.MaxOp(),
					JSON: json, PolicyVersion: 1, Created: c.Time(), Updated: c.Time(), LSN: tx.Head().LSN + 1}
				if err := tx.PutRecord(rec); err != nil {
					return err
				}
				row := &persist.LogRow{Set: crdt.SetIDOf([]crdt.Member{{Key: k, Change: c}}), RID: rec.RID, Key: k, Hash: c.Hash(), Data: c.Raw(), Time: c.Time()}
				if err := tx.Append(row); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// doubt has the replicas read each other's logs from their ends on, so that only
// reconciliation finds what differs, and the first one doubt that it knows it.
func doubt(b *testing.B, r, peer *replica.Replica) {
	heads := map[*replica.Replica]persist.Peer{}
	for _, x := range []*replica.Replica{r, peer} {
		s, err := persist.Open(context.Background(), x.Path(), nil)
		require.NoError(b, err)
		id, epoch := s.Identity()
		require.NoError(b, s.Read(context.Background(), func(rd *persist.Reader) error {
			heads[x] = persist.Peer{Replica: id, Epoch: epoch, Read: rd.Head(), State: replica.StateDisconnected}
			return nil
		}))
		require.NoError(b, s.Close())
	}
	for x, other := range map[*replica.Replica]*replica.Replica{r: peer, peer: r} {
		s, err := persist.Open(context.Background(), x.Path(), nil)
		require.NoError(b, err)
		p := heads[other]
		p.Doubt = x == r
		require.NoError(b, s.Commit(context.Background(), func(tx *persist.Tx) error { return tx.PutPeer(&p) }))
		require.NoError(b, s.Close())
	}
}

// countLink counts the bytes of the frames of reconciliation, and its requests.
type countLink struct {
	transport.Link
	codec    *transport.Codec
	requests int
	bytes    int
}

func (l *countLink) reset() { l.codec, l.requests, l.bytes = transport.NewCodec(), 0, 0 }

func (l *countLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return &countConn{Conn: c, l: l, in: &countLink{codec: l.codec}}, err
}

type countConn struct {
	transport.Conn
	l, in *countLink
}

func (l *countLink) frame(f transport.Frame) {
	switch f := f.(type) {
	case *transport.Digest:
		if !f.Answer {
			l.requests++
		}
	case *transport.Need:
		if !f.Answer {
			l.requests++
		}
	case *transport.Changes:
		if f.Loose == 0 {
			return
		}
	default:
		return
	}
	m, _ := l.codec.Encode(f)
	l.bytes += len(m)
}

func (c *countConn) Send(ctx context.Context, f transport.Frame) error {
	c.l.frame(f)
	return c.Conn.Send(ctx, f)
}

func (c *countConn) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := c.Conn.Recv(ctx)
	if err == nil {
		c.in.frame(f)
	}
	return f, err
}

func (c *countConn) Close() error {
	c.l.requests += c.in.requests
	c.l.bytes += c.in.bytes
	c.in.requests, c.in.bytes = 0, 0
	return c.Conn.Close()
}
