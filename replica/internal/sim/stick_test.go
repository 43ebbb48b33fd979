package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// stick is a foreign author whose sets are carried to the nodes by hand, each
// to one of them, in any order. So they get there before what they depend on,
// and have to be parked: between replicas that does not happen.
type stick struct {
	w    *world
	net  *memlink.Network // always reliable
	rng  *rand.Rand
	id   crdt.ReplicaID
	hist map[crdt.Key]*crdt.History
	sets []*carried
}

// carried is a set of the foreign author's.
type carried struct {
	acked
	wire transport.Set
	to   *node // who acknowledged it, nil for nobody
}

func newStick(w *world) *stick {
	s := &stick{w: w, net: memlink.New(0), rng: rand.New(rand.NewPCG(w.rng.Uint64(), 0)), hist: map[crdt.Key]*crdt.History{}}
	for i := range s.id {
		s.id[i] = byte(w.rng.Uint32())
	}
	return s
}

// author writes a set of 1 or 2 records, on top of the author's own changes.
func (s *stick) author() {
	c := &carried{}
	c.name = fmt.Sprintf("stick-%d", len(s.sets))
	first := s.rng.IntN(3)
	for i := range 1 + s.rng.IntN(2) {
		k := crdt.Key{Collection: "notes", ID: fmt.Sprint((first + i) % 3)}
		h := s.hist[k]
		if h == nil {
			h = crdt.NewHistory()
			s.hist[k] = h
		}
		e := h.Begin(s.id.Actor([8]byte{}), time.Now().UnixMilli(), nil)
		need(e.Put(nil, map[string]any{"stick": c.name, "body": crdt.Text(c.name)}, crdt.Merge), "author %s", c.name)
		change, err := e.Commit(c.name)
		need(err, "author %s", c.name)
		s.w.model.keys[k] = true
		c.members = append(c.members, member{k, change.Hash()})
		c.wire.Members = append(c.wire.Members, transport.Member{Collection: k.Collection, ID: k.ID, Data: change.Raw()})
	}
	s.sets = append(s.sets, c)
}

// forgets notes that a node may no longer hold what it acknowledged.
func (s *stick) forgets(n *node) {
	for _, c := range s.sets {
		if c.to == n {
			c.to = nil
		}
	}
}

// deliver carries some of the sets that nobody acknowledged to the node.
func (s *stick) deliver(n *node) {
	var sets []*carried
	for _, i := range s.rng.Perm(len(s.sets)) {
		if s.sets[i].to == nil && s.rng.IntN(2) == 0 {
			sets = append(sets, s.sets[i])
		}
	}
	s.carry(n, sets)
}

// deliverAll carries the rest.
func (s *stick) deliverAll() {
	for _, i := range s.rng.Perm(len(s.sets)) {
		if s.sets[i].to == nil {
			s.carry(pick(s.rng, s.w.nodes), s.sets[i:i+1])
		}
	}
}

// carry pushes the sets in one session, speaking the protocol by hand.
func (s *stick) carry(n *node, sets []*carried) {
	if len(sets) == 0 {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	conn, err := s.net.Link("stick", n.name).Dial(ctx)
	need(err, "carry to %s", n)
	defer conn.Close()
	send := func(f transport.Frame) { need(conn.Send(ctx, f), "carry to %s", n) }
	recv := func() transport.Frame {
		f, err := conn.Recv(ctx)
		need(err, "carry to %s", n)
		return f
	}
	const epoch = 1
	send(&transport.Hello{Protocol: transport.ProtocolVersion, Replica: s.id, Epoch: epoch, Log: crdt.Cursor{Epoch: epoch}, Want: transport.Everything()})
	send(&transport.Ack{Through: recv().(*transport.Hello).Log}) // nothing is to be carried back
	at := recv().(*transport.Ack).Through
	send(&transport.Changes{From: at, Through: at})
	for _, c := range sets {
		from := at
		at.LSN++
		send(&transport.Changes{From: from, Through: at, Sets: []transport.Set{c.wire}})
		parked := s.await(recv, at, c)
		c.to = n
		s.w.note("%s takes %s, parked: %v", n, c.name, parked)
		s.w.model.acks = append(s.w.model.acks, &c.acked)
	}
}

// await waits until the set is acknowledged.
func (s *stick) await(recv func() transport.Frame, at crdt.Cursor, c *carried) (parked bool) {
	for {
		ack, ok := recv().(*transport.Ack)
		if !ok {
			continue
		}
		for _, x := range ack.Exceptions {
			if parked = true; x.State != transport.Parked {
				failf("%s was refused: %v", c.name, x)
			}
		}
		if ack.Through == at {
			return parked
		}
	}
}
