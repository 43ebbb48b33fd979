package memlink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
	"github.com/godwitdb/godwit/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect returns both ends of a connection from "phone" to "hub".
func connect(tb testing.TB, n *memlink.Network) (dialled, accepted transport.Conn) {
	conns := make(chan transport.Conn, 8)
	l, err := n.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		conns <- c
		<-ctx.Done()
		return nil
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, l.Close()) })
	dialled, err = n.Link("phone", "hub").Dial(context.Background())
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = dialled.Close() })
	return dialled, <-conns
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(tb testing.TB) (a, b transport.Conn) {
		n := memlink.New(1)
		tb.Cleanup(func() { require.NoError(tb, n.Close()) })
		return connect(tb, n)
	})
}

// arrivals sends frames under faults and returns what arrived, and when.
func arrivals(t *testing.T, seed uint64, f memlink.Faults) (nonces []uint64, took []time.Duration) {
	n := memlink.New(seed)
	defer n.Close()
	n.SetFaults(f)
	a, b := connect(t, n)
	start := time.Now()
	go func() {
		defer a.Close()
		for i := range 200 {
			if a.Send(context.Background(), &transport.Ping{Nonce: uint64(i)}) != nil {
				return
			}
		}
	}()
	for {
		got, err := b.Recv(context.Background())
		if errors.Is(err, transport.ErrClosed) {
			return nonces, took
		}
		require.NoError(t, err)
		nonces = append(nonces, got.(*transport.Ping).Nonce)
		took = append(took, time.Since(start))
	}
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		faults memlink.Faults
		check  func(t *testing.T, distinct, total, overtaken int, last time.Duration)
	}{
		"none": {memlink.Faults{}, func(t *testing.T, distinct, total, overtaken int, last time.Duration) {
			require.Equal(t, []int{200, 200, 0, 0}, []int{distinct, total, overtaken, int(last)})
		}},
		"drop": {memlink.Faults{Drop: 0.5}, func(t *testing.T, distinct, total, overtaken int, last time.Duration) {
			require.InDelta(t, 100, distinct, 40)
			require.Equal(t, distinct, total)
			require.Zero(t, overtaken)
		}},
		"duplicate": {memlink.Faults{Duplicate: 0.5}, func(t *testing.T, distinct, total, overtaken int, last time.Duration) {
			require.Equal(t, 200, distinct)
			require.InDelta(t, 300, total, 40)
		}},
		"reorder": {memlink.Faults{Reorder: 0.5}, func(t *testing.T, distinct, total, overtaken int, last time.Duration) {
			require.Equal(t, 200, distinct)
			require.Equal(t, 200, total)
			require.Greater(t, overtaken, 20)
		}},
		"delay": {memlink.Faults{Delay: time.Second}, func(t *testing.T, distinct, total, overtaken int, last time.Duration) {
			require.Equal(t, []int{200, 200, 0}, []int{distinct, total, overtaken})
			require.Greater(t, last, time.Second) // in order, and each delayed: the queue moves in steps
			require.Less(t, last, 10*time.Second)
		}},
		"all": {memlink.Faults{Drop: 0.2, Duplicate: 0.2, Reorder: 0.2, Delay: time.Second}, func(t *testing.T, distinct, total, overtaken int, last time.Duration) {
			require.InDelta(t, 160, distinct, 30)
			require.Greater(t, total, distinct)
			require.NotZero(t, overtaken)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nonces, took := arrivals(t, 42, tt.faults)
				seen := map[uint64]bool{}
				highest, overtaken := uint64(0), 0
				for _, n := range nonces {
					if n < highest && !seen[n] {
						overtaken++
					}
					highest = max(highest, n)
					seen[n] = true
				}
				tt.check(t, len(seen), len(nonces), overtaken, took[len(took)-1])
				again, sameTook := arrivals(t, 42, tt.faults)
				require.Equal(t, nonces, again, "the same seed gives the same faults")
				require.Equal(t, took, sameTook)
			})
		})
	}
}

func TestSeedsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _ := arrivals(t, 1, memlink.Faults{Drop: 0.5})
		two, _ := arrivals(t, 2, memlink.Faults{Drop: 0.5})
		require.NotEqual(t, one, two)
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memlink.New(1)
		defer n.Close()
		a, b := connect(t, n)
		ctx := context.Background()

		n.Partition("hub", "phone")
		require.NoError(t, a.Send(ctx, &transport.Ping{Nonce: 1}), "nobody notices")
		_, err := n.Link("phone", "hub").Dial(ctx)
		var refused *transport.DialError
		require.ErrorAs(t, err, &refused)
		short, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		_, err = b.Recv(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		n.Heal("phone", "hub")
		require.NoError(t, a.Send(ctx, &transport.Ping{Nonce: 2}))
		got, err := b.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: 2}, got)

		n.Partition("phone", "hub")
		n.Partition("phone", "elsewhere")
		n.HealAll()
		c, err := n.Link("elsewhere", "hub").Dial(ctx)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
}

func TestCut(t *testing.T) {
	for name, cut := range map[string]func(n *memlink.Network){
		"pair":    func(n *memlink.Network) { n.Cut("hub", "phone") },
		"node":    func(n *memlink.Network) { n.CutNode("phone") },
		"network": func(n *memlink.Network) { require.NoError(t, n.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			n := memlink.New(1)
			defer n.Close()
			a, b := connect(t, n)
			ctx := context.Background()
			require.NoError(t, a.Send(ctx, &transport.Ping{}))
			cut(n)
			_, err := b.Recv(ctx)
			require.ErrorIs(t, err, transport.ErrClosed, "what was under way is lost")
			require.ErrorIs(t, a.Send(ctx, &transport.Ping{}), transport.ErrClosed)
		})
	}
}

func TestDialRefused(t *testing.T) {
	n := memlink.New(1)
	link := n.Link("phone", "hub")
	require.Equal(t, "mem:phone->hub", link.String())
	_, err := link.Dial(context.Background())
	require.EqualError(t, err, "dial mem:phone->hub: closed: nobody listens")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = link.Dial(ended)
	require.ErrorIs(t, err, context.Canceled)

	l, err := n.Listen("hub", func(context.Context, transport.Conn) error { return nil })
	require.NoError(t, err)
	_, err = n.Listen("hub", nil)
	require.ErrorContains(t, err, "taken")
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = link.Dial(context.Background())
	require.ErrorContains(t, err, "nobody listens")
	require.NoError(t, n.Close())
	_, err = n.Listen("hub", nil)
	require.ErrorIs(t, err, transport.ErrClosed)
	_, err = link.Dial(context.Background())
	require.ErrorIs(t, err, transport.ErrClosed)
}
