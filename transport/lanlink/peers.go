package lanlink

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

const (
	maxPeers = 64               // that are dialled at a time
	maxRests = 1024             // addresses that are left alone
	rest     = 15 * time.Second // for which they are
)

// Peer is a replica that was found.
type Peer struct {
	Replica crdt.ReplicaID // as it says itself: who it is, the session finds out
	Addr    netip.AddrPort
}

// peers are the replicas that are being dialled. For one goroutine.
type peers struct {
	ctx   context.Context
	found func(context.Context, Peer)
	live  map[crdt.ReplicaID]*live
	rests map[Peer]time.Time // until when
	ended chan Peer
	wait  sync.WaitGroup
}

type live struct {
	Peer
	until  time.Time
	cancel context.CancelFunc
}

func newPeers(ctx context.Context, found func(context.Context, Peer)) *peers {
	return &peers{ctx: ctx, found: found, live: map[crdt.ReplicaID]*live{}, rests: map[Peer]time.Time{}, ended: make(chan Peer)}
}

// hear takes in that a replica announced itself from an address, which must be known
// to be on the link. What is being dialled stays until it takes its leave, is silent
// for long or does not work out: another address does not replace it.
func (p *peers) hear(peer Peer, holds time.Duration, now time.Time) {
	l := p.live[peer.Replica]
	switch {
	case l != nil && l.Peer != peer:
	case l != nil && holds == 0:
		l.cancel()
	case l != nil:
		l.until = now.Add(holds)
	case holds > 0 && len(p.live) < maxPeers && now.After(p.rests[peer]):
		p.begin(peer, now.Add(holds))
	}
}

func (p *peers) begin(peer Peer, until time.Time) {
	ctx, cancel := context.WithCancel(p.ctx)
	p.live[peer.Replica] = &live{peer, until, cancel}
	p.wait.Go(func() {
		defer cancel()
		p.found(ctx, peer)
		select {
		case p.ended <- peer:
		case <-p.ctx.Done():
		}
	})
}

// end takes in that found has returned for a peer.
func (p *peers) end(peer Peer, now time.Time) {
	delete(p.live, peer.Replica)
	if len(p.rests) < maxRests {
		p.rests[peer] = now.Add(rest)
	}
}

// expire gives up peers that were silent.
func (p *peers) expire(now time.Time) {
	for _, l := range p.live {
		if now.After(l.until) {
			l.cancel()
		}
	}
	for peer, until := range p.rests {
		if now.After(until) {
			delete(p.rests, peer)
		}
	}
}
