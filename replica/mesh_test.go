package replica_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

var (
	meshRuns = flag.Int("mesh.runs", 6, "random meshes")
	meshSeed = flag.Uint64("mesh.seed", 1, "of the first of them")
)

// crossing is a change on its way over a link.
type crossing struct {
	from, to int
	id       string
	hash     crdt.Hash
}

// crossings counts what crosses the links of a mesh. It is safe for concurrent use.
type crossings struct {
	mu    sync.Mutex // guards what follows
	count map[crossing]int
	total int
}

func (c *crossings) take(from, to int, f transport.Frame) {
	changes, ok := f.(*transport.Changes)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range changes.Sets {
		for _, m := range s.Members {
			c.count[crossing{from, to, m.ID, sha256.Sum256(m.Data)}]++
			c.total++
		}
	}
}

// countedLink counts on both directions of its connections, on which no frame is
// packed.
type countedLink struct {
	transport.Link
	from, to int
	counts   *crossings
}

func (l *countedLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l}, nil
}

type countedConn struct {
	transport.Conn
	link *countedLink
}

func (c *countedConn) Send(ctx context.Context, f transport.Frame) error {
	c.link.counts.take(c.link.from, c.link.to, f)
	return c.Conn.Send(ctx, plain(f))
}

func (c *countedConn) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := c.Conn.Recv(ctx)
	if err == nil {
		c.link.counts.take(c.link.to, c.link.from, f)
		f = plain(f)
	}
	return f, err
}

// plain takes out of a hello that its sender knows packed frames.
func plain(f transport.Frame) transport.Frame {
	h, ok := f.(*transport.Hello)
	if !ok {
		return f
	}
	without := *h
	without.Knows = slices.DeleteFunc(slices.Clone(h.Knows), func(s string) bool { return s == transport.KnowsPack })
	return &without
}

// edges returns those of a random connected graph, most with cycles.
func edges(rnd *rand.Rand, n int) (all [][2]int) {
	for i := 1; i < n; i++ {
		all = append(all, [2]int{rnd.IntN(i), i})
	}
	for range rnd.IntN(2 * n) {
		e := [2]int{rnd.IntN(n), rnd.IntN(n)}
		if e[0] < e[1] && !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	for i := range all {
		if rnd.IntN(2) == 0 { // who dials
			all[i][0], all[i][1] = all[i][1], all[i][0]
		}
	}
	return all
}

// TestMeshWithoutEcho has replicas in random graphs converge, while each change
// crosses each link at most once in each direction, however many ways there are.
func TestMeshWithoutEcho(t *testing.T) {
	for seed := *meshSeed; seed < *meshSeed+uint64(*meshRuns); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runMesh(t, seed) })
		})
	}
}

func runMesh(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	n := 2 + rnd.IntN(7)
	links := edges(rnd, n)
	t.Logf("seed %d (-mesh.seed %d -mesh.runs 1): %d replicas, links %v", seed, seed, n, links)
	net, all, _ := mesh(t, n)
	counts := &crossings{count: map[crossing]int{}}
	for _, e := range links {
		link := net.Link(fmt.Sprint(e[0]), fmt.Sprint(e[1]))
		_, err := all[e[0]].Connect(&countedLink{link, e[0], e[1], counts})
		require.NoError(t, err)
	}
	time.Sleep(time.Second)

	const writes = 30
	for i := range writes {
		put(t, all[rnd.IntN(n)], fmt.Sprint("r", rnd.IntN(4)), fmt.Sprintf(`{"v":%d}`, i))
		if rnd.IntN(3) == 0 { // others are concurrent
			time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	for i := range 4 {
		k := key(fmt.Sprint("r", i))
		want, err := all[0].Heads(t.Context(), k)
		require.NoError(t, err)
		for j, r := range all {
			got, err := r.Heads(t.Context(), k)
			require.NoError(t, err)
			require.Equal(t, want, got, "%v at replica %d", k, j)
		}
	}
	moved := counts.total
	if len(links) == n-1 { // a tree: nothing ever goes back
		require.Equal(t, writes*(n-1), moved)
	}
	require.GreaterOrEqual(t, moved, writes*(n-1))
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	require.Equal(t, moved, counts.total, "equal replicas send each other nothing")
	for c, n := range counts.count {
		require.Equal(t, 1, n, "%v of %s from %d to %d", c.hash, c.id, c.from, c.to)
	}
}
