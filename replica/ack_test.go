package replica_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// livePeer has sent all it had, and all was acknowledged, some time ago. What it sends now
// is the changes in turn.
type livePeer struct {
	*rawPeer
	changes []*crdt.Change
}

func newLivePeer(t *testing.T) (*livePeer, *replica.Replica) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	p := &livePeer{dialRaw(t, net.Link("peer", "r")), authored(t, 200)}
	p.shake()
	p.send(&transport.Changes{From: p.at, Through: p.at, End: true})
	require.Equal(t, p.at, p.ack())
	time.Sleep(time.Minute)
	return p, r
}

func (p *livePeer) say() {
	from := p.at
	p.at.LSN++
	p.send(&transport.Changes{From: from, Through: p.at, Sets: []transport.Set{{Members: []transport.Member{member("1", p.changes[0])}}}})
	p.changes = p.changes[1:]
}

// ack receives until an acknowledgement comes.
func (p *livePeer) ack() crdt.Cursor {
	for {
		if ack, ok := p.recv().(*transport.Ack); ok {
			require.Empty(p.t, ack.Exceptions)
			return ack.Through
		}
	}
}

// TestAcksOfAStreamAreSpaced: a change that comes alone is acknowledged at once; of those
// that follow soon, all that come within AckEvery together.
func TestAcksOfAStreamAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newLivePeer(t)
		for range 2 {
			start := time.Now()
			p.say()
			require.Equal(t, p.at, p.ack())
			require.Zero(t, time.Since(start))
			for range 3 {
				start = time.Now()
				for range 10 {
					time.Sleep(replica.AckEvery / 20)
					p.say()
				}
				require.Equal(t, p.at, p.ack())
				require.Equal(t, replica.AckEvery, time.Since(start))
			}
			time.Sleep(replica.AckEvery)
		}
	})
}

// TestAckIsNotHeldBack when somebody waits for it: the peer's window fills, it has said
// that it has sent all, or this side goes.
func TestAckIsNotHeldBack(t *testing.T) {
	tests := map[string]func(*replica.Replica, *livePeer){
		"window": func(_ *replica.Replica, p *livePeer) {
			for range 63 {
				p.say()
			}
		},
		"bytes": func(_ *replica.Replica, p *livePeer) {
			from := p.at
			p.at.LSN++
			p.send(&transport.Changes{From: from, Through: p.at, Sets: []transport.Set{{Members: []transport.Member{member("large", largeChange(p.t))}}}})
		},
		"end": func(_ *replica.Replica, p *livePeer) {
			p.send(&transport.Changes{From: p.at, Through: p.at, End: true})
		},
		"prompt": func(_ *replica.Replica, p *livePeer) {
			p.send(&transport.Changes{From: p.at, Through: p.at, Prompt: true})
		},
		"resend": func(_ *replica.Replica, p *livePeer) {
			ahead := crdt.Cursor{Epoch: p.at.Epoch, LSN: p.at.LSN + 5}
			p.send(&transport.Changes{From: ahead, Through: ahead})
		},
		"drain": func(r *replica.Replica, _ *livePeer) { go func() { _ = r.Drain(context.Background()) }() },
		"close": func(r *replica.Replica, _ *livePeer) { go func() { _ = r.Close() }() },
	}
	for name, act := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, r := newLivePeer(t)
				p.say()
				require.Equal(t, p.at, p.ack())
				start := time.Now()
				p.say()
				synctest.Wait() // it is applied, and held back
				act(r, p)
				require.Equal(t, p.at, p.ack())
				require.Zero(t, time.Since(start))
			})
		})
	}
}

// TestAcksOfABacklogAreNotSpaced: a peer that has not said that it is at the end may wait
// for each before it goes on.
func TestAcksOfABacklogAreNotSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network(t)
		serve(t, net, "r", open(t, nil))
		p := dialRaw(t, net.Link("peer", "r"))
		p.shake()
		start := time.Now()
		for _, c := range authored(t, 10) {
			require.Empty(t, p.push(member("1", c)))
		}
		require.Zero(t, time.Since(start))
	})
}

// largeChange returns a change of more than a MiB.
func largeChange(t *testing.T) *crdt.Change {
	e := crdt.NewHistory().Begin("sixteen bytes!!!", 1e12, nil)
	require.NoError(t, e.Put(nil, map[string]any{"data": make([]byte, 1<<20)}, crdt.Merge))
	c, err := e.Commit("")
	require.NoError(t, err)
	return c
}

// TestOneShotDoesNotWaitForAcks: an exchange that ends by itself is over as soon as both
// sides have everything, however much came just before.
func TestOneShotDoesNotWaitForAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network(t)
		hub, r := open(t, nil), open(t, nil)
		serve(t, net, "hub", hub)
		for i := range 5 {
			put(t, hub, "hub", fmt.Sprintf(`{"n":%d}`, i))
			put(t, r, "r", fmt.Sprintf(`{"n":%d}`, i))
			start := time.Now()
			syncWith(t, r, net.Link("r", "hub"))
			require.Zero(t, time.Since(start))
		}
	})
}
