package replica_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

// What reconciliation brings comes out of snapshots as well, and goes onto them.
func TestReconciliationOfCompactedRecords(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, of := range map[string]func(p *pair) (lost, compacted *side){
		"the dialler lost, the other compacted":  func(p *pair) (_, _ *side) { return p.b, p.a },
		"the listener lost, the other compacted": func(p *pair) (_, _ *side) { return p.a, p.b },
		"the dialler lost, and had compacted":    func(p *pair) (_, _ *side) { return p.b, p.b },
		"the listener lost, and had compacted":   func(p *pair) (_, _ *side) { return p.a, p.a },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := newPair(t)
			lost, compacted := of(p)
			both := func(n int) {
				edits(t, p.a.r, rnd, "long", n)
				edits(t, p.b.r, rnd, "long", n)
				p.sync(t)
			}
			both(50)
			if lost == compacted {
				require.Equal(t, 1, compact(t, lost.r, &replica.CompactOptions{Key: key("long")}).Compacted)
			}
			p.save(t, lost)
			both(50)
			if lost != compacted {
				require.Equal(t, 1, compact(t, compacted.r, &replica.CompactOptions{Key: key("long")}).Compacted)
			}
			p.restore(t, lost)
			edits(t, lost.r, rnd, "long", 3)
			require.NotEmpty(t, bruteForce(t, p.a.r, p.b.r))
			p.sync(t)
			require.Empty(t, bruteForce(t, p.a.r, p.b.r))
			requireEqual(t, p.a.r, p.b.r)
			require.True(t, verify(t, p.b.r, p.link).Equal())
			n, err := p.b.r.Sync(context.Background(), p.link)
			require.NoError(t, err)
			require.Zero(t, n.ChangesSent+n.ChangesReceived, "it is made good once")
		})
	}
}
