package replica_test

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

// BenchmarkCompact compacts a record of 10,000 changes, and the automerge-paper
// trace of 259,778 (../crdt/testdata): what it takes, what it saves, and what
// reading the history and a cold sync take before and after.
func BenchmarkCompact(b *testing.B) {
	for _, bb := range []struct {
		name string
		fill func(r *replica.Replica)
	}{
		{"10000", func(r *replica.Replica) { edits(b, r, rand.New(rand.NewPCG(1, 1)), "1", 10_000) }},
		{"trace", func(r *replica.Replica) {
			doc, err := os.ReadFile("../crdt/testdata/automerge-paper.automerge")
			require.NoError(b, err)
			_, err = r.Import(context.Background(), key("1"), doc)
			require.NoError(b, err)
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				r := open(b, nil)
				bb.fill(r)
				measure(b, r, "raw")
				begin := time.Now()
				c, err := r.Compact(context.Background(), &replica.CompactOptions{Vacuum: true}, nil)
				require.NoError(b, err)
				require.Equal(b, 1, c.Compacted)
				b.ReportMetric(time.Since(begin).Seconds()*1e3, "compact-ms")
				b.ReportMetric(float64(c.Bytes), "raw-B")
				b.ReportMetric(float64(c.Snapshots), "snapshot-B")
				measure(b, r, "compact")
			}
		})
	}
}

// measure reports the file's size and what reading takes.
func measure(b *testing.B, r *replica.Replica, what string) {
	b.Helper()
	_, err := r.Compact(context.Background(), &replica.CompactOptions{MinBytes: 1 << 40, Vacuum: true}, nil)
	require.NoError(b, err)
	info, err := os.Stat(r.Path())
	require.NoError(b, err)
	b.ReportMetric(float64(info.Size()), what+"-file-B")
	begin := time.Now()
	_, err = r.History(context.Background(), key("1"))
	require.NoError(b, err)
	b.ReportMetric(time.Since(begin).Seconds()*1e3, what+"-load-ms")
	net := network(b)
	serve(b, net, "warm", r)
	cold := open(b, nil)
	begin = time.Now()
	syncWith(b, cold, net.Link("cold", "warm"))
	b.ReportMetric(time.Since(begin).Seconds()*1e3, what+"-sync-ms")
}
