package natslink_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/natslink"
)

const space = "crew"

// place is where a replica lives, between one opening and the next.
type place struct {
	path string
	r    *replica.Replica
	node *natslink.Node
	stop func() // of serving; nil if it does not serve
}

func newPlace(t testing.TB) *place {
	p := &place{path: filepath.Join(t.TempDir(), "test.db")}
	p.open(t)
	t.Cleanup(func() { p.close(t) })
	return p
}

func (p *place) open(t testing.TB) {
	t.Helper()
	r, err := replica.Open(context.Background(), p.path, &replica.Options{Synchronous: persist.Normal, Space: space})
	require.NoError(t, err)
	p.r = r
}

// close ends everything; open begins again.
func (p *place) close(t testing.TB) {
	t.Helper()
	if p.stop != nil {
		p.stop()
	}
	if p.r != nil {
		require.NoError(t, p.r.Close())
	}
	if p.node != nil {
		require.NoError(t, p.node.Close())
	}
	p.stop, p.r, p.node = nil, nil, nil
}

func options(p *place) *natslink.Options {
	return &natslink.Options{
		ID: p.r.ID().String(), Backoff: transport.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
		Heartbeat: 200 * time.Millisecond, Pulse: time.Hour,
	}
}

// join has the replica take part in the fleet: both links, and it serves.
func (p *place) join(t testing.TB, url string, change ...func(*natslink.Options)) {
	t.Helper()
	o := options(p)
	for _, f := range change {
		f(o)
	}
	node, err := natslink.New(url, o)
	require.NoError(t, err)
	p.node = node
	fleet, err := node.Fleet(space)
	require.NoError(t, err)
	for _, l := range fleet.Links() {
		_, err := p.r.Connect(l)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- node.Serve(ctx, &natslink.ServeOptions{Space: space, Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			return p.r.Accept(ctx, c, g)
		}})
	}()
	p.stop = func() {
		cancel()
		require.NoError(t, <-done)
	}
}

// stream has the replica take part in the stream alone.
func (p *place) stream(t testing.TB, url string) {
	t.Helper()
	node, err := natslink.New(url, options(p))
	require.NoError(t, err)
	p.node = node
	link, err := node.Stream(space)
	require.NoError(t, err)
	_, err = p.r.Connect(link)
	require.NoError(t, err)
}

// meet exchanges everything with another one, in a session without the stream.
func (p *place) meet(t testing.TB, url string, with *place) {
	t.Helper()
	stop := serve(t, newNode(t, url, nil), &natslink.ServeOptions{Space: space, Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
		return with.r.Accept(ctx, c, g)
	}})
	defer stop()
	link := peerLink(t, newNode(t, url, nil), space)
	require.Eventually(t, func() bool {
		_, err := p.r.Sync(within(t), link)
		return err == nil
	}, patience, 10*time.Millisecond, "until the other one is found")
}

// syncStream hands the stream all that is the node's to hand, and takes the rest.
func (p *place) syncStream(t testing.TB, node *natslink.Node) {
	t.Helper()
	link, err := node.Stream(space)
	require.NoError(t, err)
	_, err = p.r.Sync(within(t), link)
	require.NoError(t, err)
}

func key(id string) crdt.Key { return crdt.Key{Collection: "notes", ID: id} }

func (p *place) put(t testing.TB, id string, n int) {
	t.Helper()
	require.NoError(t, p.r.Update(context.Background(), func(tx *replica.Tx) error {
		return tx.Put(key(id), map[string]any{"n": int64(n)})
	}))
}

// putBytes puts a record of n bytes that don't compress, nor with those of another one.
func (p *place) putBytes(t testing.TB, id string, n int) {
	t.Helper()
	require.NoError(t, p.r.Update(context.Background(), func(tx *replica.Tx) error {
		return tx.Put(key(id), map[string]any{"data": noise(int(crc32.ChecksumIEEE([]byte(id))), n)})
	}))
}

// contents maps each record to its heads and value.
func contents(t testing.TB, r *replica.Replica) map[string]string {
	t.Helper()
	ctx := context.Background()
	got := map[string]string{}
	for it, err := range r.List(ctx, "notes", 0) {
		require.NoError(t, err)
		heads, err := r.Heads(ctx, it.Key)
		require.NoError(t, err)
		got[it.Key.String()] = fmt.Sprint(heads, string(it.Value))
	}
	return got
}

// await waits until the replicas hold the same n records.
func await(t testing.TB, n int, all ...*place) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert) {
		want := contents(t, all[0].r)
		require.Len(c, want, n)
		for _, p := range all[1:] {
			require.Equal(c, want, contents(t, p.r))
		}
	}, patience, 10*time.Millisecond)
}

// carrier returns what the status says of the stream that was met last.
func (p *place) carrier(t testing.TB) replica.PeerStatus {
	t.Helper()
	st, err := p.r.Status(context.Background())
	require.NoError(t, err)
	last := replica.PeerStatus{}
	for _, ps := range st.Peers {
		if ps.Carrier && !ps.Seen.Before(last.Seen) {
			last = ps
		}
	}
	return last
}

// awaitHanded waits until the stream was handed all.
func (p *place) awaitHanded(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		c := p.carrier(t)
		return c.Carrier && c.Pending == 0
	}, patience, 10*time.Millisecond)
}
